"""Means over runs and paired differences against scikit-learn and NumPy."""

import csv

import numpy as np
import pytest
from sklearn.metrics import f1_score

from advance_tf import labels
from advance_tf.metrics import comparison


def random_run(seed, wrong, label=""):
    """Predictions of 130 samples of 26 sites, a fraction of them wrong."""
    true = np.arange(130) % 13
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(130) < wrong, rng.integers(0, 13, 130), true)
    sites = tuple(f"{i // 5:05d}" for i in range(130))
    stems = tuple(f"{i:05d}" for i in range(130))
    return comparison.Predictions(stems, sites, true, predicted, label)


def f_score(run):
    return f1_score(run.true, run.predicted, average="weighted", zero_division=0)


def test_means_deviations_and_differences():
    good = [random_run(seed, 0.1) for seed in (1, 2, 3)]
    poor = [random_run(seed, 0.5) for seed in (4, 5)]
    rows = comparison.compare({"poor": poor, "good": good}, "poor")
    assert [(row.name, row.runs) for row in rows] == [("poor", 2), ("good", 3)]
    expected = [f_score(run) for run in good]
    assert rows[1].mean["f_score"] == pytest.approx(np.mean(expected))
    assert rows[1].deviation["f_score"] == pytest.approx(np.std(expected, ddof=1))
    assert rows[0].difference is None
    difference, low, high = rows[1].difference
    expected_difference = np.mean(expected) - np.mean([f_score(run) for run in poor])
    assert difference == pytest.approx(expected_difference)
    assert 0 < low < difference < high
    assert rows[1].over_runs[0] == pytest.approx(difference)
    assert rows[1].over_runs[1:] != (low, high)


def test_a_single_run_has_no_interval_over_runs():
    runs = {"a": [random_run(1, 0.2), random_run(2, 0.2)], "b": [random_run(3, 0.2)]}
    row = comparison.compare(runs, "a")[1]
    assert row.difference is not None
    assert row.over_runs is None


def test_the_table_names_the_data_and_the_reference():
    rows = comparison.compare(
        {"a": [random_run(1, 0.2)] * 2, "b": [random_run(2, 0.2)] * 2}, "a"
    )
    text = comparison.markdown(rows, "a", "synthetic data")
    assert text.startswith("> **synthetic data**")
    assert "| F − a (95 %) |" in text
    assert text.splitlines()[-2].endswith("| reference |")


def test_other_samples_or_an_unknown_reference_are_rejected():
    other = random_run(1, 0.2)
    moved = comparison.Predictions(
        other.stems[::-1], other.sites, other.true, other.predicted, ""
    )
    with pytest.raises(ValueError, match="on the same samples; those of 'b' differ"):
        comparison.compare({"a": [other], "b": [moved]}, "a")
    with pytest.raises(ValueError, match="^reference must be one of a; received 'c'"):
        comparison.compare({"a": [other]}, "c")


def test_reads_the_predictions_of_an_evaluation(tmp_path):
    path = tmp_path / "predictions.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["stem", "site", "scene", "predicted", "label"])
        writer.writerow(["00001", "00001", "lake", "beach", "leaky"])
    run = comparison.read_predictions(path)
    names = labels.scenes()
    assert run.true.tolist() == [names.index("lake")]
    assert run.predicted.tolist() == [names.index("beach")]
    assert run.label == "leaky"


def test_a_missing_or_unrelated_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="Run `advance evaluate` first"):
        comparison.read_predictions(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("stem,site\n1,2\n")
    with pytest.raises(ValueError, match="the entry 'scene' is missing"):
        comparison.read_predictions(tmp_path / "other.csv")
