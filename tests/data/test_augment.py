"""Augmentation against NumPy, and its dependence on seed, epoch and pair only."""

import numpy as np
import tensorflow as tf

from advance_tf.data import augment


def image(seed=0):
    levels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3))
    return levels.astype(np.float32)


def test_flip():
    for draw, expected in ((0.49, image()[:, ::-1]), (0.5, image())):
        found = augment.flip(tf.constant(image()), tf.constant(draw))
        np.testing.assert_array_equal(found, expected)


def test_brightness_and_saturation_equal_numpy():
    levels = image()
    found = augment.brighten(tf.constant(levels), tf.constant(1.3))
    np.testing.assert_allclose(found, np.minimum(levels * 1.3, 255), rtol=1e-6)
    grey = (levels @ [0.299, 0.587, 0.114])[..., None]
    for factor in (0.0, 0.7, 1.0, 1.3):
        found = augment.saturate(tf.constant(levels), tf.constant(factor))
        expected = np.clip(grey + factor * (levels - grey), 0, 255)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_factors_are_uniform_between_their_ends_and_flips_are_even():
    grey = tf.fill([2, 2, 3], 100.0)
    left = tf.tensor_scatter_nd_update(grey, [[0, 0]], [[50.0, 50.0, 50.0]])
    factors, flips = [], []
    for index in range(400):
        place = augment.element_seed(1, tf.constant(0), tf.constant(index))
        found = augment.augment_image(left, place).numpy()
        factors.append(found[1, 0, 0] / 100)
        flips.append(found[0, 0, 0] > found[0, 1, 0])
    assert 0.7 <= min(factors) < 0.72
    assert 1.28 < max(factors) <= 1.3
    assert abs(np.mean(factors) - 1) < 0.03
    assert 0.4 < np.mean(flips) < 0.6


def test_seed_epoch_and_pair_each_decide():
    def augmented(seed, epoch, index):
        place = augment.element_seed(seed, tf.constant(epoch), tf.constant(index))
        return augment.augment_image(tf.constant(image()), place).numpy()

    np.testing.assert_array_equal(augmented(1, 2, 3), augmented(1, 2, 3))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert np.abs(augmented(*other) - augmented(1, 2, 3)).max() > 1


def test_parallel_maps_draw_what_eager_calls_draw():
    def element(index):
        place = augment.element_seed(5, tf.constant(1), index)
        return augment.augment_image(tf.constant(image()), place), (
            augment.random_offset(place)
        )

    mapped = tf.data.Dataset.range(12).map(element, num_parallel_calls=4)
    offsets = []
    for index, (found, offset) in enumerate(mapped):
        expected, expected_offset = element(tf.constant(index, tf.int64))
        np.testing.assert_array_equal(found, expected)
        assert offset == expected_offset
        offsets.append(float(offset))
    assert len(set(offsets)) == 12
    assert 0 <= min(offsets) <= max(offsets) < 1
