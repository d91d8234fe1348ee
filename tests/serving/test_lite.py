"""The file for edge devices: operators, labels, same answers, and smaller files."""

import json
import zipfile

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.serving import answers, gate, lite, quantization
from advance_tf.serving.served import Answering
from tests.serving.made import knowledge, made_pairs, made_source

PAIRS = answers.with_other_rates(made_pairs(7))


@pytest.fixture(scope="module")
def source():
    return made_source("event", knowledge=knowledge())


@pytest.fixture(scope="module")
def decoded(source):
    return answers.decode(source, PAIRS)


@pytest.fixture(scope="module")
def float32(source, tmp_path_factory):
    answering = Answering(source, precise=False)
    return lite.convert(answering, tmp_path_factory.mktemp("lite"))


def test_float32_answers_equal_those_of_memory(source, decoded, float32):
    expected = answers.memory_probs(source, decoded)
    found = lite.LiteModel(float32).probs(decoded)
    assert set(found) == {"scene_probs", "event_probs"}
    assert answers.largest_difference(expected, found) <= 1e-4
    # Not the same answer for everything.
    assert np.ptp(found["scene_probs"], axis=0).max() > 1e-3


def test_one_input_alone_equals_zeros_for_the_other(source, decoded, float32):
    model = lite.LiteModel(float32)
    assert model.signatures == ["image_only", "recognize", "sound_only"]
    recognizer, features = source.recognizer, source.features
    log_mel = np.zeros((len(PAIRS), features.frames, features.mel_bins), np.float32)
    inputs = {"image": decoded.image.astype(np.float32), "log_mel": log_mel}
    logits = recognizer.predict(inputs, verbose=0)["scene_logits"]
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = model.probs(decoded, "image_only")["scene_probs"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_operators_are_built_in(float32):
    found = lite.operators(float32)
    assert {"CONV_2D", "RFFT2D", "FULLY_CONNECTED"} <= set(found)
    assert not [name for name in found if "CUSTOM" in name or "FLEX" in name.upper()]


@pytest.mark.parametrize("modality", ["image", "sound"])
def test_a_model_of_one_modality_has_its_own_signature(tmp_path, modality):
    answering = Answering(made_source("none", modality), precise=False)
    model = lite.LiteModel(lite.convert(answering, tmp_path))
    assert model.signatures == [f"{modality}_only"]


def test_labels_and_metadata_are_in_the_file(source, float32, tmp_path, decoded):
    answering = Answering(source, precise=False)
    metadata = lite.describe(
        answering, version="3", quantization="none", weights_sha256="ab"
    )
    path = tmp_path / "model.tflite"
    lite.write_lite(path, float32, metadata)
    with zipfile.ZipFile(path) as archive:
        stored = json.loads(archive.read("metadata.json"))
        assert archive.read("scenes.txt").decode().split("\n") == list(labels.scenes())
        assert len(archive.read("events.txt").decode().split("\n")) == 527
    assert stored["sample_rate_hz"] == 16_000
    assert stored["clip_samples"] == 160_000
    assert stored["image_size"] == 32
    assert "compound" in stored["events_source"]
    found = lite.LiteModel(path.read_bytes()).probs(decoded)
    expected = lite.LiteModel(float32).probs(decoded)
    np.testing.assert_array_equal(found["scene_probs"], expected["scene_probs"])


@pytest.mark.parametrize("kind", ["float16", "dynamic", "int8"])
def test_smaller_files_say_nearly_the_same(decoded, float32, tmp_path, kind):
    made = quantization.quantize(float32, kind, tmp_path, decoded)
    assert len(made) < 0.9 * len(float32)
    model, whole = lite.LiteModel(made), lite.LiteModel(float32)
    for signature in model.signatures:
        found = model.probs(decoded, signature)
        gate.check_probs(found)
        expected = whole.probs(decoded, signature)
        limit = {"float16": 0.01, "dynamic": 0.05, "int8": 0.15}[kind]
        difference = answers.largest_difference(expected, found)
        assert 0 < difference < limit, signature
    assert not [name for name in lite.operators(made) if "CUSTOM" in name]


def test_agreement_is_measured_and_too_little_is_refused(decoded, float32):
    class Turned(lite.LiteModel):
        """Says another scene for the first of seven pairs."""

        def probs(self, decoded, signature=lite.RECOGNIZE):
            found = super().probs(decoded, signature)
            scenes = found["scene_probs"].copy()
            scenes[0] = np.roll(scenes[0], 1)
            return {**found, "scene_probs": scenes}

    true = np.arange(7)
    figures = gate.measure(
        lite.LiteModel(float32),
        Turned(float32),
        decoded,
        true,
        lambda a, b: float((a == b).mean()),
    )
    main = figures["signatures"]["recognize"]
    assert main["agreement"] == pytest.approx(6 / 7)
    assert main["weighted_f_change"] == main["weighted_f"] - main["weighted_f_float32"]
    gate.refuse_below(figures, 0.8, "int8")
    with pytest.raises(ValueError, match=r"at least 0.9 .* on 0.8571 of 7"):
        gate.refuse_below(figures, 0.9, "int8")


def test_no_answer_may_be_nan():
    with pytest.raises(ValueError, match="scene_probs must be finite"):
        gate.check_probs({"scene_probs": np.array([np.nan])})
