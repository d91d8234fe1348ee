"""Confidence intervals by bootstrap over sites.

Samples of one site are not independent. A resample therefore draws as many sites as
there are, with replacement, and includes every sample of a site as often as the site
was drawn. The scores only need the confusion matrix, which is the sum of the matrices
of the sites, so that a thousand resamples take one matrix product.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.metrics.scores import check_classes

Statistic = Callable[[np.ndarray], np.ndarray]


def _check_resampling(samples: int, level: float) -> None:
    if samples < 2:
        raise ValueError(f"samples must be at least 2; received {samples}.")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1; received {level}.")


def site_counts(
    sites: ArrayLike | Sequence[str], samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Number of times that each resample draws each site.

    Args:
        sites: site of each sample, [n].
        samples: number of resamples.
        seed: random seed. One seed and one set of sites give the same draws,
            independent of the order of the samples.

    Returns:
        The index of each sample's site among the sorted sites, int64 [n], and the
        counts, float64 [samples, distinct sites]; each row sums to the number of
        sites.

    Raises:
        ValueError: there is no sample.

    Example:
        >>> index, counts = site_counts(["b", "a", "b"], samples=3, seed=0)
        >>> index.tolist(), counts.sum(axis=1).tolist()
        ([1, 0, 1], [2.0, 2.0, 2.0])
    """
    names, index = np.unique(np.asarray(sites), return_inverse=True)
    if not len(names):
        raise ValueError("Resampling needs at least one sample; received none.")
    drawn = np.random.default_rng(seed).integers(len(names), size=(samples, len(names)))
    offsets = np.arange(samples)[:, None] * len(names)
    counts = np.bincount((drawn + offsets).ravel(), minlength=samples * len(names))
    return index, counts.reshape(samples, len(names)).astype(np.float64)


def weighted_confusions(
    index: np.ndarray,
    counts: np.ndarray,
    true: ArrayLike,
    predicted: ArrayLike,
    classes: int,
) -> np.ndarray:
    """Sums the confusion matrices of the sites, weighted by their counts.

    Args:
        index: site of each sample, int [n].
        counts: weight of each site, float [m, sites].
        true: class indices [n].
        predicted: class indices [n].
        classes: number of classes.

    Returns:
        float64 [m, classes, classes].
    """
    true = check_classes("true", true, classes)
    predicted = check_classes("predicted", predicted, classes)
    if not len(true) == len(predicted) == len(index):
        raise ValueError(
            "true, `predicted` and `sites` must have the same samples; received "
            f"{len(true)}, {len(predicted)} and {len(index)}."
        )
    sites = counts.shape[1]
    cell = (index * classes + true) * classes + predicted
    per_site = np.bincount(cell, minlength=sites * classes**2)
    flat = counts @ per_site.reshape(sites, classes**2).astype(np.float64)
    return flat.reshape(len(counts), classes, classes)


