"""Probabilities from logits, without overflow, against NumPy."""

import numpy as np
import pytest

from advance_tf.metrics.probabilities import check_distributions, sigmoid, softmax


def test_softmax_against_numpy():
    logits = np.random.default_rng(0).normal(0, 3, (5, 13))
    powers = np.exp(logits)
    expected = powers / powers.sum(axis=1, keepdims=True)
    received = softmax(np.float32(logits))
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, rtol=1e-6)


def test_sigmoid_against_numpy():
    received = sigmoid([-1000, -20, 0, 3, 1000])
    expected = [0, np.exp(-20) / (1 + np.exp(-20)), 0.5, 1 / (1 + np.exp(-3)), 1]
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, rtol=1e-6)


def test_extreme_logits_do_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(softmax([-1e4, 0, 1e4]), [0, 0, 1])
        np.testing.assert_allclose(sigmoid([-1e4, 0, 1e4]), [0, 0.5, 1])


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ([0.5, 0.5], r"scene_probs must be .*; received shape \(2,\)"),
        ([[0.5, 0.5], [3.0, -1.0]], "a sum of 2 and a minimum of -1 in row 1, 1 such"),
        ([[0.5, np.nan]], "a sum of nan"),
    ],
)
def test_invalid_distributions_are_rejected(probs, message):
    with pytest.raises(ValueError, match=message):
        check_distributions("scene_probs", probs)
