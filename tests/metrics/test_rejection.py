"""Risk by coverage and the AUROC, against definitions written out."""

import numpy as np
import pytest

from advance_tf.metrics.rejection import rejection_auroc, risk_coverage


def test_risk_is_the_error_of_the_most_confident():
    rng = np.random.default_rng(0)
    confidence, correct = rng.uniform(size=40), rng.uniform(size=40) < 0.7
    curve = risk_coverage(confidence, correct)
    order = np.argsort(-confidence)
    expected = [1 - correct[order[: k + 1]].mean() for k in range(40)]
    np.testing.assert_allclose(curve.risk, expected)
    assert curve.area == pytest.approx(np.mean(expected))
    assert curve.risk_at(1.0) == pytest.approx(1 - correct.mean())


def test_equal_confidence_shares_its_error():
    curve = risk_coverage([0.5, 0.5, 0.5, 0.5], [True, False, True, False])
    np.testing.assert_allclose(curve.risk, 0.5)
    with pytest.raises(ValueError, match="one value for each"):
        risk_coverage([0.5], [])


def test_auroc_counts_pairs():
    rng = np.random.default_rng(1)
    inside, outside = rng.integers(0, 5, 30), rng.integers(2, 7, 20)
    wins = (outside[:, None] > inside).mean() + 0.5 * (
        outside[:, None] == inside
    ).mean()
    assert rejection_auroc(inside, outside) == pytest.approx(wins)
