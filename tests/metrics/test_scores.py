"""Scores of confusion matrices against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from advance_tf.metrics import scores


def _draw(seed):
    """A random problem in which some classes have no sample or no prediction."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 14))
    n = int(rng.integers(1, 60))
    there = rng.choice(classes, rng.integers(1, classes + 1), replace=False)
    claimed = rng.choice(classes, rng.integers(1, classes + 1), replace=False)
    true, predicted = rng.choice(there, n), rng.choice(claimed, n)
    right = rng.random(n) < rng.random()
    return true, np.where(right, true, predicted), classes


@pytest.mark.parametrize("seed", range(40))
def test_equals_scikit_learn(seed):
    true, predicted, classes = _draw(seed)
    confusion = scores.confusion_matrix(true, predicted, classes)
    every = list(range(classes))
    np.testing.assert_array_equal(
        confusion, sklearn_metrics.confusion_matrix(true, predicted, labels=every)
    )
    weighted = scores.weighted_scores(confusion)
    expected = sklearn_metrics.precision_recall_fscore_support(
        true, predicted, labels=every, average="weighted", zero_division=0
    )
    received = [weighted[name] for name in ("precision", "recall", "f_score")]
    np.testing.assert_allclose(received, expected[:3], rtol=1e-12)
    assert weighted["accuracy"] == pytest.approx(
        sklearn_metrics.accuracy_score(true, predicted)
    )
    each = sklearn_metrics.precision_recall_fscore_support(
        true, predicted, labels=every, zero_division=0
    )
    np.testing.assert_allclose(scores.scene_table(confusion)[:4], each, rtol=1e-12)


def test_by_hand():
    confusion = np.array([[3, 1, 0], [1, 1, 0], [0, 0, 0]])
    weighted = scores.weighted_scores(confusion)
    # Class 0: 3/4, 3/4, 3/4 of 4 samples; class 1: 1/2, 1/2, 1/2 of 2.
    for name in scores.WEIGHTED:
        assert weighted[name] == pytest.approx((4 * 0.75 + 2 * 0.5) / 6)
    assert np.ndim(weighted["f_score"]) == 0


def test_leading_axes_are_independent():
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 5, (2, 3, 4, 4))
    stack[1, 2] = 0
    weighted = scores.weighted_scores(stack)
    for place in np.ndindex(2, 3):
        alone = scores.weighted_scores(stack[place])
        for name in scores.WEIGHTED:
            assert weighted[name][place] == alone[name]
    assert weighted["f_score"][1, 2] == 0


def test_majority_class():
    confusion = np.array([[2, 0, 1], [0, 1, 0], [4, 1, 1]])
    baseline = scores.majority_confusion(confusion)
    np.testing.assert_array_equal(baseline, [[0, 0, 3], [0, 0, 1], [0, 0, 6]])
    share = 6 / 10
    expected = share * (2 * share / (share + 1))
    assert scores.weighted_scores(baseline)["f_score"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([0, 3], [0, 1], r"true must lie in \[0, 3\); received 0 to 3"),
        ([0, 1], [-1, 1], r"predicted must lie in \[0, 3\); received -1 to 1"),
        ([0, 1], [0], "same samples; received 2 and 1"),
        ([0.0, 1.0], [0, 1], "integer class indices; received shape .2,. of float64"),
        ([[0, 1]], [[0, 1]], r"integer class indices; received shape \(1, 2\)"),
    ],
)
def test_refuses(true, predicted, message):
    with pytest.raises(ValueError, match=message):
        scores.confusion_matrix(true, predicted, 3)
