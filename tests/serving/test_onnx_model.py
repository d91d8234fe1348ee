"""The ONNX file: logits without unused heads, embeddings and metadata."""

import dataclasses

import numpy as np
import onnxruntime
import pytest

from advance_tf import labels
from advance_tf.config import ModelConfig
from advance_tf.features.log_mel import LogMelStats, save_stats
from advance_tf.inference.loading import load_model
from advance_tf.models.recognizer import build_recognizer
from advance_tf.serving import onnx_model
from advance_tf.serving.inference_model import Source
from tests.serving.factories import FEATURES, create_pairs, create_source, knowledge


@pytest.mark.parametrize(
    ("transfer", "modality", "events", "outputs"),
    [
        ("kl_audiovisual", "both", True, {"scene_logits", "audiovisual_event_logits"}),
        ("kl_audiovisual", "both", False, {"scene_logits"}),
        ("kl_audio", "image", True, {"scene_logits"}),
    ],
)
def test_unused_heads_are_left_out(tmp_path, transfer, modality, events, outputs):
    source = create_source(transfer, modality, events=events)
    path = tmp_path / "model.onnx"
    onnx_model.write_onnx(path, source)
    session = onnxruntime.InferenceSession(str(path))
    embeddings = {f"{kind}_embedding" for kind in source.kinds}
    probs = {"scene_probs", "confidence"}
    found = {node.name for node in session.get_outputs()}
    assert found == outputs | embeddings | probs == set(onnx_model.output_names(source))
    skew = onnx_model.onnx_skew(path, source, create_pairs(2))
    assert set(skew) == outputs | probs
    assert max(skew.values()) <= 1e-4


def test_the_file_alone_has_the_settings_of_its_front_end(tmp_path):
    features = dataclasses.replace(
        FEATURES, clip_seconds=0.5, log_mel_stats=str(tmp_path / "stats.csv")
    )
    rng = np.random.default_rng(0)
    mean, std = rng.normal(-40, 5, 64), rng.uniform(5, 20, 64)
    stats = LogMelStats(mean.astype(np.float32), std.astype(np.float32))
    save_stats(tmp_path / "stats.csv", stats)
    recognizer = build_recognizer(
        ModelConfig(
            modality="sound",
            image_depth=10,
            audio_depth=10,
            image_width=4,
            audio_width=4,
        ),
        features,
    )
    source = Source(
        recognizer, features, modality="sound", knowledge=knowledge(), label="noise"
    )
    onnx_model.write_onnx(tmp_path / "a.onnx", source, sha256_weights="0")
    # The statistics are in the file, not only their path.
    expected = source.predictor()
    (tmp_path / "stats.csv").unlink()
    model = load_model(tmp_path / "a.onnx")
    assert (model.modality, model.label) == ("sound", "noise")
    assert model.event_source.startswith("compound")
    assert model.metadata["sha256_weights"] == "0"
    assert len(model.metadata["events"]) == 527
    waveform = rng.normal(0, 0.1, 8_000).astype(np.float32)
    found = model.predict(sound=waveform, rate_hz=16_000)
    image = np.zeros((1, 32, 32, 3), np.uint8)
    probs = expected.predict_decoded(image, waveform[None])
    scenes = dict(zip(labels.scenes(), probs.scene_probs[0], strict=True))
    assert found.scene_probs == pytest.approx(scenes, abs=1e-4)
    # The inputs are checked without a calibration.
    silent = model.predict(sound=0 * waveform, rate_hz=16_000)
    assert (silent.scene, silent.reason) == ("unknown", "silent sound")
    # The teacher does not cover the first two events.
    assert len(found.events) == 525
    names = [event.name for event in labels.events()]
    events = dict(zip(names[2:], probs.events.probs[0, 2:], strict=True))
    assert found.event_probs == pytest.approx(events, abs=1e-4)
