"""`advance figures` on small untrained runs."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from advance_tf import labels
from advance_tf.data.manifest import LEAKY, Manifest
from advance_tf.data.synthetic.pairs import LABEL
from advance_tf.inference.evaluation import evaluate
from advance_tf.metrics import calibration
from advance_tf.metrics.calibration import reliability, with_temperature
from advance_tf.reporting import figures
from advance_tf.runs.workdir import (
    KNOWLEDGE,
    MANIFEST,
    load_run,
    read_config,
    write_config,
)
from advance_tf.teacher.knowledge import build_knowledge, save_knowledge
from advance_tf.training.callbacks import BEST_WEIGHTS
from tests.commands import run_command
from tests.untrained_run import copy_run

EVERYTHING = {
    *("pairs_per_scene.png", "confusion.png", "tsne.png", "world_map.png"),
    *("reliability.png", "calibration.json"),
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A run without validation pairs and without events."""
    workdir = copy_run(tmp_path_factory)
    assert "validation" not in Manifest.load(workdir / MANIFEST).splits
    shutil.rmtree(workdir / KNOWLEDGE)
    return workdir


def _split(pairs):
    """One pair of each scene for training; validation is lakes and airports."""
    splits = []
    for k, pair in enumerate(pairs):
        rest = "validation" if pair.scene in ("lake", "airport") else "test"
        splits.append(rest if k % 4 else "training")
    return Manifest(pairs, tuple(splits), "pair", 0)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run that predicts lake for every pair, with different probabilities."""
    workdir = copy_run(tmp_path_factory)
    manifest = _split(Manifest.load(workdir / MANIFEST).pairs)
    manifest.save(workdir / MANIFEST)
    write_config(workdir, read_config(workdir)[0], manifest, label=LABEL)
    logits = np.random.default_rng(0).normal(size=(len(manifest.pairs), 527))
    known = np.ones(527, bool)
    knowledge = build_knowledge(manifest, logits, known, "random", "0" * 64)
    save_knowledge(workdir / KNOWLEDGE, knowledge, "0" * 16)
    recognizer = load_run(workdir).recognizer
    head = recognizer.get_layer("scene_head")
    head.kernel.assign(1e-3 * head.kernel)
    head.bias.assign(2.0 * np.eye(13)[labels.scenes().index("lake")])
    recognizer.save_weights(workdir / BEST_WEIGHTS)
    return workdir


@pytest.fixture(scope="module")
def drawn(workdir):
    """The folder of the run's figures and what was printed."""
    sites = sorted({pair.site for pair in Manifest.load(workdir / MANIFEST).pairs})
    lines = [f"{site},{k},{-k}" for k, site in enumerate(sites[1:])]
    coordinates = workdir / "coordinates.csv"
    coordinates.write_text("\n".join(["site,latitude,longitude", *lines]))
    status, printed, error = run_command(
        *("figures", f"--workdir={workdir}", "--batch_size=8", "--projector"),
        f"--coordinates={coordinates}",
    )
    assert status == 0, error
    return workdir / "figures" / "test", printed


def test_everything_is_drawn(drawn):
    output_dir, printed = drawn
    names = {path.name for path in output_dir.iterdir()}
    assert names == {*EVERYTHING, "projector"}
    assert f"*** {LABEL}; {LEAKY} ***" in printed
    assert f"are in {output_dir}" in printed
    assert "No " not in printed
    for name in EVERYTHING - {"calibration.json"}:
        with Image.open(output_dir / name) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        red = np.abs(pixels - (0xB3, 0x26, 0x1E)).max(axis=-1) < 3
        assert red.any(), f"{name} has no label"


def test_a_refused_temperature_has_its_reason(drawn):
    values = json.loads((drawn[0] / "calibration.json").read_text())
    assert values["temperature"] == 1
    assert values["refusal"] == (
        "temperature not fitted, T = 1 is kept: the fit needs at least 50 samples; "
        "received 6. Use more samples."
    )
    assert values["label"] == f"{values['refusal']}; {LABEL}; {LEAKY}"
    assert values["fitted_on"] == {"split": "validation", "pairs": 6}
    assert values["before"] == values["after"]


