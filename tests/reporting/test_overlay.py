"""Positions, colours and scales of maps over their inputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.backbones.contract import CellCentres
from advance_tf.models.backbones.registry import build_tower, tower_backbone
from advance_tf.models.backbones.yamnet_network import YamnetPatches
from advance_tf.reporting import overlay

SMALL = {"image_depth": 18, "image_width": 8, "audio_depth": 18, "audio_width": 8}


@pytest.fixture(scope="module")
def patch_network(tmp_path_factory):
    """A network of 224 pixels with 16 x 16 patches of 14, as a vision transformer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((224, 224, 3))
    x = keras.layers.Conv2D(8, 14, 14)(inputs)
    path = tmp_path_factory.mktemp("network") / "patches.keras"
    keras.Model(inputs, keras.layers.Conv2D(8, 3, padding="same")(x)).save(path)
    return path


def gradient_centre(tower, cell):
    """Row and column of the centre of the gradient of a cell, and the map's shape."""
    features = keras.Model(tower.inputs, tower.get_layer("features").output)
    rng = np.random.default_rng(0)
    levels = rng.uniform(0, 255, size=(4, *tower.input_shape[1:]))
    inputs = tf.constant(levels, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = features(inputs)
        total = tf.reduce_sum(outputs[:, cell, cell])
    weight = np.abs(tape.gradient(total, inputs).numpy()).sum(axis=(0, 3))
    assert weight.sum() > 0
    centre = (np.indices(weight.shape) * weight).sum(axis=(1, 2)) / weight.sum()
    return centre, outputs.shape[1:3]


@pytest.mark.parametrize(
    ("tower", "backbone", "side", "cells"),
    [
        ("image", "resnet", 512, 16),
        ("audio", "resnet", 256, 16),
        ("image", "efficientnet_lite0", 256, 8),
        ("image", "efficientnet_lite0", 250, 8),
        ("image", "keras:MobileNetV2", 256, 8),
        ("image", "patch_network", 256, 16),
    ],
)
def test_upsampled_cells_are_centred_on_their_receptive_fields(
    tower, backbone, side, cells, patch_network
):
    """The position of a cell is the centre of its gradient in the input."""
    keras.utils.set_random_seed(0)
    if backbone == "patch_network":
        backbone = f"file:{patch_network}"
    # 40 frames a second.
    features = FeatureConfig(image_size=side, mel_bins=side, clip_seconds=side / 40)
    model = ModelConfig(**{f"{tower}_backbone": backbone}, **SMALL)
    cell = cells // 2
    built = build_tower(tower, model, features)
    centre, shape = gradient_centre(built, cell)
    assert shape == (cells, cells)
    activation = np.zeros(shape)
    activation[cell, cell] = 1
    centres = tower_backbone(tower, model).map_centres(tower, features, shape)
    wide = overlay.upsample(activation, (side, side), (side, side), centres)
    top = np.unravel_index(wide.argmax(), wide.shape)
    # Another padding is half a cell away, at least side / 32.
    assert np.abs(np.array(top) - centre).max() < side / 64


def test_cells_of_yamnet_are_centred_on_their_patches():
    features = FeatureConfig(clip_seconds=3.0, hop_samples=200)
    clip = np.random.default_rng(0).normal(0, 0.1, (1, 48_000))
    inputs = tf.constant(clip, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(YamnetPatches()(inputs)[:, 2])
    support = np.flatnonzero(tape.gradient(total, inputs).numpy()[0])
    centre = (support[0] + support[-1]) / 2 / 200  # in frames
    activation = np.zeros((6, 2))
    activation[2] = 1
    model = ModelConfig(audio_backbone="yamnet")
    centres = tower_backbone("audio", model).map_centres("audio", features, (6, 2))
    assert features.frames == 240
    wide = overlay.upsample(activation, (240, 64), (240, 64), centres)
    assert wide[:, 0].argmax() == pytest.approx(centre, abs=1)
    np.testing.assert_allclose(wide[[77, 154, 155], 5], [0, 0, 0], atol=0.05)


@pytest.mark.parametrize(
    ("name", "offset"), [("ResNet50V2", 0), ("EfficientNetV2B0", 31), ("VGG16", 15.5)]
)
def test_cells_of_keras_networks_are_placed_by_their_padding(name, offset):
    model = ModelConfig(image_backbone=f"keras:{name}")
    backbone = tower_backbone("image", model)
    rows, columns = backbone.map_centres("image", FeatureConfig(), (8, 8))
    assert rows == columns == (32, offset)


def test_upsampling_is_linear_between_cells():
    centres = (CellCentres(32, 0), CellCentres(32, 0))
    wide = overlay.upsample([[0.0, 1.0]], (32, 64), (32, 64), centres)
    assert wide.shape == (32, 64)
    np.testing.assert_allclose(wide[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(wide[5, :33], np.arange(33) / 32)
    np.testing.assert_allclose(wide[:, 33:], 1)
    double = overlay.upsample([[0.0, 1.0]], (32, 64), (64, 128), centres)
    np.testing.assert_allclose(double[0, 1:65:2].mean(), wide[0, :32].mean(), atol=0.02)
    equal = overlay.upsample([[0.0, 1.0]], (32, 64), (32, 64))
    np.testing.assert_allclose(equal[3, 16:48], (np.arange(32) + 0.5) / 32)
    np.testing.assert_allclose(equal[3, [0, 15, 48, 63]], [0, 0, 1, 1])


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