def resampled_confusions(
    true: ArrayLike,
    predicted: ArrayLike,
    sites: ArrayLike | Sequence[str],
    *,
    classes: int,
    samples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Confusion matrices of resamples over sites.

    Args:
        true: class indices, int [n].
        predicted: class indices, int [n].
        sites: site of each sample, [n].
        classes: number of classes.
        samples: number of resamples.
        seed: random seed of the draws, see `site_counts`.

    Returns:
        Counts, float64 [samples, classes, classes], integer-valued; rows are true
        classes, columns predicted ones.

    Raises:
        ValueError: the lengths differ, an index is out of range, or there is no
            sample.
    """
    index, counts = site_counts(sites, samples, seed)
    return weighted_confusions(index, counts, true, predicted, classes)


def interval(values: ArrayLike, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Central interval of resampled values (percentile method).

    Args:
        values: float [samples, ...]. NaN marks a resample in which the value is
            undefined; it is ignored.
        level: probability inside the interval, in (0, 1).

    Returns:
        Lower and upper end, each float64 [...]; NaN where every resample is NaN.

    Example:
        >>> low, high = interval(range(101), level=0.9)
        >>> round(float(low), 6), round(float(high), 6)
        (5.0, 95.0)
    """
    values = np.asarray(values, np.float64)
    ends = np.full((2, *values.shape[1:]), np.nan)
    defined = ~np.isnan(values).all(axis=0)
    tail = (1 - level) / 2
    ends[:, defined] = np.nanquantile(values[:, defined], [tail, 1 - tail], axis=0)
    return ends[0][()], ends[1][()]


def _class_count(*indices: ArrayLike) -> int:
    return 1 + max(int(np.max(values, initial=0)) for values in indices)


def bootstrap_over_sites(
    true: ArrayLike,
    predicted: ArrayLike,
    sites: ArrayLike | Sequence[str],
    statistic: Statistic,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    classes: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap interval, over sites, of a statistic of the confusion matrix.

    Args:
        true: class indices, int [n].
        predicted: class indices, int [n].
        sites: site of each sample, [n].
        statistic: maps matrices [samples, classes, classes] to values
            [samples, ...], for example
            `lambda confusion: weighted_scores(confusion)["f_score"]`.
        samples: number of resamples.
        seed: random seed of the draws.
        level: probability inside the interval, in (0, 1).
        classes: number of classes; by default the largest index plus 1.

    Returns:
        Lower and upper end, each [...].

    Raises:
        ValueError: see `resampled_confusions`.

    Example:
        >>> from advance_tf.metrics.scores import weighted_scores
        >>> low, high = bootstrap_over_sites(
        ...     [0, 0, 1, 1],
        ...     [0, 1, 1, 1],
        ...     ["a", "b", "c", "d"],
        ...     lambda confusion: weighted_scores(confusion)["accuracy"],
        ... )
        >>> float(low), float(high)
        (0.25, 1.0)
    """
    _check_resampling(samples, level)
    confusions = resampled_confusions(
        true,
        predicted,
        sites,
        classes=classes or _class_count(true, predicted),
        samples=samples,
        seed=seed,
    )
    return interval(statistic(confusions), level)


def paired_difference(
    true: ArrayLike,
    predicted: ArrayLike,
    reference: ArrayLike,
    sites: ArrayLike | Sequence[str],
    statistic: Statistic,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    classes: int | None = None,
    resample_runs: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difference of a statistic between predictions and a reference.

    Both are resampled with the same sites, so that the difficulty of a site cancels.
    Several runs of one method are averaged within each resample.

    Args:
        true: class indices, int [n].
        predicted: class indices, int [n], or [runs, n] for several runs.
        reference: class indices, int [n] or [runs, n]; the number of runs may
            differ from that of `predicted`.
        sites: site of each sample, [n].
        statistic: as for `bootstrap_over_sites`.
        samples: number of resamples.
        seed: random seed of the draws.
        level: probability inside the interval, in (0, 1).
        classes: number of classes; by default the largest index plus 1.
        resample_runs: also draw the runs with replacement. The interval then covers
            the randomness of training as well as that of the sites. Equal numbers
            of runs are drawn as pairs (run k has seed k in both).

    Returns:
        The difference predicted − reference on the original samples, and the lower
        and upper end of its interval, each [...].

    Raises:
        ValueError: see `resampled_confusions`.
    """
    _check_resampling(samples, level)
    classes = classes or _class_count(true, predicted, reference)
    index, counts = site_counts(sites, samples, seed)
    # Row 0 counts every site once: the original samples.
    counts = np.concatenate([np.ones((1, counts.shape[1])), counts])

    def average(runs: ArrayLike) -> np.ndarray:
        """Statistic averaged over the runs, [1 + samples, ...]."""
        stack = np.atleast_2d(runs)
        weights = _run_weights(len(stack), samples, seed, resample_runs)
        values = [
            statistic(weighted_confusions(index, counts, true, run, classes))
            for run in stack
        ]
        return np.einsum("rm,rm...->m...", weights, np.stack(values))

    differences = average(predicted) - average(reference)
    return differences[0], *interval(differences[1:], level)


def _run_weights(runs: int, samples: int, seed: int, resample: bool) -> np.ndarray:
    """Weight of each run in each resample, float64 [runs, 1 + samples].

    Column 0 belongs to the original samples and has equal weights. One seed draws
    the same runs for both sides of a difference.
    """
    weights = np.full((runs, 1 + samples), 1 / runs)
    if resample:
        rng = np.random.default_rng((seed, runs))
        drawn = rng.integers(runs, size=(samples, runs))
        for run in range(runs):
            weights[run, 1:] = (drawn == run).mean(axis=1)
    return weights
