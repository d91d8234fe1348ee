"""Predictions of files against direct calls of the recognizer."""

import types
import wave

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from advance_tf import labels
from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize
from advance_tf.inference.backends import RunModel
from advance_tf.inference.predictor import Predictor
from advance_tf.metrics.probabilities import softmax
from advance_tf.models.recognizer import build_recognizer

_FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)


def _recognizer(transfer="none", modality="both"):
    keras.utils.set_random_seed(0)
    model = ModelConfig(
        modality=modality, image_depth=10, audio_depth=10, image_width=4, audio_width=4
    )
    recognizer = build_recognizer(model, _FEATURES, transfer)
    # Untrained logits are so large that every probability would be 0 or 1.
    for layer in recognizer.layers:
        if layer.name.endswith("_head"):
            layer.kernel.assign(layer.kernel / 1000)
    return recognizer


@pytest.fixture(scope="module")
def recognizer():
    return _recognizer()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An image of the model's size and a sound of the clip's length and rate."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    samples = rng.integers(-9000, 9000, 16_000).astype("<i2")
    with wave.open(str(folder / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xffno picture")
    (folder / "bad.wav").write_bytes(b"RIFF\x04\x00\x00\x00WAVE")
    log_mel = normalize(
        log_mel_db(tf.constant(samples / 32768, tf.float32), _FEATURES),
        load_stats(_FEATURES),
    )
    return types.SimpleNamespace(
        folder=folder,
        image=folder / "a.png",
        sound=folder / "a.wav",
        inputs={"image": pixels.astype(np.float32), "log_mel": log_mel.numpy()},
    )


def _call(model, inputs):
    outputs = model({name: value[None] for name, value in inputs.items()})
    return {name: value.numpy() for name, value in outputs.items()}


def _one(predictor, image, sound, **options):
    example = {"name": "a", "image": image, "sound": sound}
    (result,) = RunModel(predictor).predict_batch([example], **options)
    return result


def test_scenes_are_those_of_the_recognizer(recognizer, files):
    result = _one(Predictor(recognizer, _FEATURES), files.image, files.sound)
    probs = softmax(_call(recognizer, files.inputs)["scene_logits"][0])
    best = np.argsort(-probs)[:3]
    assert [name for name, _ in result.scenes[:3]] == [labels.scenes()[k] for k in best]
    np.testing.assert_allclose(
        [p for _, p in result.scenes[:3]], probs[best], rtol=1e-4
    )
    assert result.name == "a"
    assert result.image == str(files.image)


@pytest.mark.parametrize("missing", ["image", "sound"])
def test_a_missing_input_is_replaced_by_zeros_with_a_note(recognizer, files, missing):
    given = {"image": files.image, "sound": files.sound, missing: None}
    result = _one(Predictor(recognizer, _FEATURES), *given.values())
    name = {"image": "image", "sound": "log_mel"}[missing]
    zeroed = files.inputs | {name: np.zeros_like(files.inputs[name])}
    probs = softmax(_call(recognizer, zeroed)["scene_logits"][0])
    received = dict(result.scenes)
    np.testing.assert_allclose(
        [received[scene] for scene in labels.scenes()], probs, rtol=1e-4
    )
    assert any(f"no {missing} given" in note for note in result.notes)


def test_events_of_the_head(files):
    model = _recognizer("kl_audiovisual")
    mask = np.ones(527, bool)
    logits = _call(model, files.inputs)["audiovisual_event_logits"][0]
    mask[logits.argmax()] = False
    knowledge = types.SimpleNamespace(posteriors=None, event_mask=mask)
    predictor = Predictor(model, _FEATURES, knowledge=knowledge)
    result = _one(predictor, files.image, files.sound)
    best = np.argsort(-logits)[1:5]  # the masked one would be first
    assert [name for name, _ in result.events[:4]] == [
        labels.events()[k].name for k in best
    ]
    np.testing.assert_allclose(
        [p for _, p in result.events[:4]], 1 / (1 + np.exp(-logits[best])), rtol=1e-4
    )
    assert "event head" in result.event_source
    assert not result.notes
    assert len(result.events) == 526


def test_events_of_the_posteriors(recognizer, files):
    posteriors = np.random.default_rng(3).random((13, 527))
    knowledge = types.SimpleNamespace(
        posteriors=posteriors, event_mask=np.ones(527, bool)
    )
    predictor = Predictor(recognizer, _FEATURES, knowledge=knowledge)
    result = _one(predictor, files.image, files.sound)
    logits = _call(recognizer, files.inputs)["scene_logits"][0]
    expected = np.sort(softmax(logits) @ posteriors)[::-1][:2]
    np.testing.assert_allclose([p for _, p in result.events[:2]], expected, rtol=1e-4)
    assert "Eq. 7" in result.event_source


def test_events_are_left_out_with_a_note(recognizer, files):
    result = _one(Predictor(recognizer, _FEATURES), files.image, files.sound)
    assert not result.events
    assert any("advance teach" in note for note in result.notes)
    scenes_only = _one(
        Predictor(recognizer, _FEATURES), files.image, files.sound, events=False
    )
    assert not scenes_only.events
    assert not scenes_only.notes
    audio = Predictor(_recognizer("kl_audio"), _FEATURES)
    assert _one(audio, files.image, files.sound).events
    without_sound = _one(audio, files.image, None)
    assert not without_sound.events
    assert any("from the sound alone" in note for note in without_sound.notes)


def test_a_model_of_one_input(files):
    predictor = Predictor(_recognizer(modality="image"), _FEATURES, modality="image")
    alone = _one(predictor, files.image, None)
    assert not any("zeros" in note for note in alone.notes)
    # A broken file of an unused input is not an error.
    both = _one(predictor, files.image, files.folder / "bad.wav")
    assert both.scene_probs == pytest.approx(alone.scene_probs, abs=1e-5)
    assert any("sound was not used" in note for note in both.notes)
    refused = _one(predictor, None, files.sound)
    assert "`modality` image" in refused.status
    assert "a.wav" in refused.status


def test_a_bad_file_does_not_affect_the_others(recognizer, files):
    (files.folder / "other.mp3").write_bytes(b"ID3")
    examples = [
        (files.image, files.sound),
        (files.folder / "bad.jpg", None),
        {"sound": files.sound},
        (None, files.folder / "bad.wav"),
        (files.image, files.folder / "nowhere.wav"),
        (None, files.folder / "other.mp3"),
        {"image": files.image, "name": "last"},
        (None, None),
        "a.jpg",
        {"picture": files.image},
        (np.zeros((4, 4), np.uint8), None),
        {"sound": np.zeros(9, np.float32)},
    ]
    model = RunModel(Predictor(recognizer, _FEATURES))
    results = list(model.predict_batch(examples, batch_size=4))
    assert [result.ok for result in results] == [
        *(True, False, True, False, False, False, True),
        *[False] * 5,
    ]
    assert [results[0].name, results[6].name, results[7].name] == ["a", "last", "7"]
    for index, name in {1: "bad.jpg", 3: "bad.wav", 4: "nowhere.wav"}.items():
        message = results[index].status
        assert str(files.folder / name) in message
        assert "{{" not in message
        assert "[[" not in message
    assert "advance prepare" in results[5].status
    assert "neither" in results[7].status
    assert "a pair (image, sound)" in results[8].status
    assert "received picture" in results[9].status
    assert "uint8 [H, W, 3]" in results[10].status
    assert "`rate_hz` of a sound array must be 8000" in results[11].status
    alone = [
        next(model.predict_batch([example])) for example in (examples[2], examples[6])
    ]
    for received, expected in zip((results[2], results[6]), alone, strict=True):
        assert [name for name, _ in received.scenes] == [n for n, _ in expected.scenes]
        np.testing.assert_allclose(
            [p for _, p in received.scenes], [p for _, p in expected.scenes], rtol=1e-4
        )


def test_broken_weights_are_not_a_prediction(files):
    model = _recognizer()
    head = model.get_layer("scene_head")
    head.bias.assign(np.full(13, np.nan))
    with pytest.raises(ValueError, match="weights are broken"):
        _one(Predictor(model, _FEATURES), files.image, files.sound)


def test_refuses_a_batch_below_one(recognizer):
    model = RunModel(Predictor(recognizer, _FEATURES))
    with pytest.raises(ValueError, match="batch_size must be at least 1; received 0"):
        model.predict_batch([], batch_size=0)


def test_predict_needs_an_input(recognizer):
    model = RunModel(Predictor(recognizer, _FEATURES))
    with pytest.raises(ValueError, match="must have an image or a sound"):
        model.predict()


@pytest.mark.parametrize("name", ["scene_logits", "audio_event_logits"])
def test_logits_that_are_not_finite_are_an_error(recognizer, name):
    logits = {"scene_logits": np.zeros((2, 13)), "audio_event_logits": np.zeros((2, 3))}
    predictor = Predictor(recognizer, _FEATURES)
    assert predictor.probabilities(logits).events.probs.shape == (2, 3)
    logits[name][1, 2] = np.nan
    rule = name.replace("_", " ")
    with pytest.raises(ValueError, match=f"The model's {rule} must be finite"):
        predictor.probabilities(logits)
