"""Scores of multi-label tagging: average precision, area under the curve, d′."""

import dataclasses
import math
import statistics

import numpy as np
from numpy.typing import ArrayLike


@dataclasses.dataclass(frozen=True, eq=False)
class TaggingScores:
    """Tagging scores of each class, and their means.

    Attributes:
        average_precision: float64 [classes] in [0, 1]; NaN for a class without
            positives.
        auc: float64 [classes] in [0, 1]; NaN for a class without positives or
            without negatives.
        excluded: number of classes without positives, which every mean omits.
        without_negatives: number of classes without negatives, which the mean AUC,
            and therefore d′, omits as well.
    """

    average_precision: np.ndarray
    auc: np.ndarray
    excluded: int
    without_negatives: int

    @property
    def mean_average_precision(self) -> float:
        """mAP: mean of the defined average precisions; NaN if there is none."""
        return _defined_mean(self.average_precision)

    @property
    def mean_auc(self) -> float:
        """Mean of the defined areas under the ROC curve; NaN if there is none."""
        return _defined_mean(self.auc)

    @property
    def d_prime(self) -> float:
        """The d′ of the mean AUC, see `d_prime`."""
        return d_prime(self.mean_auc)


def _defined_mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def d_prime(auc: float) -> float:
    """Distance of two unit normal distributions with this AUC: √2 Φ⁻¹(AUC).

    Args:
        auc: area under the ROC curve in [0, 1].

    Returns:
        d′; 0 at chance level, −∞ for an AUC of 0, ∞ for 1, NaN for NaN.

    Source: §4 of Gemmeke et al., "Audio Set", ICASSP 2017.

    Example:
        >>> d_prime(0.5), round(d_prime(0.9), 3)
        (0.0, 1.812)
    """
    if math.isnan(auc):
        return auc
    if auc in (0.0, 1.0):
        return math.copysign(math.inf, auc - 0.5)
    return math.sqrt(2) * statistics.NormalDist().inv_cdf(auc)


def _checked(targets: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Targets, bool [samples, classes], and scores, float of the same shape."""
    targets, scores = np.asarray(targets), np.asarray(scores)
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    if targets.ndim != 2 or targets.shape != scores.shape or not len(targets):
        raise ValueError(
            "targets and `scores` must both be [samples, classes] with at least one "
            f"sample; received {targets.shape} and {scores.shape}."
        )
    if not np.isin(targets, (0, 1)).all():
        raise ValueError(
            "targets must be 0 or 1; received other values. Threshold soft labels "
            "first."
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            f"scores must be finite; {np.count_nonzero(~np.isfinite(scores))} of "
            f"{scores.size} are not. Check whether the training diverged."
        )
    return targets.astype(bool), scores


def tagging_scores(targets: ArrayLike, scores: ArrayLike) -> TaggingScores:
    """Scores the ranking of the samples by each class.

    AP = Σ (R_j − R_{j−1}) P_j over the distinct scores in descending order; AUC is
    the probability that a positive outscores a negative, a tie counting one half.
    Ties are resolved as in scikit-learn's `average_precision_score` and
    `roc_auc_score`, to which the values are equal class by class.

    Args:
        targets: 0 or 1, [samples, classes].
        scores: finite scores that increase with confidence, [samples, classes].

    Returns:
        The scores of each class and their means.

    Raises:
        ValueError: the shapes differ, a target is not 0 or 1, or a score is not
            finite.

    Example:
        >>> result = tagging_scores([[1], [0], [1], [0]], [[0.9], [0.8], [0.7], [0.1]])
        >>> round(result.mean_average_precision, 3), result.mean_auc
        (0.833, 0.75)
    """
    targets, scores = _checked(targets, scores)
    samples = len(targets)
    order = np.argsort(-scores, axis=0, kind="stable")  # [samples, classes]
    ranked = np.take_along_axis(scores, order, axis=0)
    hits = np.take_along_axis(targets, order, axis=0)
    first, last = _tie_limits(ranked)

    positives = hits.sum(axis=0)  # [classes]
    negatives = samples - positives
    # Positives down to the end of each tie, [samples, classes].
    found = np.take_along_axis(hits.cumsum(axis=0), last, axis=0)
    precision = found / (last + 1)
    # Ranks count from the lowest score; ties share the mean of their ranks.
    rank = samples - (first + last) / 2
    rank_sum = (rank * hits).sum(axis=0)
    with np.errstate(invalid="ignore"):
        average_precision = (precision * hits).sum(axis=0) / positives
        pairs = positives * negatives
        auc = (rank_sum - positives * (positives + 1) / 2) / pairs
    return TaggingScores(
        average_precision=average_precision,
        auc=auc,
        excluded=int((positives == 0).sum()),
        without_negatives=int((negatives == 0).sum()),
    )


def _tie_limits(ranked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last position, int [n, c], of the run of equal scores at each place."""
    position = np.broadcast_to(np.arange(len(ranked))[:, None], ranked.shape)
    changes = ranked[1:] != ranked[:-1]
    edge = np.ones((1, ranked.shape[1]), bool)
    first = np.where(np.concatenate([edge, changes]), position, 0)
    last = np.where(np.concatenate([changes, edge]), position, len(ranked) - 1)
    return (
        np.maximum.accumulate(first, axis=0),
        np.minimum.accumulate(last[::-1], axis=0)[::-1],
    )


def summary_scores(targets: ArrayLike, logits: ArrayLike) -> dict[str, float]:
    """Mean average precision, mean AUC and d′ of a tagger.

    Args:
        targets: 0 or 1, [samples, classes].
        logits: float [samples, classes].

    Returns:
        "map", "auc" and "d_prime".

    Raises:
        ValueError: see `tagging_scores`.

    Example:
        >>> summary_scores([[1], [0]], [[2.0], [-3.0]])
        {'map': 1.0, 'auc': 1.0, 'd_prime': inf}
    """
    scores = tagging_scores(targets, logits)
    return {
        "map": scores.mean_average_precision,
        "auc": scores.mean_auc,
        "d_prime": scores.d_prime,
    }
