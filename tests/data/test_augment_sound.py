"""SpecAugment and mixup: what they hide and mix, eagerly and in tf.data."""

import numpy as np
import tensorflow as tf

from advance_tf.data import augment_sound


def test_spec_augment_hides_whole_stripes_within_bounds():
    log_mel = tf.ones([400, 64])
    hidden_frames, hidden_bins = [], []
    for index in range(40):
        kept = augment_sound.spec_augment(log_mel, tf.constant([3, index])).numpy()
        rows = ~kept.any(1)
        columns = ~kept.any(0)
        expected = ~rows[:, None] & ~columns[None, :]
        np.testing.assert_array_equal(kept, expected)
        hidden_frames.append(rows.sum())
        hidden_bins.append(columns.sum())
    assert max(hidden_frames) <= 2 * 64
    assert max(hidden_bins) <= 2 * 8
    assert np.mean(hidden_frames) > 20
    assert np.mean(hidden_bins) > 3


def test_spec_augment_in_a_parallel_map_equals_eager():
    log_mel = tf.random.stateless_normal([400, 64], [1, 2])
    seeds = tf.stack([tf.constant([7, index]) for index in range(6)])
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: augment_sound.spec_augment(log_mel, seed), num_parallel_calls=4
    )
    for seed, mapped in zip(seeds, dataset, strict=True):
        eager = augment_sound.spec_augment(log_mel, seed)
        np.testing.assert_array_equal(mapped, eager)


def test_mixup_mixes_inputs_and_targets_by_the_same_share():
    rng = np.random.default_rng(0)
    log_mel = rng.normal(size=(4, 5, 3)).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)
    mixed, mixed_targets = augment_sound.mixup(
        tf.constant(log_mel), tf.constant(targets), 1.0, tf.constant([1, 2])
    )
    share = np.diag(mixed_targets)
    assert np.all((share > 0) & (share < 1))
    assert np.ptp(share) > 0.01
    wide = share[:, None, None]
    np.testing.assert_allclose(mixed, wide * log_mel + (1 - wide) * log_mel[::-1], 1e-5)
    np.testing.assert_allclose(mixed_targets.numpy().sum(1), 1, rtol=1e-6)
