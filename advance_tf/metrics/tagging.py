"""Scores of multi-label tagging: average precision, area under the curve, d′."""

import dataclasses
import math
import statistics

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class TaggingScores:
    """Scores of tagging, by class and on average.

    Attributes:
        average_precision: [classes] in [0, 1]; NaN for a class without
            positives.
        auc: [classes] in [0, 1]; NaN for a class without positives or without
            negatives.
        excluded: number of classes without positives, which no mean counts.
        without_negatives: number of further classes that the mean AUC, and
            with it d′, does not count.
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
        """d′ of the mean AUC, see `d_prime`."""
        return d_prime(self.mean_auc)


def _defined_mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def d_prime(auc: float) -> float:
    """The distance of two unit normal distributions with this AUC: √2 Φ⁻¹(AUC).

    Args:
        auc: area under the ROC curve in [0, 1].

    Returns:
        d′; 0 for chance, infinite for 0 and 1, NaN for NaN.

    Source: §4 of Gemmeke et al., "Audio Set", ICASSP 2017.
    """
    if math.isnan(auc):
        return auc
    if auc in (0.0, 1.0):
        return math.copysign(math.inf, auc - 0.5)
    return math.sqrt(2) * statistics.NormalDist().inv_cdf(auc)


def _checked(targets, scores) -> tuple[np.ndarray, np.ndarray]:
    targets, scores = np.asarray(targets), np.asarray(scores)
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    if targets.ndim != 2 or targets.shape != scores.shape or not len(targets):
        raise ValueError(
            "targets and scores must both be [samples, classes] with at least one "
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
            f"{scores.size} are not. Did the training diverge?"
        )
    return targets.astype(bool), scores


def tagging_scores(targets, scores) -> TaggingScores:
    """Scores the ranking of samples by each class.

    AP = Σ (R_j − R_{j−1}) P_j over the distinct scores, best first; AUC is the
    probability that a positive outscores a negative, a tie counting one half.
    Ties are thus resolved as by scikit-learn's `average_precision_score` and
    `roc_auc_score`, which the values equal class by class.

    Args:
        targets: 0 or 1, [samples, classes].
        scores: any finite score that rises with confidence, [samples, classes].

    Returns:
        The scores of each class and their means.

    Raises:
        ValueError: shapes differ, a target is not 0 or 1, or a score is not
            finite.
    """
    targets, scores = _checked(targets, scores)
    samples = len(targets)
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    hits = np.take_along_axis(targets, order, axis=0)
    first, last = _tie_limits(ranked)

    positives = hits.sum(axis=0)
    negatives = samples - positives
    found = np.take_along_axis(hits.cumsum(axis=0), last, axis=0)
    precision = found / (last + 1)
    # Ranks count from the worst sample; a tie shares the mean of its ranks.
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
    """First and last position [n, c] of the run of equal scores of each place."""
    position = np.broadcast_to(np.arange(len(ranked))[:, None], ranked.shape)
    changes = ranked[1:] != ranked[:-1]
    edge = np.ones((1, ranked.shape[1]), bool)
    first = np.where(np.concatenate([edge, changes]), position, 0)
    last = np.where(np.concatenate([changes, edge]), position, len(ranked) - 1)
    return (
        np.maximum.accumulate(first, axis=0),
        np.minimum.accumulate(last[::-1], axis=0)[::-1],
    )


def summary_scores(targets, logits) -> dict[str, float]:
    """The three means that a tagger is known by.

    Args:
        targets: 0 or 1, [samples, classes].
        logits: [samples, classes].

    Returns:
        "map", "auc" and "d_prime".
    """
    scores = tagging_scores(targets, logits)
    return {
        "map": scores.mean_average_precision,
        "auc": scores.mean_auc,
        "d_prime": scores.d_prime,
    }
