"""Augmentation against NumPy; it depends only on seed, epoch and element."""

import numpy as np
import tensorflow as tf
from PIL import Image, ImageEnhance

from advance_tf.data import augment


def image(seed=0):
    levels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3))
    return levels.astype(np.float32)


def test_flip_mirrors_below_one_half():
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


def test_augmented_bytes_equal_the_formula_in_float64():
    levels = np.random.default_rng(1).integers(0, 256, (10, 10, 3)).astype(np.uint8)
    flipped = set()
    for index in range(6):
        seed = augment.element_seed(2, tf.constant(1), tf.constant(index))
        draws = tf.random.stateless_uniform([3], seed).numpy().astype(np.float64)
        brightness, saturation = 0.7 + 0.6 * draws[1:]
        expected = (levels[:, ::-1] if draws[0] < 0.5 else levels).astype(np.float64)
        expected = np.clip(expected * brightness, 0, 255)
        grey = (expected @ [0.299, 0.587, 0.114])[..., None]
        expected = np.clip(grey + saturation * (expected - grey), 0, 255)
        for image_of in (levels, levels.astype(np.float32)):
            found = augment.augment_image(tf.constant(image_of), seed)
            np.testing.assert_allclose(found, expected, atol=1e-4)
        flipped.add(bool(draws[0] < 0.5))
    assert flipped == {False, True}


def test_whole_levels_equal_pil():
    """The authors' code applies `ImageEnhance` to images of 8 bits."""
    rng = np.random.default_rng(4)
    levels = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    for index in range(8):
        seed = augment.element_seed(2, tf.constant(1), tf.constant(index))
        draws = tf.random.stateless_uniform([3], seed).numpy()
        factors = (np.float32(0.7) + np.float32(1.3 - 0.7) * draws)[1:]
        picture = Image.fromarray(levels[:, ::-1] if draws[0] < 0.5 else levels)
        picture = ImageEnhance.Brightness(picture).enhance(float(factors[0]))
        picture = ImageEnhance.Color(picture).enhance(float(factors[1]))
        found = augment.augment_image(tf.constant(levels), seed, "levels")
        np.testing.assert_array_equal(found, np.asarray(picture))
        real = augment.augment_image(tf.constant(levels), seed)
        # Three roundings down.
        assert 0.5 < np.mean(real - found) < 1.5
        none = augment.augment_image(tf.constant(levels), seed, "none")
        np.testing.assert_array_equal(none, levels)


def test_factors_are_uniform_and_half_of_the_images_are_flipped():
    grey = tf.fill([2, 2, 3], 100.0)
    left = tf.tensor_scatter_nd_update(grey, [[0, 0]], [[50.0, 50.0, 50.0]])
    factors, flips = [], []
    for index in range(400):
        seed = augment.element_seed(1, tf.constant(0), tf.constant(index))
        found = augment.augment_image(left, seed).numpy()
        factors.append(found[1, 0, 0] / 100)
        flips.append(found[0, 0, 0] > found[0, 1, 0])
    assert 0.7 <= min(factors) < 0.72
    assert 1.28 < max(factors) <= 1.3
    assert abs(np.mean(factors) - 1) < 0.03
    assert 0.4 < np.mean(flips) < 0.6


def test_the_result_depends_on_seed_epoch_and_element():
    def augmented(seed, epoch, index):
        element = augment.element_seed(seed, tf.constant(epoch), tf.constant(index))
        return augment.augment_image(tf.constant(image()), element).numpy()

    np.testing.assert_array_equal(augmented(1, 2, 3), augmented(1, 2, 3))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert np.abs(augmented(*other) - augmented(1, 2, 3)).max() > 1


def test_a_parallel_map_equals_eager_calls():
    def element(index):
        seed = augment.element_seed(5, tf.constant(1), index)
        return augment.augment_image(tf.constant(image()), seed), (
            augment.random_offset(seed)
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


def test_spec_augment_masks_complete_rows_and_columns_within_bounds():
    log_mel = tf.ones([400, 64])
    masked_frames, masked_bins = [], []
    for index in range(40):
        kept = augment.spec_augment(log_mel, tf.constant([3, index])).numpy()
        rows = ~kept.any(1)
        columns = ~kept.any(0)
        expected = ~rows[:, None] & ~columns[None, :]
        np.testing.assert_array_equal(kept, expected)
        masked_frames.append(rows.sum())
        masked_bins.append(columns.sum())
    assert max(masked_frames) <= 2 * 64
    assert max(masked_bins) <= 2 * 8
    assert np.mean(masked_frames) > 20
    assert np.mean(masked_bins) > 3


def test_spec_augment_in_a_parallel_map_equals_eager():
    log_mel = tf.random.stateless_normal([400, 64], [1, 2])
    seeds = tf.stack([tf.constant([7, index]) for index in range(6)])
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: augment.spec_augment(log_mel, seed), num_parallel_calls=4
    )
    for seed, mapped in zip(seeds, dataset, strict=True):
        eager = augment.spec_augment(log_mel, seed)
        np.testing.assert_array_equal(mapped, eager)


def test_mixup_mixes_inputs_and_targets_with_equal_weights():
    rng = np.random.default_rng(0)
    log_mel = rng.normal(size=(4, 5, 3)).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)
    mixed, mixed_targets = augment.mixup(
        tf.constant(log_mel), tf.constant(targets), 1.0, tf.constant([1, 2])
    )
    weights = np.diag(mixed_targets)
    assert np.all((weights > 0) & (weights < 1))
    assert np.ptp(weights) > 0.01
    weights = weights[:, None, None]
    expected = weights * log_mel + (1 - weights) * log_mel[::-1]
    np.testing.assert_allclose(mixed, expected, 1e-5)
    np.testing.assert_allclose(mixed_targets.numpy().sum(1), 1, rtol=1e-6)
