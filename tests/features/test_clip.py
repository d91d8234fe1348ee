"""Shorter sounds are repeated, longer ones cut where they are told to be."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.features.clip import fit_clip


@pytest.mark.parametrize(
    ("count", "offset", "expected"),
    [
        (5, 0.5, [0, 1, 2, 3, 4]),
        (2, 0.5, [0, 1, 0, 1, 0]),
        (3, 0.9, [0, 1, 2, 0, 1]),
        (9, 0.0, [0, 1, 2, 3, 4]),
        (9, 0.5, [2, 3, 4, 5, 6]),
        (9, 1.0, [4, 5, 6, 7, 8]),
    ],
)
def test_clips_of_five_samples(count, offset, expected):
    wave = tf.range(count, dtype=tf.float32)
    np.testing.assert_array_equal(fit_clip(wave, 5, offset), expected)
    traced = tf.function(lambda w, o: fit_clip(w, 5, o))
    np.testing.assert_array_equal(traced(wave, offset), expected)


def test_every_place_is_reached_alike_often():
    wave = tf.range(8, dtype=tf.float32)
    starts = [int(fit_clip(wave, 5, o)[0]) for o in np.linspace(0, 0.999, 400)]
    assert np.bincount(starts).tolist() == [100] * 4
