"""The LiteRT file: signatures, operators, labels and parity."""

import json
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from advance_tf import labels
from advance_tf.serving import litert, parity
from advance_tf.serving.inference_model import InferenceModel
from tests.serving.factories import create_source


def test_float32_predictions_equal_those_in_memory(source, decoded, float32):
    expected = parity.reference_probs(source, decoded)
    found = litert.LiteModel(float32).probs(decoded)
    outputs = {"scene_probs", "event_probs", "confidence", "reason_flags"}
    assert set(found) == outputs
    assert parity.largest_difference(expected, found) <= 1e-4
    # The predictions differ between pairs, so that the comparison is meaningful.
    assert np.ptp(found["scene_probs"], axis=0).max() > 1e-3


def test_one_input_alone_equals_zeros_for_the_other(source, decoded, float32):
    model = litert.LiteModel(float32)
    assert model.signatures == ["image_only", "recognize", "sound_only"]
    recognizer, features = source.recognizer, source.features
    log_mel = np.zeros(
        (len(decoded.image), features.frames, features.mel_bins), np.float32
    )
    inputs = {"image": decoded.image.astype(np.float32), "log_mel": log_mel}
    logits = recognizer.predict(inputs, verbose=0)["scene_logits"]
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = model.probs(decoded, "image_only")["scene_probs"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_operators_are_built_in(float32):
    found = litert.operators(float32)
    assert {"CONV_2D", "RFFT2D", "FULLY_CONNECTED"} <= set(found)
    assert not [name for name in found if "CUSTOM" in name or "FLEX" in name.upper()]


@pytest.mark.parametrize("modality", ["image", "sound"])
def test_a_model_of_one_modality_has_its_own_signature(tmp_path, modality):
    inference_model = InferenceModel(create_source("none", modality), litert=True)
    model = litert.LiteModel(litert.convert(inference_model, tmp_path))
    assert model.signatures == [f"{modality}_only"]
    assert model.all_signatures == ["embed", f"{modality}_only"]


def test_labels_and_metadata_are_in_the_file(source, float32, tmp_path, decoded):
    inference_model = InferenceModel(source, litert=True)
    metadata = inference_model.describe(version="3", quantization="none")
    path = tmp_path / "model.tflite"
    litert.write_lite(path, float32, metadata)
    with zipfile.ZipFile(path) as archive:
        stored = json.loads(archive.read("metadata.json"))
        assert archive.read("scenes.txt").decode().split("\n") == list(labels.scenes())
        assert len(archive.read("events.txt").decode().split("\n")) == 527
    assert stored["sample_rate_hz"] == 16_000
    assert stored["clip_samples"] == 160_000
    assert stored["image_size"] == 32
    assert "compound" in stored["events_source"]
    found = litert.LiteModel(path.read_bytes()).probs(decoded)
    expected = litert.LiteModel(float32).probs(decoded)
    np.testing.assert_array_equal(found["scene_probs"], expected["scene_probs"])


def test_an_operation_without_an_operator_is_an_error(tmp_path, monkeypatch):
    function = tf.function(
        lambda image: {"a": image + 1},
        input_signature=[tf.TensorSpec([1, 4], tf.uint8, "image")],
    )
    monkeypatch.setattr(litert, "lite_functions", lambda model: {"embed": function})
    message = "operators of LiteRT; received others: AddV2. Export the run as a Saved"
    with pytest.raises(ValueError, match=message):
        litert.convert(None, tmp_path)
