"""Tables of a study: jobs, evaluations, scores and files."""

import csv
import hashlib
import json
import types

import numpy as np
import pytest
from sklearn.metrics import f1_score

from advance_tf.checksums import replacing_checked
from advance_tf.experiments import reproduction
from advance_tf.experiments.study import prepare_study
from advance_tf.metrics.comparison import read_predictions
from tests.experiments.factories import open_small_study, write_evaluated, write_trained


@pytest.fixture(scope="module")
def study(tmp_path_factory, fabricated_advance):
    """Tables 2 and 3 with random predictions of two runs of each row."""
    study = open_small_study(tmp_path_factory.mktemp("tables"), fabricated_advance)
    manifest = prepare_study(study, [])
    for job in reproduction.table_jobs(study, [2, 3], 2):
        write_evaluated(job, manifest)
    return study


def test_jobs_are_listed_once_and_seed_by_seed(tmp_path, fabricated_advance):
    study = open_small_study(tmp_path, fabricated_advance)
    jobs = reproduction.table_jobs(study, [1, 2, 3], 5)
    assert len(jobs) == len({job.workdir for job in jobs}) == 5 * 20
    seeds = [job.config.training.seed for job in jobs]
    assert seeds == sorted(seeds)


def weighted_f(study, recipe):
    """Weighted F of each run by scikit-learn, from its predictions."""
    found = []
    for seed in (0, 1):
        folder = study.workdir / "runs" / recipe / str(seed) / "evaluation" / "test"
        run = read_predictions(folder / "predictions.csv")
        found.append(
            f1_score(run.true, run.predicted, average="weighted", zero_division=0)
        )
    return np.array(found)


def test_the_table_equals_the_scores_of_the_predictions(study):
    lines, label = reproduction.table_lines(study, 3, 2)
    assert label == "random predictions"
    reference = weighted_f(study, "table1_both")
    assert [line.row.name for line in lines][:2] == ["both, L_s", "both, L_E1 alone"]
    for line, recipe in zip(
        lines[1:],
        ("event_kl", "event", "kl_audiovisual", "sq_audiovisual"),
        strict=True,
    ):
        own = weighted_f(study, f"table3_{recipe}")
        assert line.row.mean["f_score"] == pytest.approx(own.mean())
        assert line.row.deviation["f_score"] == pytest.approx(own.std(ddof=1))
        assert line.row.difference[0] == pytest.approx(own.mean() - reference.mean())
        assert line.reference == "both, L_s"


def test_chosen_rows_have_the_scores_of_the_whole_table(study):
    all_rows, _ = reproduction.table_lines(study, 2, 2)
    chosen = ["table2_sound_kl", "table2_image_event"]
    lines, _ = reproduction.table_lines(study, 2, 2, chosen)
    names = ["sound, L_s", "sound, L_s + KL", "image, L_s", "image, L_s + L_E"]
    assert [line.row.name for line in lines] == names
    assert lines == [line for line in all_rows if line.row.name in names]
    jobs = reproduction.table_jobs(study, [2], 2, recipes=chosen)
    recipes = ["table1_sound", "table2_sound_kl", "table1_image", "table2_image_event"]
    assert [(job.config.training.seed, job.recipe) for job in jobs] == [
        (seed, recipe) for seed in (0, 1) for recipe in recipes
    ]
    text = reproduction.write_table(study, 2, 2, chosen)
    assert text.count("| sound,") == text.count("| image,") == 2


@pytest.mark.parametrize("rows", [["table3_event"], ["table1_event"], ["event"]])
def test_rows_must_be_of_the_tables(rows):
    with pytest.raises(ValueError, match=rf"received {rows[0]} for table 1, 2\. The"):
        reproduction.table_recipes([1, 2], rows)


def test_one_input_is_compared_with_the_same_input(study):
    lines, _ = reproduction.table_lines(study, 2, 2)
    assert len(lines) == 10
    for line in lines:
        modality = line.row.name.split(",")[0]
        reference = weighted_f(study, f"table1_{modality}")
        assert line.reference == f"{modality}, L_s"
        if line.row.name == line.reference:
            assert line.row.difference is None
            continue
        expected = line.row.mean["f_score"] - reference.mean()
        assert line.row.difference[0] == pytest.approx(expected)


def test_three_files_are_written(study):
    text = reproduction.write_table(study, 3, 2, note="A note.")
    assert (study.workdir / "table3.md").read_text() == text
    assert text.endswith("\n\nA note.\n")
    assert "48.65 ± 0.85" in text
    with (study.workdir / "table3.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["runs"] for row in rows] == ["2"] * 5
    assert r"\bottomrule" in (study.workdir / "table3.tex").read_text()


def test_a_run_is_evaluated_again_only_with_other_weights(tmp_path, fabricated_advance):
    study = open_small_study(tmp_path, fabricated_advance)
    job = study.job("table1_both", 0)
    write_trained(job, prepare_study(study, []))
    reproduction.evaluate_jobs([job])
    metrics = job.workdir / "evaluation" / "test" / "metrics.json"
    before = metrics.stat().st_mtime_ns
    reproduction.evaluate_jobs([job])
    assert metrics.stat().st_mtime_ns == before
    # A resumed run has other weights.
    written = json.loads(metrics.read_text())
    written["details"]["weights_sha256"] = "0" * 64
    with replacing_checked(metrics) as temporary:
        temporary.write_text(json.dumps(written))
    reproduction.evaluate_jobs([job])
    details = json.loads(metrics.read_text())["details"]
    weights = (job.workdir / "best.weights.h5").read_bytes()
    assert details["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    for path in (metrics, reproduction.predictions_of(job)):
        contents = path.read_bytes()
        path.write_bytes(contents.replace(b"lake", b"cake", 1))
        with pytest.raises(ValueError, match=f"{path.name} is damaged: its SHA-256"):
            reproduction._needs_evaluation(job)
            read_predictions(path)
        path.write_bytes(contents)


def test_the_deviation_over_epochs_is_below_the_table(tmp_path):
    """Of the runs with test scores in their log.csv."""

    class Runs:
        def job(self, recipe, seed):
            return types.SimpleNamespace(workdir=tmp_path / recipe / str(seed))

    assert reproduction.over_epochs(Runs(), 3) == ""
    folder = tmp_path / "table3_event" / "0"
    folder.mkdir(parents=True)
    scores = ("precision", "recall", "f_score")
    lines = [f"epoch,val_f_score,{','.join(f'test_{score}' for score in scores)}"]
    lines += [f"{epoch},{0.5 - 0.1 * epoch},0.5,0.25,0.{epoch}" for epoch in (1, 2)]
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    text = reproduction.over_epochs(Runs(), 3)
    assert "the best epoch of one run" in text
    (row,) = [line for line in text.splitlines() if "1 to 2" in line]
    assert row.endswith("| 1 to 2 | 50.00 ± 0.00 | 25.00 ± 0.00 | 15.00 ± 5.00 |")
