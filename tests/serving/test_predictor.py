"""Predictions of files against the recognizer called by hand."""

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
from advance_tf.models.recognizer import build_recognizer
from advance_tf.serving.event_probs import softmax
from advance_tf.serving.examples import Example, Failure
from advance_tf.serving.predictor import Predictor

_FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)


def _recognizer(transfer="none", modality="both"):
    keras.utils.set_random_seed(0)
    model = ModelConfig(
        modality=modality, image_depth=18, audio_depth=18, image_width=4, audio_width=4
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


def _by_hand(model, inputs):
    outputs = model({name: value[None] for name, value in inputs.items()})
    return {name: value.numpy() for name, value in outputs.items()}


def _one(predictor, *files, **options):
    (result,) = predictor.predict([Example("a", *files)], **options)
    return result


def test_scenes_are_those_of_the_recognizer(recognizer, files):
    result = _one(Predictor(recognizer, _FEATURES), files.image, files.sound, top=3)
    probs = softmax(_by_hand(recognizer, files.inputs)["scene_logits"][0])
    best = np.argsort(-probs)[:3]
    assert [name for name, _ in result.scenes] == [labels.scenes()[k] for k in best]
    np.testing.assert_allclose([p for _, p in result.scenes], probs[best], rtol=1e-4)
    assert result.name == "a"
    assert result.image == str(files.image)


@pytest.mark.parametrize("missing", ["image", "sound"])
def test_a_missing_file_is_zeros_and_is_said(recognizer, files, missing):
    given = {"image": files.image, "sound": files.sound, missing: None}
    result = _one(Predictor(recognizer, _FEATURES), *given.values(), top=13)
    name = {"image": "image", "sound": "log_mel"}[missing]
    zeroed = files.inputs | {name: np.zeros_like(files.inputs[name])}
    probs = softmax(_by_hand(recognizer, zeroed)["scene_logits"][0])
    received = dict(result.scenes)
    np.testing.assert_allclose(
        [received[scene] for scene in labels.scenes()], probs, rtol=1e-4
    )
    assert any(f"no {missing} given" in note for note in result.notes)


def test_events_of_the_head(files):
    model = _recognizer("kl_audiovisual")
    mask = np.ones(527, bool)
    logits = _by_hand(model, files.inputs)["audiovisual_event_logits"][0]
    mask[logits.argmax()] = False
    knowledge = types.SimpleNamespace(posteriors=None, event_mask=mask)
    predictor = Predictor(model, _FEATURES, knowledge=knowledge)
    result = _one(predictor, files.image, files.sound, top=4)
    best = np.argsort(-logits)[1:5]  # the masked one would be first
    assert [name for name, _ in result.events] == [
        labels.events()[k].name for k in best
    ]
    np.testing.assert_allclose(
        [p for _, p in result.events], 1 / (1 + np.exp(-logits[best])), rtol=1e-4
    )
    assert "event head" in result.event_source
    assert not result.notes
    every = _one(predictor, files.image, files.sound, top=527).events
    assert len(every) == 526


def test_events_of_the_posteriors(recognizer, files):
    posteriors = np.random.default_rng(3).random((13, 527))
    knowledge = types.SimpleNamespace(
        posteriors=posteriors, event_mask=np.ones(527, bool)
    )
    predictor = Predictor(recognizer, _FEATURES, knowledge=knowledge)
    result = _one(predictor, files.image, files.sound, top=2)
    logits = _by_hand(recognizer, files.inputs)["scene_logits"][0]
    expected = np.sort(softmax(logits) @ posteriors)[::-1][:2]
    np.testing.assert_allclose([p for _, p in result.events], expected, rtol=1e-4)
    assert "Eq. 7" in result.event_source


def test_events_are_left_out_with_a_note(recognizer, files):
    result = _one(Predictor(recognizer, _FEATURES), files.image, files.sound)
    assert not result.events
    assert any("advance_tf.teach" in note for note in result.notes)
    silent = _one(
        Predictor(recognizer, _FEATURES), files.image, files.sound, events=False
    )
    assert not silent.events
    assert not silent.notes
    heard = Predictor(_recognizer("kl_audio"), _FEATURES)
    assert _one(heard, files.image, files.sound).events
    deaf = _one(heard, files.image, None)
    assert not deaf.events
    assert any("from the sound alone" in note for note in deaf.notes)


def test_a_model_of_one_input(files):
    predictor = Predictor(_recognizer(modality="image"), _FEATURES, modality="image")
    alone = _one(predictor, files.image, None)
    assert not any("zeros" in note for note in alone.notes)
    # A broken file that nobody looks at does no harm.
    both = _one(predictor, files.image, files.folder / "bad.wav")
    assert both.scenes == alone.scenes
    assert any("sound was not used" in note for note in both.notes)
    refused = _one(predictor, None, files.sound)
    assert isinstance(refused, Failure)
    assert "--modality=image" in refused.message
    assert "a.wav" in refused.message


def test_one_bad_file_does_not_lose_the_others(recognizer, files):
    examples = [
        Example("0", files.image, files.sound),
        Example("1", files.folder / "bad.jpg"),
        Example("2", None, files.sound),
        Example("3", None, files.folder / "bad.wav"),
        Example("4", files.image, files.folder / "nowhere.wav"),
        Example("5", None, files.folder / "other.mp3"),
        Example("6", files.image),
    ]
    predictor = Predictor(recognizer, _FEATURES)
    results = list(predictor.predict(examples, batch_size=4))
    assert [result.name for result in results] == [example.name for example in examples]
    for index, name in {1: "bad.jpg", 3: "bad.wav", 4: "nowhere.wav"}.items():
        message = results[index].message
        assert str(files.folder / name) in message
        assert "{{" not in message
        assert "[[" not in message
    assert "advance_tf.prepare" in results[5].message
    alone = [
        next(iter(predictor.predict([example])))
        for example in (examples[2], examples[6])
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


@pytest.mark.parametrize("name", ["top", "batch_size"])
def test_refuses_counts_below_one(recognizer, files, name):
    with pytest.raises(ValueError, match=f"--{name} must be at least 1; received 0"):
        _one(Predictor(recognizer, _FEATURES), files.image, None, **{name: 0})
