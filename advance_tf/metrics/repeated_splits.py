"""Paired differences over repeated splits: corrected t, bootstrap, detectable gain.

One split has few test sites, and several runs on it only sample the randomness of
training. Repeated splits also sample the sites, but their training sets overlap, so
that the differences of the splits are correlated and an ordinary paired t-test finds
differences that are not there. The t-test of this module is corrected for the overlap;
the bootstrap draws the sites once for all splits, because their test sets overlap too.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from advance_tf import labels
from advance_tf.metrics.bootstrap import interval, weighted_confusions
from advance_tf.metrics.comparison import SCORES, Predictions
from advance_tf.metrics.scores import confusion_matrix, weighted_scores

POWER = 0.8
_QUANTILES = 10_000


@dataclasses.dataclass(frozen=True)
class CorrectedT:
    """A mean difference over repeated splits with the corrected resampled t-test.

    Attributes:
        mean: mean of the differences.
        standard_error: of the mean, corrected for overlapping training sets.
        low: lower end of the confidence interval.
        high: upper end of the confidence interval.
        p_value: two-sided, of the hypothesis that there is no difference.
        detectable: least difference that the test finds with a power of 80 %.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    p_value: float
    detectable: float


def corrected_resampled_t(
    differences: ArrayLike, test_to_training: float, level: float = 0.95
) -> CorrectedT:
    """Corrected resampled t-test of Nadeau and Bengio.

    With the differences d_j of J splits, their mean m and their variance s² (J − 1),

        t = m / SE,  SE = sqrt((1/J + n_test/n_training) s²),  J − 1 degrees of freedom

    Without the second summand this is the ordinary paired t-test, whose standard error
    is too small because the splits share training data.

    Args:
        differences: one number for each split, averaged over seeds; at least 2.
        test_to_training: n_test / n_training of a split, above 0.
        level: probability of the confidence interval, in (0, 1); 1 − level is the
            significance level of `detectable`.

    Returns:
        Mean, standard error, interval, p-value and least detectable difference. Where
        all differences are equal, the standard error is 0 and the p-value is 0, or 1
        for differences of 0.

    Raises:
        ValueError: there are fewer than 2 differences, or a number is out of range.

    Source: Nadeau and Bengio, "Inference for the Generalization Error", Machine
    Learning 52, 2003.

    Example:
        >>> test = corrected_resampled_t([0.01, 0.03, 0.02], test_to_training=0.25)
        >>> round(test.mean, 4), round(test.standard_error, 6)
        (0.02, 0.007638)
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(
            "differences must be at least 2 finite numbers, one for each split; "
            f"received {values.tolist()}. Use more splits."
        )
    if not test_to_training > 0 or not 0 < level < 1:
        raise ValueError(
            "test_to_training must be above 0 and `level` between 0 and 1; received "
            f"{test_to_training} and {level}."
        )
    splits, mean = len(values), float(values.mean())
    variance = (1 / splits + test_to_training) * values.var(ddof=1)
    error = float(np.sqrt(variance))
    freedom = splits - 1
    margin = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    if error:
        p_value = float(2 * stats.t.sf(abs(mean) / error, freedom))
    else:
        p_value = float(mean == 0)
    detectable = detectable_effect(freedom, level) * error
    return CorrectedT(mean, error, mean - margin, mean + margin, p_value, detectable)


def detectable_effect(freedom: int, level: float = 0.95, power: float = POWER) -> float:
    """Least effect that a two-sided t-test finds, in standard errors.

    It is the noncentrality δ for which a t variable with that noncentrality exceeds the
    critical value, on either side, with the probability `power`.

    Args:
        freedom: degrees of freedom, at least 1.
        level: 1 − significance level, in (0, 1).
        power: probability to find the effect, in (1 − level, 1).

    Returns:
        δ > 0, about t_{(1+level)/2} + t_{power}.

    >>> round(detectable_effect(9), 3)
    3.15
    """
    critical = float(stats.t.ppf((1 + level) / 2, freedom))
    # A t variable is (Z + δ) / S with Z normal and S² = χ²/ν. The mean over quantiles
    # of S is finite for every δ, unlike SciPy's noncentral distribution.
    middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    deviations = np.sqrt(stats.chi2.ppf(middles, freedom) / freedom)

    def missing_power(delta: float) -> float:
        above = stats.norm.cdf(delta - critical * deviations)
        below = stats.norm.cdf(-delta - critical * deviations)
        return float(np.mean(above + below)) - power

    # 0 has the power 1 − level; the upper end is far beyond every effect in question.
    return float(optimize.brentq(missing_power, 1e-9, 4 * critical + 10))


@dataclasses.dataclass(frozen=True)
class SplitDifference:
    """Difference in weighted F to the reference over splits, seeds and sites.

    Attributes:
        t: corrected resampled t-test over the splits.
        low: lower end of the bootstrap interval.
        high: upper end of the bootstrap interval.
        better: number of splits in which the method is better.
    """

    t: CorrectedT
    low: float
    high: float
    better: int


@dataclasses.dataclass(frozen=True, eq=False)
class SplitRow:
    """Scores of one method over repeated splits.

    Attributes:
        name: name of the method.
        splits: number of splits.
        runs: number of runs in all splits.
        mean: precision, recall, f_score → mean over the splits, in [0, 1].
        deviation: the same → standard deviation over the splits of the mean over the
            runs of a split (n − 1).
        f_scores: weighted F of each split, mean over its runs, [splits].
        difference: to the reference; None for the reference itself.
    """

    name: str
    splits: int
    runs: int
    mean: Mapping[str, float]
    deviation: Mapping[str, float]
    f_scores: np.ndarray
    difference: SplitDifference | None


Methods = Mapping[str, Sequence[Sequence[Predictions]]]


def compare_over_splits(
    methods: Methods,
    reference: str,
    *,
    test_to_training: float,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[SplitRow]:
    """Scores of every method, and paired differences of weighted F, over splits.

    In a resample of the bootstrap the sites of all test splits are drawn with
    replacement, once for all splits and methods; then the splits; then the runs of each
    split, equal numbers as pairs (run k has seed k in both methods). Difficulty of a
    site and of a split thus cancel in a difference.

    Args:
        methods: name → for each split the predictions of its runs; all methods have the
            same splits and the same samples in a split.
        reference: name of the method to compare with.
        test_to_training: sites in test divided by sites in training, see
            `corrected_resampled_t`.
        samples: number of resamples.
        seed: random seed of the draws.
        level: probability inside the intervals.

    Returns:
        One row for each method, in the order of `methods`.

    Raises:
        ValueError: the reference is not among the methods, the samples or splits
            differ, or there are fewer than 2 splits.
    """
    if reference not in methods:
        raise ValueError(
            f"reference must be one of {', '.join(methods)}; received {reference!r}."
        )
    base = methods[reference]
    for name, splits in methods.items():
        stems = [{run.stems for run in runs} for runs in splits]
        if stems != [{runs[0].stems} for runs in base]:
            raise ValueError(
                "All methods must be evaluated on the same samples of the same splits; "
                f"those of '{name}' differ from those of '{reference}'."
            )
    draws = _Draws(base, samples, seed)
    resampled = {name: draws.f_scores(splits) for name, splits in methods.items()}
    rows = []
    for name, splits in methods.items():
        row = _scores(name, splits)
        if name != reference:
            own = resampled[name] - resampled[reference]
            differences = row.f_scores - _scores(reference, base).f_scores
            low, high = interval(own, level)
            difference = SplitDifference(
                corrected_resampled_t(differences, test_to_training, level),
                float(low),
                float(high),
                int((differences > 0).sum()),
            )
            row = dataclasses.replace(row, difference=difference)
        rows.append(row)
    return rows


def _scores(name: str, splits: Sequence[Sequence[Predictions]]) -> SplitRow:
    """Mean and deviation over splits, without a difference."""
    classes = len(labels.scenes())
    of_splits = []
    for runs in splits:
        scores = [
            weighted_scores(confusion_matrix(run.true, run.predicted, classes))
            for run in runs
        ]
        of_splits.append(
            [np.mean([float(run[score]) for run in scores]) for score in SCORES]
        )
    # [splits, scores]
    values = np.array(of_splits)
    return SplitRow(
        name,
        len(splits),
        sum(map(len, splits)),
        dict(zip(SCORES, values.mean(axis=0).tolist(), strict=True)),
        dict(zip(SCORES, values.std(axis=0, ddof=1).tolist(), strict=True)),
        values[:, SCORES.index("f_score")],
        None,
    )


class _Draws:
    """The draws of sites, splits and runs that all methods have in common."""

    def __init__(
        self, base: Sequence[Sequence[Predictions]], samples: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        names = sorted({site for runs in base for site in runs[0].sites})
        number = {site: index for index, site in enumerate(names)}
        drawn = rng.integers(len(names), size=(samples, len(names)))
        self._counts = np.stack(
            [np.bincount(row, minlength=len(names)) for row in drawn]
        ).astype(np.float64)
        self._index = [
            np.array([number[site] for site in runs[0].sites]) for runs in base
        ]
        splits = len(base)
        drawn = rng.integers(splits, size=(samples, splits))
        # [samples, splits]: how often each split is drawn, divided by the splits.
        self._splits = np.stack(
            [np.bincount(row, minlength=splits) / splits for row in drawn]
        )
        self._samples, self._seed = samples, seed

    def f_scores(self, splits: Sequence[Sequence[Predictions]]) -> np.ndarray:
        """Weighted F of each resample, float64 [samples]."""
        return np.einsum(
            "ms,sm->m",
            self._splits,
            np.stack([self._split(split, runs) for split, runs in enumerate(splits)]),
        )

    def _split(self, split: int, runs: Sequence[Predictions]) -> np.ndarray:
        """Weighted F of one split in each resample, averaged over drawn runs."""
        # Only the sites of this test split have samples.
        sites, index = np.unique(self._index[split], return_inverse=True)
        counts = self._counts[:, sites]
        values = np.stack(
            [
                weighted_scores(
                    weighted_confusions(
                        index, counts, run.true, run.predicted, len(labels.scenes())
                    )
                )["f_score"]
                for run in runs
            ]
        )
        # Methods with equally many runs draw the same seeds.
        rng = np.random.default_rng((self._seed, split, len(runs)))
        drawn = rng.integers(len(runs), size=(self._samples, len(runs)))
        weights = np.stack([(drawn == run).mean(axis=1) for run in range(len(runs))])
        averaged: np.ndarray = (weights * values).sum(axis=0)
        return averaged
