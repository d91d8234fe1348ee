"""The model card describes the export, and has no scores of other weights."""

import dataclasses
import json

import pytest

from advance_tf.checksums import file_sha256
from advance_tf.config import Config, FeatureConfig
from advance_tf.config_io import to_dict
from advance_tf.models.backbones.contract import WeightsSource
from advance_tf.serving.model_card import Provenance, model_card, provenance_of
from advance_tf.training.callbacks import BEST_WEIGHTS
from tests.serving.factories import create_run, create_source, knowledge

PROVENANCE = Provenance(to_dict(Config()), {}, None, "0" * 64, "no scores")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return create_run(tmp_path_factory.mktemp("run"))


def write_metrics(run, details):
    path = run.workdir / "evaluation/test/metrics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    interval = {"value": 0.5, "low": 0.25, "high": 0.75}
    values = {
        "split": "test",
        "pairs": 26,
        "sites": 26,
        "weighted": {"f_score": interval},
        "baseline": {"scene": "lake", "f_score": 0.125},
        "details": details,
    }
    path.write_text(json.dumps(values))


def card_of(run, source):
    return model_card(source, provenance_of(run), version="1", artefact={}, skew={})


def test_the_card_states_the_initial_weights(run):
    sources = {
        "image": WeightsSource("keras:VGG16", "imagenet", "ImageNet", "ab" * 32),
        "audio": WeightsSource("resnet"),
    }
    card = card_of(dataclasses.replace(run, initial_weights=sources), create_source())
    digest = "ab" * 32
    for line in (
        f"image tower | keras:VGG16: ImageNet (imagenet), SHA-256 {digest}",
        "audio tower | resnet: random initial weights",
    ):
        assert f"| initial weights of the {line} |" in card


def test_scores_are_those_of_the_exported_weights(run):
    source = create_source()
    assert "Not evaluated: there are no scores" in card_of(run, source)
    own = file_sha256(run.workdir / BEST_WEIGHTS)
    write_metrics(run, {"weights_sha256": own})
    card = card_of(run, source)
    assert "50.00 (25.00 to 75.00)" in card
    assert "Not evaluated" not in card


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"weights_sha256": "1" * 64}, f"they are of others ({'1' * 64})"),
        ({}, "they are of unknown weights"),
    ],
)
def test_scores_of_other_weights_are_not_shown(run, details, reason):
    write_metrics(run, details)
    card = card_of(run, create_source())
    assert "Not evaluated: the stored scores must be those of these weights" in card
    assert f"{reason}. Run `advance evaluate` and export again." in card
    assert "50.00" not in card


def text_of(source, **given):
    return model_card(
        source, PROVENANCE, version="1", artefact={}, skew={}, **given
    ).replace("\n", " ")


def test_the_card_states_the_clip_of_the_settings():
    source = create_source()
    assert "and 10 seconds of sound" in text_of(source)
    features = FeatureConfig(image_size=32, clip_seconds=2.5)
    text = text_of(dataclasses.replace(source, features=features))
    assert "and 2.5 seconds of sound of the same place" in text
    assert "the central 2.5 seconds are used" in text
    assert "10 seconds" not in text


def test_the_card_states_events_where_they_are_predicted():
    with_head = create_source()
    assert "scenes, and sound events, from" in text_of(with_head)
    without = dataclasses.replace(with_head, events=False)
    assert "one of 13 aerial scenes from an aerial image" in text_of(without)
    assert "scenes, and sound" in text_of(create_source("none", knowledge=knowledge()))
    assert "sound events" not in text_of(create_source("none"))


def test_the_card_of_one_modality_names_its_input_only():
    text = text_of(create_source("none", "image"))
    assert "Recognizes one of 13 aerial scenes from an aerial image. Method" in text
    assert "EXIF" in text
    assert "of a longer sound" not in text.lower()
    text = text_of(create_source("none", "sound"))
    assert "from 10 seconds of sound. Method" in text
    assert "EXIF" not in text


def test_the_card_of_a_file_of_logits_states_where_temperatures_are():
    source = create_source()
    assert "Probabilities have the temperatures above" in text_of(source)
    text = text_of(source, has_answers=False)
    assert "`scene_probs` and `confidence` have the temperatures above" in text
    assert "The logits are not divided by them." in text
    assert "Probabilities have" not in text
    assert "The file rejects no input" in text
