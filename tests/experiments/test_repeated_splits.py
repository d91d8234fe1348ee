"""Tables over splits: their studies, files and numbers."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from advance_tf import labels
from advance_tf.experiments.paper_tables import paper_rows
from advance_tf.experiments.repeated_splits import open_splits, share_knowledge
from advance_tf.experiments.split_tables import split_table, write_split_table
from advance_tf.metrics.comparison import read_predictions
from advance_tf.metrics.repeated_splits import corrected_resampled_t
from advance_tf.runs.workdir import KNOWLEDGE
from advance_tf.teacher.knowledge import load_knowledge
from tests.experiments.factories import open_small_study, write_evaluated
from tests.training.factories import build_scene_knowledge

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("splits")


@pytest.fixture(scope="module")
def splits(folder, fabricated_advance):
    study = open_small_study(folder, fabricated_advance, train_fraction=0.5)
    return open_splits(study, splits=3)


@pytest.fixture(scope="module")
def jobs_of(splits):
    """Random predictions of two seeds of the rows of Table 3 on each split."""
    found = []
    for split in splits:
        jobs = [
            split.study.job(row.recipe, seed) for seed in SEEDS for row in paper_rows(3)
        ]
        for job in jobs:
            write_evaluated(job, split.manifest)
        found.append(jobs)
    return found


@pytest.fixture(scope="module")
def table(splits, jobs_of):
    return split_table(splits, 3, jobs_of, samples=50)


def weighted_f(split, recipe):
    """Weighted F by scikit-learn, mean over the seeds of a split."""
    folder = split.study.workdir / "runs" / recipe
    values = []
    for seed in SEEDS:
        path = folder / str(seed) / "evaluation" / "test" / "predictions.csv"
        run = read_predictions(path)
        values.append(
            f1_score(run.true, run.predicted, average="weighted", zero_division=0)
        )
    return np.mean(values)


def test_rows_without_jobs_are_left_out(splits, jobs_of, table):
    recipes = {"table1_both", "table3_event"}
    some = [[job for job in jobs if job.recipe in recipes] for jobs in jobs_of]
    found = split_table(splits, 3, some, samples=50)
    assert [line.paper.recipe for line in found.lines] == [
        "table1_both",
        "table3_event",
    ]
    whole = {line.paper.recipe: line.row.f_scores for line in table.lines}
    for line in found.lines:
        np.testing.assert_array_equal(line.row.f_scores, whole[line.paper.recipe])


def test_each_split_is_a_study_with_its_own_seed_and_a_common_cache(splits):
    assert [split.manifest.split_seed for split in splits] == [0, 1, 2]
    assert len({split.manifest.sha256 for split in splits}) == 3
    assert len({split.study.config.data.cache_dir for split in splits}) == 1
    assert len({split.study.workdir for split in splits}) == 3


def test_folds_test_each_site_once(folder, fabricated_advance):
    study = open_small_study(folder / "folds", fabricated_advance)
    folds = open_splits(study, folds=2)
    tested = [{p.site for p in fold.manifest.pairs_of("test")} for fold in folds]
    assert not tested[0] & tested[1]
    sites = {pair.site for pair in folds[0].manifest.pairs}
    assert tested[0] | tested[1] == sites


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({}, {"splits": 1}, "must be at least 2; received 1 and 0"),
        ({}, {"splits": 2, "folds": 2}, "^Either `splits` or `folds`"),
        ({"split_seed": 4}, {"splits": 2}, "received `split_protocol=site` and `spl"),
        ({"train_fraction": 0.5}, {"folds": 2}, "received `train_fraction=0.5`. Leave"),
        ({"split_protocol": "pair"}, {"folds": 2}, "received `split_protocol=pair`"),
    ],
)
def test_contradicting_settings_are_refused(
    tmp_path, fabricated_advance, settings, given, message
):
    study = open_small_study(tmp_path, fabricated_advance, **settings)
    with pytest.raises(ValueError, match=message):
        open_splits(study, **given)


def test_differences_are_paired_by_split(splits, table):
    reference = np.array([weighted_f(split, "table1_both") for split in splits])
    sites = [
        [len({p.site for p in split.manifest.pairs_of(name)}) for split in splits]
        for name in ("test", "training")
    ]
    ratio = np.mean(np.array(sites[0]) / np.array(sites[1]))
    assert table.test_to_training == pytest.approx(ratio)
    assert table.lines[0].row.difference is None
    for line in table.lines[1:]:
        own = np.array([weighted_f(split, line.paper.recipe) for split in splits])
        assert line.row.mean["f_score"] == pytest.approx(own.mean())
        expected = corrected_resampled_t(own - reference, ratio)
        found = line.row.difference.t
        assert found.mean == pytest.approx(expected.mean)
        assert found.low == pytest.approx(expected.low)
        assert found.detectable == pytest.approx(expected.detectable)
        assert line.row.runs == 6


def test_three_files_have_the_same_numbers(folder, table):
    text = write_split_table(folder, "table3_splits3", table, "A note.")
    assert text.endswith("\n\nA note.\n")
    assert (folder / "table3_splits3.md").read_text() == text
    assert text.startswith("## Table 3 over 3 splits: the transfer loss alone")
    assert "> **random predictions**" in text
    with (folder / "table3_splits3.csv").open() as file:
        rows = list(csv.DictReader(file))
    contents = json.loads((folder / "table3_splits3.json").read_text())
    assert len(rows) == len(contents["rows"]) == len(table.lines) == 5
    for line, row, stored in zip(table.lines, rows, contents["rows"], strict=True):
        assert row["recipe"] == stored["recipe"] == line.paper.recipe
        assert float(row["f_score"]) == pytest.approx(stored["f_score"], abs=1e-6)
        assert stored["f_scores"] == pytest.approx(line.row.f_scores.tolist())
        difference = line.row.difference
        if difference is None:
            assert (row["difference"], stored["difference"]) == ("", None)
            continue
        t = difference.t
        assert float(row["detectable"]) == pytest.approx(t.detectable, abs=1e-6)
        assert f"{100 * t.mean:+.2f} ({100 * t.low:+.2f} to" in text
        assert f"{difference.better} of 3" in text
    assert stored["weights"] == [{"alpha": 0.1, "beta": 0.001}] * 3


def test_the_soft_labels_of_one_split_serve_another(splits):
    first, second = splits[:2]
    known = build_scene_knowledge(first.manifest)
    share_knowledge(second, known)
    found = load_knowledge(second.study.workdir / KNOWLEDGE, second.manifest)
    pairs = second.manifest.pairs
    np.testing.assert_array_equal(
        found.targets_for(pairs)["teacher_logits"],
        known.targets_for(pairs)["teacher_logits"],
    )
    soft = {
        pair.stem: row
        for pair, row in zip(
            pairs, known.targets_for(pairs)["soft_labels"], strict=True
        )
    }
    training = [
        p.stem for p in second.manifest.pairs_of("training") if p.scene == "lake"
    ]
    expected = np.mean([soft[stem] for stem in training], axis=0)
    covered = known.event_mask
    np.testing.assert_allclose(
        found.posteriors[labels.scenes().index("lake")][covered],
        expected[covered],
        rtol=1e-5,
    )
