"""Positions, colours and scales of maps over their inputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.models.resnet import build_resnet
from advance_tf.reporting import overlay


@pytest.mark.parametrize(("side", "first_stride"), [(512, 2), (256, 1)])
def test_upsampled_cells_are_centred_on_their_receptive_fields(side, first_stride):
    """The position of a cell is the centre of its gradient in the input."""
    keras.utils.set_random_seed(0)
    tower = build_resnet(18, 8, (side, side, 1), first_stride)
    features = keras.Model(tower.inputs, tower.get_layer("features").output)
    rng = np.random.default_rng(0)
    inputs = tf.constant(rng.normal(size=(4, side, side, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = features(inputs)
        cell = tf.reduce_sum(outputs[:, 8, 8])
    weight = np.abs(tape.gradient(cell, inputs).numpy()[..., 0]).sum(axis=0)
    assert weight.sum() > 0
    centre = (np.indices(weight.shape) * weight).sum(axis=(1, 2)) / weight.sum()
    activation = np.zeros(outputs.shape[1:3])
    assert activation.shape == (16, 16)
    activation[8, 8] = 1
    wide = overlay.upsample(activation, (side, side), (side, side))
    top = np.unravel_index(wide.argmax(), wide.shape)
    # Resizing that aligns corners is wrong by half a cell, side / 32.
    assert np.abs(np.array(top) - centre).max() < side / 64


def test_upsampling_is_linear_between_cells():
    wide = overlay.upsample([[0.0, 1.0]], (32, 64), (32, 64))
    assert wide.shape == (32, 64)
    np.testing.assert_allclose(wide[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(wide[5, :33], np.arange(33) / 32)
    np.testing.assert_allclose(wide[:, 33:], 1)
    double = overlay.upsample([[0.0, 1.0]], (32, 64), (64, 128))
    np.testing.assert_allclose(double[0, 1:65:2].mean(), wide[0, :32].mean(), atol=0.02)


def test_colours_show_the_sign():
    grey = np.full((2, 2, 3), 100, np.uint8)
    drawn = overlay.overlay(grey, np.array([[0, 2.0], [-2.0, 1.0]]), 2.0)
    np.testing.assert_array_equal(drawn[0, 0], [100, 100, 100])
    for place, color in (((0, 1), overlay.POSITIVE), ((1, 0), overlay.NEGATIVE)):
        expected = 0.2 * 100 + 0.8 * np.array(color)
        np.testing.assert_array_equal(drawn[place], np.rint(expected))
    half = 0.6 * 100 + 0.4 * np.array(overlay.POSITIVE)
    np.testing.assert_array_equal(drawn[1, 1], np.rint(half))


def test_common_scale_is_the_largest_magnitude():
    assert overlay.common_scale([np.array([1.0, -3.0]), np.array([2.0])]) == 3
    assert overlay.common_scale([]) == overlay.common_scale([np.zeros(2)]) == 1


def test_time_is_horizontal_and_frequency_vertical():
    decibel = np.full((40, 64), -80.0)
    decibel[-1, 0] = 0
    picture = overlay.grey_log_mel(decibel, (64, 40))
    assert picture.shape == (64, 40, 3)
    assert picture[-1, -1].tolist() == [235] * 3
    assert (picture > 35).sum() == 3
    activation = np.zeros((3, 4))
    activation[2, 0] = 1
    drawn = overlay.log_mel_overlay(np.zeros((40, 64)), activation, (64, 40), 1.0)
    red = drawn[..., 0].astype(int) - drawn[..., 2]
    assert red[-1, -1] > 100
    assert red[0, 0] == red[0, -1] == red[-1, 0] == 0


def test_image_is_grey_below_its_map():
    image = np.zeros((8, 8, 3))
    image[..., 1] = 255
    drawn = overlay.image_overlay(image, np.zeros((1, 1)), 8, 1.0)
    np.testing.assert_array_equal(drawn, np.full((8, 8, 3), round(35 + 200 * 0.587)))
