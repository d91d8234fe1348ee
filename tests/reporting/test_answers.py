"""Answers with their reasons: those of `predict`, with maps and posteriors."""

import json
import pathlib

import keras
import numpy as np
import pytest

from advance_tf import labels
from advance_tf.cli.main import main
from advance_tf.config import Config, FeatureConfig, ModelConfig
from advance_tf.inference.prediction import Prediction
from advance_tf.models.backbones.contract import CellCentres
from advance_tf.models.recognizer import build_recognizer
from advance_tf.reporting import answers, overlay
from advance_tf.reporting.activation_maps import compute_maps
from advance_tf.reporting.answers import AnswerExplainer, compare_events
from advance_tf.runs.workdir import Run, load_run
from tests.untrained_run import copy_run, with_limit

# The first pair of the second scene.
STEM, SCENE = "00002", "beach"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_run(tmp_path_factory)


@pytest.fixture(scope="module")
def explainer(folder):
    return AnswerExplainer(folder)


@pytest.fixture(scope="module")
def files(folder):
    data = folder / "data"
    return {
        "image": data / "vision" / SCENE / f"{STEM}.jpg",
        "sound": data / "sound" / SCENE / f"{STEM}.wav",
    }


@pytest.mark.parametrize("kinds", [("image", "sound"), ("image",), ("sound",)])
def test_the_answer_is_that_of_the_command_predict(
    explainer, folder, files, kinds, capsys
):
    given = {kind: files[kind] for kind in kinds}
    flags = [f"--{kind}={path}" for kind, path in given.items()]
    assert main(["predict", f"--workdir={folder}", "--json", "--top=527", *flags]) == 0
    expected = json.loads(capsys.readouterr().out)
    answer = explainer.explain(**given)
    found = json.loads(answer.prediction.to_json(527))
    for key in ("scenes", "events"):
        # Another copy of the weights may round differently.
        mine, theirs = (
            {one["name"]: one["probability"] for one in values.pop(key)}
            for values in (found, expected)
        )
        assert mine == pytest.approx(theirs, abs=1e-6)
        assert len(mine) == {"scenes": 13, "events": 526}[key]
    assert found.pop("confidence") == pytest.approx(
        expected.pop("confidence"), abs=1e-6
    )
    assert found == expected
    assert (answer.image_map is not None) == ("image" in kinds)
    assert (answer.log_mel_map is not None) == ("sound" in kinds)
    assert answer.no_maps == ""


def test_the_maps_are_those_of_the_most_probable_scene(explainer, folder, files):
    answer = explainer.explain(**files)
    run = load_run(folder)
    pair = next(p for p in run.pairs_of("all") if p.stem == STEM)
    scene = labels.scenes().index(answer.prediction.scenes[0][0])
    found = compute_maps(run, [pair], run.data_dir, [scene])
    scale = max(np.abs(m).max() for m in (found.maps.image, found.maps.log_mel))
    sound = overlay.log_mel_overlay(
        found.log_mel_db[0],
        found.maps.log_mel[0],
        (160, 320),
        scale,
        (CellCentres(16, 0), CellCentres(16, 0)),
    )
    assert answer.image_map.shape == (320, 320, 3)
    assert np.abs(answer.log_mel_map.astype(int) - sound).max() <= 1
    # Coloured where M is not 0: red has more of the first channel than of the last.
    at_pixels = overlay.upsample(found.maps.image[0], (32, 32), (320, 320))
    channels = answer.image_map.astype(int)
    strong = np.abs(at_pixels) > 0.2 * scale
    redder = channels[..., 0] > channels[..., 2]
    assert strong.any()
    assert (redder == (at_pixels > 0))[strong].all()


def test_the_image_is_displayed_up_to_the_limit_of_the_run(
    folder, files, display_limits
):
    limits = display_limits(answers)
    explainer = AnswerExplainer(with_limit(load_run(folder), 70_000_000))
    assert explainer.explain(image=files["image"]).image_map is not None
    assert limits == [{"max_image_pixels": 70_000_000}]


def test_events_of_the_input_are_beside_those_of_the_scene(explainer, folder, files):
    answer = explainer.explain(**files)
    knowledge = load_run(folder).knowledge
    names = [event.name for event in labels.events()]
    scene = labels.scenes().index(answer.prediction.scenes[0][0])
    of_scene = np.where(knowledge.event_mask, knowledge.posteriors[scene], -1)
    expected = [name for name, _ in answer.prediction.events[:5]]
    for index in np.argsort(-of_scene, kind="stable")[:5]:
        expected += [names[index]] if names[index] not in expected else []
    assert [event.name for event in answer.events] == expected
    for event in answer.events:
        column = knowledge.posteriors[:, names.index(event.name)]
        assert event.scene_prob == pytest.approx(column[scene], rel=1e-6)
        assert event.mean_prob == pytest.approx(column.mean(), rel=1e-6)
        assert event.input_prob == answer.prediction.event_probs[event.name]
    assert answer.no_events == ""


def test_without_event_probabilities_the_posteriors_remain(folder):
    knowledge = load_run(folder).knowledge
    shown = compare_events(Prediction("a", scenes=(("lake", 1.0),)), knowledge, 7)
    assert len(shown) == 5
    assert {event.input_prob for event in shown} == {None}


def test_what_is_refused_has_its_reason(explainer, folder, files, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(files["image"].read_bytes()[:100])
    answer = explainer.explain(image=broken, sound=files["sound"])
    assert answer.prediction == explainer.model.predict(broken, files["sound"])
    assert "broken.jpg" in answer.prediction.status
    assert answer.image_map is answer.log_mel_map is None
    with pytest.raises(ValueError, match="must have an image or a sound"):
        explainer.explain()
    small = AnswerExplainer(folder, max_megabytes=0.001, min_confidence=1.0)
    unknown = small.explain(**noise(0))
    assert unknown.prediction.scene == "unknown"
    assert unknown.prediction.reason == "low confidence"
    assert unknown.image_map is not None
    assert small.explain(**files).prediction.status == (
        f"The image {files['image']} must have at most 0.001 MB; received "
        f"{files['image'].stat().st_size / 1e6:.1f} MB. Cut it, or raise "
        "`max_megabytes`."
    )
    assert small.explain(sound=bytes(1001)).prediction.status.startswith(
        "The sound (bytes) must have at most 0.001 MB"
    )
    with pytest.raises(ValueError, match="max_megabytes must be above 0; received 0"):
        AnswerExplainer(folder, max_megabytes=0)


def noise(number):
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (32, 32, 3), np.uint8)
    return {"image": image, "sound": (rng.normal(0, 0.1, 16_000), 16_000)}


def test_a_run_without_knowledge_and_with_a_hidden_layer():
    keras.utils.set_random_seed(0)
    features = FeatureConfig(image_size=32, clip_seconds=1.0)
    sizes = {"image_depth": 10, "audio_depth": 10, "image_width": 2, "audio_width": 2}
    model = ModelConfig(modality_dropout=0.5, head_units=4, **sizes)
    run = Run(
        pathlib.Path("run"),
        Config(features=features, model=model),
        manifest=None,
        recognizer=build_recognizer(model, features),
        label="",
        knowledge=None,
        data_dir=pathlib.Path(),
    )
    explainer = AnswerExplainer(run)
    both = explainer.explain(**noise(1))
    assert both.image_map is not None
    assert both.no_events.startswith("The run has no event knowledge")
    alone = explainer.explain(image=noise(1)["image"])
    assert alone.prediction.ok
    assert alone.image_map is None
    assert alone.no_maps.endswith("need the image and the sound.")
