"""The page says what the evaluation says, escapes names, and loads nothing."""

import base64
import dataclasses
import html.parser
import io
import re

import numpy as np
import pytest
import soundfile
from PIL import Image

from advance_tf.config import Config
from advance_tf.data.manifest import Manifest
from advance_tf.metrics import calibration as calibration_module
from advance_tf.metrics.calibration import calibrate
from advance_tf.studies import page, page_tables
from advance_tf.studies.evaluated import evaluate_run
from advance_tf.studies.taught import load_taught_run
from tests.untrained_run import with_validation, write_run

HOSTILE = "<script>alert('x')</script>"
_VOID = {"meta", "img", "br", "hr", "link", "input"}


class Parsed(html.parser.HTMLParser):
    """Tags with their attributes, and the text of elements with `data-score`."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.scores, self._score = [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in _VOID:
            self.open.append(tag)
        self._score = attrs.get("data-score", self._score)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes something else"

    def handle_data(self, data):
        if self._score:
            self.scores[self._score] = float(data)
            self._score = None

    def all(self, *tags):
        return [attrs for tag, attrs in self.tags if tag in tags]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return with_validation(load_taught_run(write_run(tmp_path_factory.mktemp("run"))))


@pytest.fixture(scope="module")
def written(taught, tmp_path_factory):
    output = tmp_path_factory.mktemp("page") / "new" / "report.html"
    evaluation = page.write_page(taught, "test", output, mistakes=2, command="made so")
    return evaluation, output.read_text(encoding="utf-8")


def test_scores_are_those_of_the_evaluation(written, taught):
    evaluation, text = written
    scores = Parsed(text).scores
    for name, estimate in evaluation.weighted.items():
        assert scores[name] == pytest.approx(100 * estimate.value, abs=0.005)
        assert f"{100 * estimate.low:.2f} to {100 * estimate.high:.2f}" in text
    assert scores["baseline"] == pytest.approx(
        100 * evaluation.baseline_f_score, abs=0.005
    )
    validation = evaluate_run(taught, "validation")
    calibration = calibrate(
        validation.scene_probs,
        validation.true,
        evaluation.scene_probs,
        evaluation.true,
    )
    assert scores["ece_before"] == pytest.approx(100 * calibration.before.ece, abs=5e-3)
    assert scores["ece_after"] == pytest.approx(100 * calibration.after.ece, abs=5e-3)
    assert scores["temperature"] == pytest.approx(calibration.temperature, abs=0.005)


def test_the_confusion_matrix_is_whole(written):
    evaluation, text = written
    table = re.search(r'<table class="confusion">.*?</table>', text, re.S).group()
    counts = [int(n) for n in re.findall(r"<td[^>]*>(\d+)", table)]
    np.testing.assert_array_equal(
        np.reshape(counts, evaluation.confusion.shape), evaluation.confusion
    )
    rows = page_tables.confusion_rows(evaluation)
    scene, support, cells = rows[3]
    assert (scene, support) == (evaluation.scenes[3], evaluation.confusion[3].sum())
    assert cells[3].right
    assert not cells[2].right
    assert sum(cell.share for cell in cells) == pytest.approx(1)


def test_the_page_is_one_file(written):
    _, text = written
    parsed = Parsed(text)
    assert parsed.open == []
    for _, attrs in parsed.tags:
        for name in ("src", "href", "action", "data", "poster"):
            address = attrs.get(name)
            assert address is None or address.startswith(("data:", "#")), address
    assert not parsed.all("script", "link", "iframe", "object", "base")
    assert not re.search(r"url\(|@import|https?:", text)
    anchors = {attrs["href"][1:] for attrs in parsed.all("a")}
    assert anchors == {attrs["id"] for attrs in parsed.all("section")}
    assert all(attrs.get("alt") for attrs in parsed.all("img"))
    assert len(parsed.all("h1")) == 1
    assert "temperature fitted on pairs that are shown" not in text
    assert len(text) < 2_000_000


def test_pictures_and_sounds_decode(written):
    _, text = written
    parsed = Parsed(text)
    images, sounds = parsed.all("img"), parsed.all("audio")
    assert (len(images), len(sounds)) == (1 + 2 * 6, 2)
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


def test_it_says_where_it_comes_from(written, taught):
    evaluation, text = written
    manifest = load_taught_run(taught.run.workdir).run.manifest
    for part in (manifest.sha256, "made so", "random", "tensorflow", "Eq. 7"):
        assert part in text
    assert "synthetic data" in evaluation.label
    assert 'class="label"' in text


def test_hostile_names_are_escaped(taught, written):
    evaluation, _ = written
    run = taught.run
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
    taught = dataclasses.replace(taught, run=run, knowledge=None)
    values = page.page_values(taught, hostile, mistakes=1, command=f'"{HOSTILE}')
    text = page.render(values | {"name": HOSTILE})
    assert "<script" not in text.lower()
    assert text.count("&lt;script&gt;") > 8
    parsed = Parsed(text)
    assert parsed.open == []
    assert any(HOSTILE in attrs.get("alt", "") for attrs in parsed.all("img"))
    assert "There is no event knowledge" in text


def test_without_validation_there_is_no_calibration(taught, written):
    evaluation, _ = written
    manifest = taught.run.manifest
    splits = tuple("test" if s == "validation" else s for s in manifest.splits)
    run = dataclasses.replace(
        taught.run, manifest=Manifest(manifest.pairs, splits, "pair", 0)
    )
    alone = dataclasses.replace(taught, run=run)
    values = page.page_values(alone, evaluation, mistakes=0)
    text = page.render(values)
    assert (
        "There is no calibration: the temperature is fitted on validation, which has "
        "no pair. Split with a larger `validation_fraction`."
    ) in text
    assert "ece_before" not in text
    assert "--mistakes=0" in text


@pytest.mark.parametrize("split", ["validation", "all"])
def test_a_temperature_of_the_pairs_shown_says_so(taught, split, monkeypatch):
    # The model is untrained: its own fit ends at a bound.
    fit = calibration_module.TemperatureFit(1.5)
    monkeypatch.setattr(calibration_module, "fit_temperature", lambda *_: fit)
    evaluation = evaluate_run(taught, split)
    text = page.render(page.page_values(taught, evaluation, mistakes=0))
    validation = evaluate_run(taught, "validation")
    calibration = calibrate(
        validation.scene_probs,
        validation.true,
        evaluation.scene_probs,
        evaluation.true,
    )
    temperature = Parsed(text).scores["temperature"]
    assert temperature == pytest.approx(calibration.temperature, abs=0.005)
    assert calibration.refusal == ""
    remark = "<span>temperature fitted on pairs that are shown</span>"
    assert text.count(remark) == 1
    assert "not fitted" not in text


def test_a_refused_temperature_is_said_with_its_reason(written):
    _, text = written
    scores = Parsed(text).scores
    assert scores["temperature"] == 1
    assert scores["ece_before"] == scores["ece_after"]
    assert text.count("temperature not fitted, 1 stays: it takes at least 50") == 1
    assert "Calibration error, unscaled" in text
    assert 'alt="Reliability diagrams without temperature scaling' in text


def test_settings_mark_what_is_not_the_default():
    config = Config()
    assert not any(
        s.changed for group in page_tables.settings(config).values() for s in group
    )
    changed = dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, epochs=3, drop_epochs=()),
    )
    found = {s.name: s for s in page_tables.settings(changed)["training"] if s.changed}
    assert set(found) == {"epochs", "drop_epochs"}
    assert (found["epochs"].value, found["epochs"].default) == ("3", "100")
    assert found["drop_epochs"].value == "none"
    assert found["drop_epochs"].default == "30, 60, 90"


def test_versions_stand_side_by_side():
    rows = page_tables.version_rows({"b": "1"}, {"b": "2", "a": "3"})
    assert rows == [("a", "–", "3"), ("b", "1", "2")]
