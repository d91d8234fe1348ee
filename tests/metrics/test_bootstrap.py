"""Bootstrap intervals over sites against a loop over samples."""

import numpy as np
import pytest

from advance_tf.metrics import bootstrap
from advance_tf.metrics.scores import confusion_matrix, weighted_scores


def _f_score(confusion):
    return weighted_scores(confusion)["f_score"]


def _problem(n=120, sites=30, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=n)
    predicted = np.where(rng.random(n) < 0.6, true, rng.integers(classes, size=n))
    return true, predicted, np.array([f"{s:05d}" for s in rng.integers(sites, size=n)])


def test_a_resample_includes_all_samples_of_a_site():
    true, predicted, sites = _problem()
    confusions = bootstrap.resampled_confusions(
        true, predicted, sites, classes=4, samples=20, seed=3
    )
    index, counts = bootstrap.site_counts(sites, 20, 3)
    for resample in range(20):
        chosen = np.concatenate(
            [
                np.flatnonzero(index == site)
                for site in range(counts.shape[1])
                for _ in range(int(counts[resample, site]))
            ]
        )
        np.testing.assert_array_equal(
            confusions[resample],
            confusion_matrix(true[chosen], predicted[chosen], 4),
        )


def test_draws_are_uniform_with_replacement():
    _, counts = bootstrap.site_counts([f"{s}" for s in range(50)], 4000, 0)
    np.testing.assert_array_equal(counts.sum(axis=1), 50)
    # A count is binomial(50, 1/50): mean 1, variance 0.98.
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.08)
    assert counts.var() == pytest.approx(0.98, rel=0.02)


def test_draws_depend_on_the_seed_and_not_on_the_order():
    true, predicted, sites = _problem()
    first = bootstrap.bootstrap_over_sites(true, predicted, sites, _f_score, seed=1)
    again = bootstrap.bootstrap_over_sites(true, predicted, sites, _f_score, seed=1)
    other = bootstrap.bootstrap_over_sites(true, predicted, sites, _f_score, seed=2)
    order = np.random.default_rng(9).permutation(len(true))
    shuffled = bootstrap.bootstrap_over_sites(
        true[order], predicted[order], sites[order], _f_score, seed=1
    )
    assert first == again == shuffled
    assert first != other
    assert first[0] < _f_score(confusion_matrix(true, predicted, 4)) < first[1]


def test_more_samples_per_site_do_not_narrow_the_interval():
    true, predicted, sites = _problem()
    once = bootstrap.bootstrap_over_sites(true, predicted, sites, _f_score)
    tenfold = [np.repeat(values, 10) for values in (true, predicted, sites)]
    assert bootstrap.bootstrap_over_sites(*tenfold, _f_score) == pytest.approx(once)


def test_width_agrees_with_the_normal_approximation():
    rng = np.random.default_rng(0)
    true = np.zeros(1000, np.int64)
    predicted = (rng.random(1000) < 0.3).astype(np.int64)
    low, high = bootstrap.bootstrap_over_sites(
        true,
        predicted,
        np.arange(1000),
        lambda confusion: weighted_scores(confusion)["accuracy"],
        samples=4000,
    )
    accuracy = (predicted == 0).mean()
    half = 1.959964 * np.sqrt(accuracy * (1 - accuracy) / 1000)
    assert low == pytest.approx(accuracy - half, abs=0.003)
    assert high == pytest.approx(accuracy + half, abs=0.003)


def test_level_and_undefined_values():
    values = np.stack([np.arange(101.0), np.full(101, np.nan)], axis=1)
    values[:50, 0] = np.nan
    low, high = bootstrap.interval(values, level=0.8)
    np.testing.assert_allclose([low[0], high[0]], [55, 95])
    assert np.isnan(low[1])
    assert np.isnan(high[1])


def test_paired_difference_uses_the_same_draws():
    true, predicted, sites = _problem()
    difference, low, high = bootstrap.paired_difference(
        true, predicted, predicted, sites, _f_score
    )
    assert (difference, low, high) == (0, 0, 0)
    better = np.where(np.arange(len(true)) % 8 == 0, true, predicted)
    difference, low, high = bootstrap.paired_difference(
        true, better, predicted, sites, _f_score, seed=5
    )
    plain = [_f_score(confusion_matrix(true, p, 4)) for p in (better, predicted)]
    assert difference == pytest.approx(plain[0] - plain[1])
    resampled = [
        _f_score(
            bootstrap.resampled_confusions(
                true, p, sites, classes=4, samples=1000, seed=5
            )
        )
        for p in (better, predicted)
    ]
    expected = np.quantile(resampled[0] - resampled[1], [0.025, 0.975])
    np.testing.assert_allclose([low, high], expected)
    assert low > 0


def test_runs_are_averaged_within_a_resample():
    true, first, sites = _problem()
    second = np.where(np.arange(len(true)) % 5 == 0, true, first)
    both = bootstrap.paired_difference(
        true, np.stack([first, second]), first, sites, _f_score
    )
    one = bootstrap.paired_difference(true, second, first, sites, _f_score)
    np.testing.assert_allclose(both, np.array(one) / 2)


def test_runs_are_drawn_in_pairs_in_addition_to_sites():
    # All sites have the same samples, so that drawing sites changes nothing.
    true = np.tile([0, 1, 2, 3], 20)
    sites = np.repeat([f"{site:05d}" for site in range(20)], 4)
    correct, wrong = true, np.tile([0, 0, 0, 3], 20)
    good, poor = (_f_score(confusion_matrix(true, p, 4)) for p in (correct, wrong))
    runs = np.stack([correct, wrong])
    narrow = bootstrap.paired_difference(true, runs, wrong, sites, _f_score)
    np.testing.assert_allclose(narrow, (good - poor) / 2)
    # Both draws are `correct` in a quarter of the resamples, both `wrong` in another.
    wide = bootstrap.paired_difference(
        true, runs, wrong, sites, _f_score, resample_runs=True
    )
    np.testing.assert_allclose(wide, [(good - poor) / 2, 0, good - poor], atol=1e-12)
    paired = bootstrap.paired_difference(
        true, runs, runs, sites, _f_score, resample_runs=True
    )
    np.testing.assert_allclose(paired, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 1}, "samples must be at least 2; received 1"),
        ({"level": 1.0}, "level must be between 0 and 1; received 1.0"),
        ({"sites": ["a"]}, "same samples; received 2, 2 and 1"),
        ({"true": [], "predicted": [], "sites": []}, "at least one sample"),
        ({"predicted": [0, 9], "classes": 3}, r"predicted must be in \[0, 3\)"),
    ],
)
def test_invalid_arguments_are_rejected(changes, message):
    arguments = {"true": [0, 1], "predicted": [0, 1], "sites": ["a", "b"]} | changes
    with pytest.raises(ValueError, match=message):
        bootstrap.bootstrap_over_sites(statistic=_f_score, **arguments)
