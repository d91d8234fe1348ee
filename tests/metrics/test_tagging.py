"""Multi-label scores against scikit-learn and by hand."""

import math
import time

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from advance_tf.metrics.tagging import d_prime, tagging_scores


@pytest.mark.parametrize("seed", range(12))
def test_equals_scikit_learn_with_ties(seed):
    rng = np.random.default_rng(seed)
    samples, classes = rng.integers(2, 80), 9
    targets = (rng.random((samples, classes)) < rng.random(classes)).astype(np.int64)
    scores = rng.normal(size=(samples, classes)) + targets
    if seed % 2:
        scores = np.round(scores * 2) / 2  # many ties
    received = tagging_scores(targets, scores)
    for k in range(classes):
        if targets[:, k].any():
            assert received.average_precision[k] == pytest.approx(
                sklearn_metrics.average_precision_score(targets[:, k], scores[:, k])
            )
        else:
            assert math.isnan(received.average_precision[k])
        if 0 < targets[:, k].sum() < samples:
            assert received.auc[k] == pytest.approx(
                sklearn_metrics.roc_auc_score(targets[:, k], scores[:, k])
            )
        else:
            assert math.isnan(received.auc[k])
    assert received.excluded == (targets.sum(axis=0) == 0).sum()
    assert received.without_negatives == (targets.sum(axis=0) == samples).sum()


def test_means_leave_out_what_is_not_defined():
    targets = [[1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0]]
    scores = [[0.9, 0.1, 0.2, 0.9], [0.8, 0.3, 0.1, 0.2], [0.7, 0.2, 0.3, 0.8]]
    scores.append([0.1, 0.4, 0.4, 0.1])
    received = tagging_scores(targets, scores)
    # Class 0 ranks + - + -: AP (1 + 2/3) / 2, AUC 3/4. Class 2: all positive.
    # Class 3 ranks - + + -: AP (1/2 + 2/3) / 2, AUC 1/2.
    np.testing.assert_allclose(
        received.average_precision, [5 / 6, np.nan, 1, 7 / 12], rtol=1e-12
    )
    np.testing.assert_allclose(received.auc, [0.75, np.nan, np.nan, 0.5], rtol=1e-12)
    assert received.mean_average_precision == pytest.approx((5 / 6 + 1 + 7 / 12) / 3)
    assert received.mean_auc == pytest.approx(0.625)
    assert (received.excluded, received.without_negatives) == (1, 1)
    # The AUC of two unit normals at distance d is Phi(d / sqrt 2) = erf-formula.
    distance = received.d_prime
    assert 0.5 * (1 + math.erf(distance / 2)) == pytest.approx(0.625)


def test_d_prime():
    assert d_prime(0.5) == 0
    assert d_prime(0.973) == pytest.approx(2.725, abs=1e-3)
    assert d_prime(0.2) == pytest.approx(-d_prime(0.8))
    assert d_prime(1.0) == math.inf
    assert d_prime(0.0) == -math.inf
    assert math.isnan(d_prime(float("nan")))


def test_integer_scores_rank_like_floats():
    targets = [[1], [0], [1]]
    received = tagging_scores(targets, np.array([[200], [7], [0]], np.uint8))
    assert received.auc[0] == 0.5


def test_nothing_defined_is_nan():
    received = tagging_scores(np.zeros((3, 2)), np.ones((3, 2)))
    assert math.isnan(received.mean_average_precision)
    assert math.isnan(received.d_prime)
    assert received.excluded == 2


def test_all_of_audioset_in_seconds():
    rng = np.random.default_rng(0)
    targets = rng.random((4000, 527)) < 0.01
    start = time.perf_counter()
    received = tagging_scores(targets, rng.random((4000, 527), np.float32))
    assert time.perf_counter() - start < 5
    assert received.mean_auc == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("targets", "scores", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2)), r"received \(2, 3\) and \(2, 2\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "at least one sample"),
        (np.full((2, 1), 0.5), np.zeros((2, 1)), "targets must be 0 or 1"),
        (np.ones((2, 1)), np.array([[1], [np.nan]]), "1 of 2 are not"),
    ],
)
def test_refuses(targets, scores, message):
    with pytest.raises(ValueError, match=message):
        tagging_scores(targets, scores)
