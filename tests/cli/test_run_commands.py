"""`advance evaluate` and `advance predict` on a small untrained run."""

import csv
import json
import shutil

import numpy as np
import pytest

from advance_tf.data.synthetic.pairs import LABEL
from tests.commands import run_command
from tests.untrained_run import copy_run

LEAKY = "leaky: places shared between training and test"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return copy_run(tmp_path_factory)


@pytest.fixture(scope="module")
def evaluated(workdir):
    """The folder of the evaluation and the printed text."""
    status, printed, error = run_command(
        "evaluate", f"--workdir={workdir}", "--batch_size=8"
    )
    assert status == 0, error
    return workdir / "evaluation" / "test", printed


def test_evaluate_writes_all_files(evaluated):
    output_dir, printed = evaluated
    label = f"{LABEL}; {LEAKY}"
    assert f"*** {label} ***" in printed
    assert str(output_dir) in printed
    assert {path.name for path in output_dir.iterdir()} == {
        *("metrics.json", "report.md", "scenes.csv", "confusion.csv"),
        *("predictions.csv", "events.npz", "confusion.png", "curves.png"),
        "checksums.json",
    }
    metrics = json.loads((output_dir / "metrics.json").read_text())
    assert metrics["label"] == label
    assert metrics["details"]["config"]["transfer"]["transfer"] == "event"
    with (output_dir / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == metrics["pairs"] > 0
    right = np.mean([row["scene"] == row["predicted"] for row in rows])
    assert metrics["weighted"]["accuracy"]["value"] == pytest.approx(right)
    with np.load(output_dir / "events.npz") as events:
        assert (events["event_probs"][:, 0] == 0).all()
        assert "Eq. 7" in str(events["source"])


def test_evaluation_of_training_pairs_is_labelled(workdir, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(workdir / "data", moved)
    (moved / "NOTICE.txt").write_text("copied data\n")
    status, printed, error = run_command(
        *("evaluate", f"--workdir={workdir}", "--split=all"),
        *(f"--data_dir={moved}", f"--output_dir={tmp_path / 'out'}"),
    )
    assert status == 0, error
    label = f"measured on training pairs; {LABEL}; {LEAKY}; copied data"
    assert f"*** {label} ***" in printed
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["pairs"], metrics["label"]) == (52, label)


def test_predict_agrees_with_evaluate(workdir, evaluated):
    with (evaluated[0] / "predictions.csv").open() as file:
        expected = next(csv.DictReader(file))
    key = f"{expected['scene']}/{expected['stem']}"
    status, printed, error = run_command(
        *("predict", f"--workdir={workdir}", "--json", "--top=13"),
        f"--image={workdir}/data/vision/{key}.jpg",
        f"--sound={workdir}/data/sound/{key}.wav",
    )
    assert status == 0, error
    (line,) = printed.splitlines()
    prediction = json.loads(line)
    assert prediction["label"] == f"{LABEL}; {LEAKY}"
    assert prediction["notes"] == []
    assert prediction["scenes"][0]["name"] == expected["predicted"]
    for scene in prediction["scenes"]:
        assert scene["probability"] == pytest.approx(
            float(expected[scene["name"]]), rel=1e-3, abs=1e-6
        )
    names = [event["name"] for event in prediction["events"]]
    assert len(names) == 13
    assert "Speech" not in names


def test_predict_a_folder_with_a_bad_file(workdir, tmp_path):
    source = workdir / "data" / "vision" / "lake"
    good = sorted(source.iterdir())[0]
    shutil.copy(good, tmp_path / "good.jpg")
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    status, printed, error = run_command(
        *("predict", f"--workdir={workdir}", f"--data_dir={tmp_path}", "--noevents")
    )
    assert status == 1
    lines = printed.splitlines()
    assert lines[0] == f"*** model trained on {LABEL}; {LEAKY} ***"
    assert lines[1] == "good"
    assert "no sound given" in lines[-1]
    assert "events" not in printed
    assert f"{tmp_path / 'bad.wav'}" in error


@pytest.mark.parametrize(
    ("program", "flags", "message"),
    [
        ("evaluate", [], "--workdir must name the folder of a run"),
        ("predict", [], "--workdir must name the folder of a run"),
        ("predict", ["--image=a.jpg", "--data_dir=b"], "either --data_dir or"),
        ("evaluate", ["--data_dir=nowhere"], "nowhere"),
        (
            "predict",
            ["--workdir=missing", "--image=a.jpg"],
            "--workdir must be the folder of a run (config.json)",
        ),
    ],
)
def test_errors_name_the_remedy(workdir, program, flags, message):
    if flags:
        flags = [f"--workdir={workdir}", *flags]
    status, _, error = run_command(program, *flags)
    assert status == 1
    assert message in error


def test_compare_refuses_a_name_that_is_given_twice(workdir):
    methods = f"--methods=a={workdir};b={workdir}; a ={workdir}"
    status, printed, error = run_command("compare", methods)
    assert (status, printed) == (1, "")
    assert "--methods must name each method once; received 'a' twice" in error


def test_compare_refuses_an_evaluation_of_other_weights(evaluated, workdir, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy, ignore=shutil.ignore_patterns("data"))
    status, printed, error = run_command("compare", f"--methods=a={copy}")
    assert status == 0, error
    assert "a" in printed
    with (copy / "best.weights.h5").open("ab") as file:
        file.write(b"more")
    status, _, error = run_command("compare", f"--methods=a={copy}")
    assert status == 1
    assert "it is one of other weights" in error
    assert "Run `advance evaluate` again." in error
