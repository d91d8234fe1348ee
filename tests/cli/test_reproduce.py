"""`advance reproduce`: interrupted and resumed, tables and errors."""

import csv
import signal
import subprocess
import sys
import time

import pytest

from advance_tf.experiments import reproduction
from advance_tf.experiments.study import prepare_study
from advance_tf.training.session import run_progress
from tests.experiments.factories import open_small_study, write_evaluated, write_trained
from tests.imports import ROOT
from tests.processes import run_program

SMALL = (
    *("--image_depth=10", "--audio_depth=10", "--image_width=2", "--audio_width=2"),
    *("--image_size=32", "--clip_seconds=1", "--batch_size=13", "--drop_epochs="),
    *("--learning_rate=0.003", "--jobs=2", "--runs=1", "--grid", "--alphas=0.1"),
    *("--grid_recipe=table1_kl_audio", "--grid_folds=2"),
)


def logs(workdir):
    """Run → the text of its log."""
    paths = sorted(workdir.glob("grid/*/*/*/0/log.csv"))
    return {path.parts[-5]: path.read_text() for path in paths}


def epochs(workdir):
    """Run → the number of epochs that its checkpoint has."""
    folders = [path.parent for path in workdir.glob("grid/*/*/*/0/log.csv")]
    return {folder.parts[-4]: run_progress(folder).epochs for folder in folders}


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Weights of an audio tower with an event head."""
    import keras

    from advance_tf.config import FeatureConfig, ModelConfig
    from advance_tf.models.recognizer import build_audio_tagger
    from advance_tf.models.weights import TowerMetadata, save_tower

    keras.utils.set_random_seed(0)
    model = ModelConfig(audio_depth=10, audio_width=2)
    tagger = build_audio_tagger(model, FeatureConfig(clip_seconds=1.0))
    path = tmp_path_factory.mktemp("teacher") / "tower.npz"
    tower, head = map(tagger.get_layer, ("audio_tower", "audio_event_head"))
    save_tower(path, tower, TowerMetadata("audio", 10, 2), head)
    return path


def test_a_killed_study_resumes_from_its_folder(tmp_path, fabricated_advance, teacher):
    workdir = tmp_path / "study"
    given = (f"--data_dir={fabricated_advance}", f"--audio_weights={teacher}", *SMALL)
    command = [sys.executable, "-m", "advance_tf", "reproduce", f"--workdir={workdir}"]
    first = subprocess.Popen(
        [*command, *given, "--epochs=500"], cwd=ROOT, stderr=subprocess.PIPE
    )
    try:
        wait_for(lambda: sum(epochs(workdir).values()) >= 2)
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate()
    assert first.returncode == 143
    killed, finished = logs(workdir), epochs(workdir)
    time.sleep(1)
    assert (logs(workdir), epochs(workdir)) == (killed, finished)

    wanted = max(finished.values()) + 1
    status, printed, error = run_program(
        *("reproduce", f"--workdir={workdir}", "--grid", "--runs=1", "--jobs=2"),
        *("--alphas=0.1", "--grid_recipe=table1_kl_audio", "--grid_folds=2"),
        f"--epochs={wanted}",
    )
    assert status == 0, error
    assert set(epochs(workdir).values()) == {wanted}
    # The epochs of a checkpoint are not trained again: their rows are the same, with
    # their seconds. The log may have had one more than the checkpoint.
    resumed = {run: text.splitlines() for run, text in logs(workdir).items()}
    for run, text in killed.items():
        kept = text.splitlines()[: 1 + finished[run]]
        assert resumed[run][: len(kept)] == kept
    for lines in resumed.values():
        rows = list(csv.DictReader(lines))
        assert all(float(row["seconds"]) > 0 for row in rows)
        assert [int(row["epoch"]) for row in rows] == list(range(1, wanted + 1))
    assert "table1_kl_audio: best on 2 folds of the training split" in printed
    assert "--alpha=0.1" in printed
    with (workdir / "grid-table1_kl_audio.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["alpha"] == "0.1"
    best = []
    for fold in ("fold-0-of-2", "fold-1-of-2"):
        folder = workdir / "grid" / fold / "alpha=0.1,beta=0.001" / "table1_kl_audio"
        with (folder / "0" / "log.csv").open() as file:
            best.append(max(float(r["val_f_score"]) for r in csv.DictReader(file)))
    assert float(row["fold_f_score"]) == pytest.approx(sum(best) / 2, abs=1e-6)


def test_finished_runs_become_tables(tmp_path, fabricated_advance, teacher):
    study = open_small_study(tmp_path, fabricated_advance, audio_weights=str(teacher))
    jobs = reproduction.table_jobs(study, [3], 1)
    manifest = prepare_study(study, jobs)
    # One run is not evaluated; the evaluations of the others are read.
    write_trained(jobs[0], manifest)
    for job in jobs[1:]:
        write_evaluated(job, manifest)
    status, printed, error = run_program(
        "reproduce", f"--workdir={study.workdir}", "--table=3", "--runs=1"
    )
    assert status == 0, error
    assert "10/10" in error
    assert "## Table 3" in printed
    assert (study.workdir / "table3.md").read_text() in printed
    assert not list(study.workdir.rglob("fit.log"))
    assert (jobs[0].workdir / "evaluation" / "test" / "metrics.json").exists()
    for ending in ("csv", "tex"):
        assert (study.workdir / f"table3.{ending}").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--table=1"], "--workdir must name the folder of all runs"),
        (["--workdir=x"], "Give --grid, or --table"),
        (["--workdir=x", "--table=4"], "received --table=4"),
        (
            ["--workdir=x", "--table=1", "--splits=2", "--folds=2"],
            "Give either --splits or --folds; received 2 and 2",
        ),
        (["--workdir=x", "--grid", "--splits=2"], "may be given with --table only"),
        (["--workdir=x", "--grid", "--rows=table1_event"], "--rows may be given with"),
        (["--workdir=x", "--table=1"], "--data_dir must name"),
        (["--workdir=x", "--table=1", "--seed=3"], "received --seed"),
        (
            ["--workdir=x", "--table=1", "--alphas=1"],
            "--alphas may be given with --grid only",
        ),
        (
            ["--workdir=x", "--table=1", "--grid_folds=5"],
            "--grid_folds may be given with --grid only",
        ),
    ],
)
def test_errors_name_the_remedy(given, message):
    status, printed, error = run_program("reproduce", *given)
    assert (status, printed) == (1, "")
    assert message in error