def test_the_temperature_is_that_of_validation(workdir, monkeypatch):
    monkeypatch.setattr(calibration, "MIN_SAMPLES", 6)
    run = load_run(workdir)
    validation, test = (evaluate(run, name) for name in ("validation", "test"))
    values = json.loads(figures.draw_figures(run, test).files["calibration.json"])
    assert values["refusal"] == ""

    def nll(evaluation, temperature):
        probs = with_temperature(evaluation.scene_probs, temperature)
        return -np.log(probs[np.arange(len(probs)), evaluation.true]).mean()

    best = values["temperature"]
    assert 0.1 < best < 1
    for other in (0.9 * best, 1.1 * best):
        assert nll(validation, best) <= nll(validation, other)
    assert values["fitted_on"] == {"split": "validation", "pairs": 6}
    assert (values["split"], values["pairs"]) == ("test", 33)
    assert values["label"] == f"{LABEL}; {LEAKY}"
    for side, temperature in (("before", 1), ("after", best)):
        probs = with_temperature(test.scene_probs, temperature)
        assert values[side]["ece"] == pytest.approx(
            reliability(probs, test.true).ece, abs=1e-4
        )
        assert values[side]["nll"] == pytest.approx(nll(test, temperature), rel=1e-4)
        assert sum(values[side]["counts"]) == 33
        empty = [count == 0 for count in values[side]["counts"]]
        assert [value is None for value in values[side]["accuracy"]] == empty


def test_the_projector_has_every_pair(workdir, drawn):
    manifest = Manifest.load(workdir / MANIFEST)
    lines = (drawn[0] / "projector" / "metadata.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["stem", "scene", "predicted", "site"]
    received = [(cells[0], cells[1]) for cells in (s.split("\t") for s in lines[1:])]
    assert received == [(pair.stem, pair.scene) for pair in manifest.pairs_of("test")]


def test_missing_figures_are_named_and_removed(bare, tmp_path):
    for name in ("reliability.png", "tsne.png", "other.png"):
        (tmp_path / name).write_bytes(b"of an earlier split")
    run = load_run(bare)
    evaluation = evaluate(run, "test")
    drawn = figures.draw_figures(run, evaluation)
    drawn.write(tmp_path)
    remarks = "\n".join(drawn.remarks)
    assert "No reliability.png: the temperature is fitted on validation" in remarks
    assert "No tsne.png: the model predicts no events" in remarks
    assert "No world_map.png: give `coordinates`" in remarks
    written = figures.write_events(tmp_path / "projector", evaluation)
    assert "No projector: the model predicts no events" in written
    assert {path.name for path in tmp_path.iterdir()} == {
        *("pairs_per_scene.png", "confusion.png", "other.png")
    }


def test_a_temperature_fitted_on_the_shown_pairs_is_labelled(workdir, monkeypatch):
    monkeypatch.setattr(calibration, "MIN_SAMPLES", 6)
    run = load_run(workdir)
    drawn = figures.draw_figures(run, evaluate(run, "validation"))
    values = json.loads(drawn.files["calibration.json"])
    assert values["label"].startswith("temperature fitted on pairs that are shown; ")
    assert values["after"]["nll"] <= values["before"]["nll"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--workdir must name the folder of a run"),
        (["--workdir={run}", "--coordinates={run}/manifest.csv"], "latitude"),
        (["--workdir={run}", "--coordinates=nowhere.csv"], "nowhere.csv"),
    ],
)
def test_errors_name_the_remedy(bare, flags, message):
    status, _, error = run_command(
        "figures", *(flag.format(run=bare) for flag in flags)
    )
    assert status == 1
    assert message in error
