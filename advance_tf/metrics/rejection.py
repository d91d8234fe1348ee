"""Selective prediction: risk by coverage, and the AUROC of rejecting foreign inputs."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclasses.dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Errors among the most confident answers.

    Attributes:
        coverage: share of the samples that are answered, float64 [n] in (0, 1].
        risk: share of wrong answers among them, float64 [n] in [0, 1].
        area: mean of `risk`, the area under the curve (AURC).
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float

    def risk_at(self, coverage: float) -> float:
        """The risk where at least this share of the samples is answered."""
        return float(self.risk[np.searchsorted(self.coverage, coverage - 1e-12)])


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> RiskCoverage:
    """The risk–coverage curve.

    At coverage k / n the k samples of the highest confidence are answered. Samples of
    equal confidence share their mean error, so that their order has no effect.

    >>> curve = risk_coverage([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    >>> curve.risk.round(3).tolist(), round(curve.risk_at(0.75), 3)
    ([0.0, 0.0, 0.333, 0.25], 0.333)

    Args:
        confidence: float [n].
        correct: bool [n].

    Returns:
        The curve.

    Raises:
        ValueError: there is no sample, or the lengths differ.

    Source: Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks",
    NeurIPS 2017.
    """
    confidence, wrong = np.asarray(confidence, np.float64), ~np.asarray(correct, bool)
    if confidence.ndim != 1 or confidence.shape != wrong.shape or not len(wrong):
        raise ValueError(
            "confidence and `correct` must have one value for each of at least one "
            f"sample; received {confidence.shape} and {wrong.shape}."
        )
    _, place = np.unique(-confidence, return_inverse=True)
    errors = np.bincount(place, wrong) / np.bincount(place)
    ordered = errors[np.sort(place)]
    answered = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(ordered) / answered
    return RiskCoverage(answered / len(wrong), risk, float(risk.mean()))


def rejection_auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """The probability that a foreign input has a higher score than one of the test.

    >>> rejection_auroc([0.1, 0.2], [0.2, 0.9])
    0.875

    Args:
        inside: float [n], scores of test samples; higher is more foreign.
        outside: float [m], scores of inputs of no scene.

    Returns:
        AUROC in [0, 1], 0.5 for scores that do not distinguish; ties count half.
    """
    inside, outside = np.asarray(inside, float), np.asarray(outside, float)
    ranks = stats.rankdata(np.concatenate([inside, outside]))
    count = len(outside)
    above = ranks[len(inside) :].sum() - count * (count + 1) / 2
    return float(above / (len(inside) * count))
