"""The page shows the evaluation, escapes names, and loads no other file."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
import soundfile
from PIL import Image

from advance_tf.config import Config
from advance_tf.data.manifest import Manifest
from advance_tf.inference.evaluation import evaluate
from advance_tf.metrics import calibration as calibration_module
from advance_tf.metrics.calibration import calibrate
from advance_tf.reporting import html_report
from advance_tf.runs.workdir import load_run
from tests.reporting.parsed_page import parse_page
from tests.untrained_run import copy_run, with_validation

HOSTILE = "<script>alert('x')</script>"


def scores_of(text):
    """The number in each element with `data-score`."""
    elements = parse_page(text).descendants()
    return {
        element.attrs["data-score"]: float(element.children[0])
        for element in elements
        if "data-score" in element.attrs
    }


def attributes(text, *tags):
    """The attributes of all elements with one of the tags."""
    elements = parse_page(text).descendants()
    return [element.attrs for element in elements if element.tag in tags]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return with_validation(load_run(copy_run(tmp_path_factory)))


@pytest.fixture(scope="module")
def written(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("page") / "new" / "report.html"
    evaluation = html_report.write_html_report(
        run, "test", output, mistakes=2, command="advance report"
    )
    return evaluation, output.read_text(encoding="utf-8")


def test_page_shows_the_scores_of_the_evaluation(written, run):
    evaluation, text = written
    scores = scores_of(text)
    for name, estimate in evaluation.weighted.items():
        assert scores[name] == pytest.approx(100 * estimate.value, abs=0.005)
        assert f"{100 * estimate.low:.2f} to {100 * estimate.high:.2f}" in text
    assert scores["baseline"] == pytest.approx(
        100 * evaluation.baseline_f_score, abs=0.005
    )
    validation = evaluate(run, "validation")
    calibration = calibrate(
        validation.scene_probs,
        validation.true,
        evaluation.scene_probs,
        evaluation.true,
    )
    assert scores["ece_before"] == pytest.approx(100 * calibration.before.ece, abs=5e-3)
    assert scores["ece_after"] == pytest.approx(100 * calibration.after.ece, abs=5e-3)
    assert scores["temperature"] == pytest.approx(calibration.temperature, abs=0.005)


def test_confusion_matrix_is_complete(written):
    evaluation, text = written
    table = re.search(r'<table class="confusion">.*?</table>', text, re.S).group()
    counts = [int(n) for n in re.findall(r"<td[^>]*>(\d+)", table)]
    np.testing.assert_array_equal(
        np.reshape(counts, evaluation.confusion.shape), evaluation.confusion
    )
    rows = html_report.confusion_rows(evaluation)
    scene, support, cells = rows[3]
    assert (scene, support) == (evaluation.scenes[3], evaluation.confusion[3].sum())
    assert cells[3].right
    assert not cells[2].right
    assert sum(cell.share for cell in cells) == pytest.approx(1)


def test_page_is_one_file(written):
    _, text = written
    root = parse_page(text)
    for element in root.descendants():
        for name in ("src", "href", "action", "data", "poster"):
            address = element.attrs.get(name)
            assert address is None or address.startswith(("data:", "#")), address
    assert not attributes(text, "script", "link", "iframe", "object", "base")
    assert not re.search(r"url\(|@import|https?:", text)
    anchors = {attrs["href"][1:] for attrs in attributes(text, "a")}
    assert anchors == {attrs["id"] for attrs in attributes(text, "section")}
    assert all(attrs.get("alt") for attrs in attributes(text, "img"))
    assert len(root.all("h1")) == 1
    assert "temperature fitted on pairs that are shown" not in text
    assert len(text) < 2_000_000


def test_pictures_and_sounds_decode(written):
    _, text = written
    images, sounds = attributes(text, "img"), attributes(text, "audio")
    # Reliability and risk by coverage; image and log-mel of six cards.
    assert (len(images), len(sounds)) == (2 + 2 * 6, 2)
    for attrs in images:
        kind, encoded = attrs["src"].removeprefix("data:").split(";base64,")
        picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
        picture.load()
        assert picture.get_format_mimetype() == kind
        if "width" in attrs:
            assert picture.size == (int(attrs["width"]), int(attrs["height"]))
    for attrs in sounds:
        kind, encoded = attrs["src"].removeprefix("data:").split(";base64,")
        assert kind == "audio/mpeg"
        clip = soundfile.info(io.BytesIO(base64.b64decode(encoded)))
        assert clip.format == "MP3"
        assert clip.duration == pytest.approx(1.0, abs=0.08)


def test_page_states_its_origin(written, run):
    evaluation, text = written
    manifest = load_run(run.workdir).manifest
    for part in (manifest.sha256, "advance report", "random", "tensorflow", "Eq. 7"):
        assert part in text
    assert "synthetic data" in evaluation.label
    assert 'class="label"' in text


def test_hostile_names_are_escaped(run, written):
    evaluation, _ = written
    pairs = tuple(
        dataclasses.replace(pair, stem=f"{pair.stem}{HOSTILE}")
        for pair in run.manifest.pairs
    )
    run = dataclasses.replace(
        run, manifest=dataclasses.replace(run.manifest, pairs=pairs)
    )
    hostile = dataclasses.replace(
        evaluation,
        label=HOSTILE,
        scenes=(HOSTILE, *evaluation.scenes[1:]),
        per_scene=(
            dataclasses.replace(evaluation.per_scene[0], scene=HOSTILE),
            *evaluation.per_scene[1:],
        ),
        stems=tuple(f"{stem}{HOSTILE}" for stem in evaluation.stems),
    )
    run = dataclasses.replace(run, knowledge=None)
    values = html_report.page_values(run, hostile, mistakes=1, command=f'"{HOSTILE}')
    text = html_report.render(values | {"name": HOSTILE})
    assert "<script" not in text.lower()
    assert text.count("&lt;script&gt;") > 8
    images = attributes(text, "img")
    assert any(HOSTILE in attrs.get("alt", "") for attrs in images)
    assert "This run has no event knowledge" in text


def test_no_calibration_without_validation(run, written):
    evaluation, _ = written
    manifest = run.manifest
    splits = tuple("test" if s == "validation" else s for s in manifest.splits)
    run = dataclasses.replace(run, manifest=Manifest(manifest.pairs, splits, "pair", 0))
    values = html_report.page_values(run, evaluation, mistakes=0)
    text = html_report.render(values)
    assert (
        "There is no calibration: the temperature is fitted on validation, which has "
        "no pair. Split with a larger `validation_fraction`."
    ) in text
    assert "ece_before" not in text
    assert "--mistakes=0" in text


@pytest.mark.parametrize("split", ["validation", "all"])
def test_page_states_a_temperature_fitted_on_shown_pairs(run, split, monkeypatch):
    # The fit of an untrained model ends at a bound.
    fit = calibration_module.TemperatureFit(1.5)
    monkeypatch.setattr(calibration_module, "fit_temperature", lambda *_: fit)
    evaluation = evaluate(run, split)
    text = html_report.render(html_report.page_values(run, evaluation, mistakes=0))
    validation = evaluate(run, "validation")
    calibration = calibrate(
        validation.scene_probs,
        validation.true,
        evaluation.scene_probs,
        evaluation.true,
    )
    temperature = scores_of(text)["temperature"]
    assert temperature == pytest.approx(calibration.temperature, abs=0.005)
    assert calibration.refusal == ""
    remark = "<span>temperature fitted on pairs that are shown</span>"
    assert text.count(remark) == 1
    assert "not fitted" not in text


def test_page_states_why_the_temperature_is_not_fitted(written):
    _, text = written
    scores = scores_of(text)
    assert scores["temperature"] == 1
    assert scores["ece_before"] == scores["ece_after"]
    reason = "temperature not fitted, T = 1 is kept: the fit needs at least 50 samples"
    assert text.count(reason) == 1
    assert "Calibration error, unscaled" in text
    assert 'alt="Reliability diagrams without temperature scaling' in text


def test_settings_mark_changes_of_the_default():
    config = Config()
    assert not any(
        s.changed for group in html_report.settings(config).values() for s in group
    )
    changed = dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, epochs=3, drop_epochs=()),
    )
    changes = {
        s.name: s for s in html_report.settings(changed)["training"] if s.changed
    }
    assert set(changes) == {"epochs", "drop_epochs"}
    assert (changes["epochs"].value, changes["epochs"].default) == ("3", "100")
    assert changes["drop_epochs"].value == "none"
    assert changes["drop_epochs"].default == "31, 61, 91"


def test_version_rows_have_both_versions():
    rows = html_report.version_rows({"b": "1"}, {"b": "2", "a": "3"})
    assert rows == [("a", "–", "3"), ("b", "1", "2")]


def test_accepts_the_folder_of_a_run(run, tmp_path):
    output = tmp_path / "report.html"
    evaluation = html_report.write_html_report(
        str(run.workdir), "test", output, mistakes=0
    )
    assert evaluation.split == "test"
    assert set(evaluation.weighted) < set(scores_of(output.read_text("utf-8")))
