"""Intervals by resampling sites: samples of one place are not independent.

A resample draws as many sites as there are, with replacement, and takes all
samples of a site as often as it was drawn. Scores need only the confusion
matrix, which is the sum of the sites' own matrices, so that a thousand
resamples are one matrix product.
"""

from collections.abc import Callable

import numpy as np

from advance_tf.metrics.scores import check_classes

Statistic = Callable[[np.ndarray], np.ndarray]


def _check_resampling(samples: int, level: float) -> None:
    if samples < 2:
        raise ValueError(f"samples must be at least 2; received {samples}.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; received {level}.")


def site_counts(sites, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each resample draws each site.

    Args:
        sites: site of each sample [n].
        samples: number of resamples.
        seed: same seed and same set of sites give the same draws, whatever the
            order of the samples.

    Returns:
        The index [n] int64 of each sample's site among the sorted sites, and
        counts [samples, distinct sites] float64; each row sums to the number
        of sites.

    Raises:
        ValueError: there is no sample.
    """
    names, index = np.unique(np.asarray(sites), return_inverse=True)
    if not len(names):
        raise ValueError("Resampling needs at least one sample; received none.")
    drawn = np.random.default_rng(seed).integers(len(names), size=(samples, len(names)))
    offsets = np.arange(samples)[:, None] * len(names)
    counts = np.bincount((drawn + offsets).ravel(), minlength=samples * len(names))
    return index, counts.reshape(samples, len(names)).astype(np.float64)


def _summed(index, counts, true, predicted, classes) -> np.ndarray:
    """Sums the sites' confusion matrices by `counts` [m, sites] to [m, c, c]."""
    true = check_classes("true", true, classes)
    predicted = check_classes("predicted", predicted, classes)
    if not len(true) == len(predicted) == len(index):
        raise ValueError(
            "true, predicted and sites must be of the same samples; received "
            f"{len(true)}, {len(predicted)} and {len(index)}."
        )
    site_total = counts.shape[1]
    cell = (index * classes + true) * classes + predicted
    of_site = np.bincount(cell, minlength=site_total * classes**2)
    flat = counts @ of_site.reshape(site_total, classes**2).astype(np.float64)
    return flat.reshape(len(counts), classes, classes)


def resampled_confusions(
    true, predicted, sites, *, classes: int, samples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Confusion matrices of resamples over sites.

    Args:
        true: class indices [n].
        predicted: class indices [n].
        sites: site of each sample [n].
        classes: number of classes.
        samples: number of resamples.
        seed: of the draws; see `site_counts`.

    Returns:
        Counts [samples, classes, classes] float64, whole numbers.

    Raises:
        ValueError: lengths differ, an index is out of range, or no sample.
    """
    index, counts = site_counts(sites, samples, seed)
    return _summed(index, counts, true, predicted, classes)


def interval(values, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The central interval of resampled values (percentile method).

    Args:
        values: [samples, ...]; a NaN is a resample in which the value is not
            defined, and is left out.
        level: probability inside, in (0, 1).

    Returns:
        Lower and upper end, each [...]; NaN where every resample is.
    """
    values = np.asarray(values, np.float64)
    ends = np.full((2, *values.shape[1:]), np.nan)
    defined = ~np.isnan(values).all(axis=0)
    tail = (1 - level) / 2
    ends[:, defined] = np.nanquantile(values[:, defined], [tail, 1 - tail], axis=0)
    return ends[0][()], ends[1][()]


def _class_count(*indices) -> int:
    return 1 + max(int(np.max(values, initial=0)) for values in indices)


def bootstrap_over_sites(
    true,
    predicted,
    sites,
    statistic: Statistic,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    classes: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of a statistic of the confusion matrix, over sites.

    Args:
        true: class indices [n].
        predicted: class indices [n].
        sites: site of each sample [n].
        statistic: maps matrices [samples, classes, classes] to values
            [samples, ...], for example
            `lambda confusion: weighted_scores(confusion)["f_score"]`.
        samples: number of resamples.
        seed: of the draws.
        level: probability inside, in (0, 1).
        classes: number of classes; by default as many as occur.

    Returns:
        Lower and upper end, each [...].

    Raises:
        ValueError: see `resampled_confusions`.
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
    true,
    predicted,
    reference,
    sites,
    statistic: Statistic,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    classes: int | None = None,
    resample_runs: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much a statistic differs from that of a reference, on the same draws.

    Both are resampled with the same sites, so that what makes a place hard for
    both cancels. Several runs of one method are averaged within each resample.

    Args:
        true: class indices [n].
        predicted: class indices [n], or [runs, n] of several runs.
        reference: class indices [n] or [runs, n]; the numbers of runs may
            differ.
        sites: site of each sample [n].
        statistic: as for `bootstrap_over_sites`.
        samples: number of resamples.
        seed: of the draws.
        level: probability inside, in (0, 1).
        classes: number of classes; by default as many as occur.
        resample_runs: draw the runs, too, with replacement: the interval then
            covers the chance of training besides that of the places. Equal
            numbers of runs are drawn as pairs (run k has seed k in both).

    Returns:
        The difference predicted − reference on the samples themselves, and the
        lower and upper end of its interval, each [...].

    Raises:
        ValueError: see `resampled_confusions`.
    """
    _check_resampling(samples, level)
    classes = classes or _class_count(true, predicted, reference)
    # Every site counted once gives the samples themselves, in row 0.
    index, counts = site_counts(sites, samples, seed)
    counts = np.concatenate([np.ones((1, counts.shape[1])), counts])

    shares = [
        _run_shares(len(np.atleast_2d(runs)), samples, seed, resample_runs)
        for runs in (predicted, reference)
    ]

    def averaged(runs, share):
        values = [
            statistic(_summed(index, counts, true, run, classes))
            for run in np.atleast_2d(runs)
        ]
        return np.einsum("rm,rm...->m...", share, np.stack(values))

    differences = averaged(predicted, shares[0]) - averaged(reference, shares[1])
    return differences[0], *interval(differences[1:], level)


def _run_shares(runs: int, samples: int, seed: int, resample: bool) -> np.ndarray:
    """Weight of each run in each resample [runs, 1 + samples]; the first is even.

    One seed draws the same runs for both sides of a difference.
    """
    shares = np.full((runs, 1 + samples), 1 / runs)
    if resample:
        rng = np.random.default_rng((seed, runs))
        drawn = rng.integers(runs, size=(samples, runs))
        for run in range(runs):
            shares[run, 1:] = (drawn == run).mean(axis=1)
    return shares
