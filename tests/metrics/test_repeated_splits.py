"""Differences over repeated splits against formulas in NumPy and SciPy."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from advance_tf import labels
from advance_tf.metrics.comparison import Predictions
from advance_tf.metrics.repeated_splits import (
    compare_over_splits,
    corrected_resampled_t,
    detectable_effect,
)

DIFFERENCES = np.array([0.012, -0.004, 0.021, 0.008, 0.015])


def test_the_corrected_t_is_the_formula_of_nadeau_and_bengio():
    found = corrected_resampled_t(DIFFERENCES, 0.3)
    # By hand: mean 0.0104, s² = Σ (d − mean)² / 4 = 8.73e-5, (1/5 + 0.3) s² = 4.365e-5.
    assert found.mean == pytest.approx(0.0104)
    assert found.standard_error == pytest.approx(np.sqrt(4.365e-5))
    assert found.low == pytest.approx(0.0104 - 2.7764451052 * np.sqrt(4.365e-5))
    assert found.high == pytest.approx(0.0104 + 2.7764451052 * np.sqrt(4.365e-5))
    statistic = found.mean / found.standard_error
    assert found.p_value == pytest.approx(2 * (1 - stats.t(4).cdf(statistic)))


def test_without_shared_training_sites_it_is_the_paired_t_test():
    found = corrected_resampled_t(DIFFERENCES, 1e-12)
    ordinary = stats.ttest_1samp(DIFFERENCES, 0)
    assert found.p_value == pytest.approx(ordinary.pvalue)
    low, high = ordinary.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_equal_differences_have_no_error():
    assert corrected_resampled_t([0.0, 0.0], 0.3).p_value == 1
    found = corrected_resampled_t([0.25, 0.25], 0.3)
    assert (found.p_value, found.low, found.detectable) == (0, 0.25, 0)


@pytest.mark.parametrize(
    ("differences", "ratio", "message"),
    [
        ([0.1], 0.3, "at least 2 finite numbers"),
        ([0.1, np.nan], 0.3, "at least 2 finite numbers"),
        ([0.1, 0.2], 0.0, "test_to_training must be above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(differences, ratio, message):
    with pytest.raises(ValueError, match=message):
        corrected_resampled_t(differences, ratio)


@pytest.mark.parametrize("freedom", [1, 4, 9, 200])
def test_the_detectable_effect_is_found_in_four_of_five_experiments(freedom):
    effect = detectable_effect(freedom)
    rng = np.random.default_rng(0)
    count = 200_000
    numerator = rng.normal(effect, 1, count)
    denominator = np.sqrt(rng.chisquare(freedom, count) / freedom)
    found = np.abs(numerator / denominator) > stats.t.ppf(0.975, freedom)
    assert found.mean() == pytest.approx(0.8, abs=0.005)


def test_the_detectable_effect_nears_that_of_the_normal_distribution():
    normal = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert detectable_effect(100_000) == pytest.approx(normal, rel=1e-4)


SCENES = len(labels.scenes())


def create_runs(strength, splits=4, runs=2, seed=0):
    """Runs on overlapping test splits; `strength` is the part that is right."""
    sites = [f"{number:05d}" for number in range(60)]
    found = []
    for split in range(splits):
        rng = np.random.default_rng((1, split))
        own = sorted(rng.choice(sites, 30, replace=False).tolist())
        stems = tuple(f"{site}_{k}" for site in own for k in range(2))
        true = np.array([int(stem[:5]) % SCENES for stem in stems])
        of_split = []
        for run in range(runs):
            noise = np.random.default_rng((seed, split, run))
            wrong = noise.integers(SCENES, size=len(true))
            right = noise.random(len(true)) < strength
            predicted = np.where(right, true, wrong)
            of_split.append(
                Predictions(stems, tuple(s[:5] for s in stems), true, predicted, "")
            )
        found.append(of_split)
    return found


METHODS = {"L_s": create_runs(0.5), "event": create_runs(0.65, seed=1)}


def weighted_f(run):
    """By scikit-learn."""
    return f1_score(run.true, run.predicted, average="weighted", zero_division=0)


def resampled_f(run, weights):
    """Weighted F with a weight for each sample, in NumPy: 2 tp / (true + predicted)."""
    support, predicted, right = (
        np.bincount(scenes, weights=own, minlength=SCENES)
        for scenes, own in (
            (run.true, weights),
            (run.predicted, weights),
            (run.true, weights * (run.true == run.predicted)),
        )
    )
    f_scores = 2 * right / np.maximum(support + predicted, 1)
    return (support * f_scores).sum() / support.sum()


def test_scores_and_differences_are_means_over_seeds_then_splits():
    reference, event = compare_over_splits(METHODS, "L_s", test_to_training=0.4)
    of = {
        name: np.array([np.mean([weighted_f(run) for run in runs]) for runs in splits])
        for name, splits in METHODS.items()
    }
    np.testing.assert_allclose(event.f_scores, of["event"])
    assert event.mean["f_score"] == pytest.approx(of["event"].mean())
    assert event.deviation["f_score"] == pytest.approx(of["event"].std(ddof=1))
    assert (event.splits, event.runs) == (4, 8)
    assert reference.difference is None
    differences = of["event"] - of["L_s"]
    assert event.difference.better == (differences > 0).sum()
    expected = corrected_resampled_t(differences, 0.4)
    assert event.difference.t.mean == pytest.approx(expected.mean)
    assert event.difference.t.detectable == pytest.approx(expected.detectable)


def test_the_bootstrap_draws_sites_splits_and_seeds():
    """The interval is near that of a loop that repeats the draws one by one."""
    (_, event) = compare_over_splits(METHODS, "L_s", test_to_training=0.4, samples=3000)
    rng = np.random.default_rng(7)
    sites = sorted({site for runs in METHODS["L_s"] for site in runs[0].sites})
    values = []
    for _ in range(300):
        counts = dict.fromkeys(sites, 0)
        for site in rng.choice(sites, len(sites)):
            counts[site] += 1
        drawn = []
        for split in rng.integers(4, size=4):
            seeds = rng.integers(2, size=2)
            own = METHODS["L_s"][split][0].sites
            weights = np.array([counts[site] for site in own], float)
            event_f, reference_f = (
                np.mean([resampled_f(METHODS[name][split][k], weights) for k in seeds])
                for name in ("event", "L_s")
            )
            drawn.append(event_f - reference_f)
        values.append(np.mean(drawn))
    low, high = np.quantile(values, [0.025, 0.975])
    width = high - low
    assert event.difference.low == pytest.approx(low, abs=0.15 * width)
    assert event.difference.high == pytest.approx(high, abs=0.15 * width)
    assert low < event.difference.t.mean < high


def test_a_method_equal_to_the_reference_differs_by_zero():
    methods = {"L_s": METHODS["L_s"], "same": create_runs(0.5)}
    (_, same) = compare_over_splits(methods, "L_s", test_to_training=0.4, samples=50)
    found = same.difference
    assert (found.low, found.high, found.t.mean, found.better) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"event": METHODS["event"]}, "^reference must be one of event"),
        (METHODS | {"event": METHODS["event"][:3]}, "the same samples of the same"),
        (METHODS | {"event": METHODS["event"][::-1]}, "the same samples of the same"),
    ],
)
def test_methods_on_other_splits_are_refused(methods, message):
    with pytest.raises(ValueError, match=message):
        compare_over_splits(methods, "L_s", test_to_training=0.4)
