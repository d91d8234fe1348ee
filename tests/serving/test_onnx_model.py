"""The ONNX file has the logits of scenes and events, without unused heads."""

import onnxruntime
import pytest

from advance_tf.serving import onnx_model
from tests.serving.factories import create_pairs, create_source


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
    assert {node.name for node in session.get_outputs()} == outputs
    skew = onnx_model.onnx_skew(path, source, create_pairs(2))
    assert set(skew) == outputs
    assert max(skew.values()) <= 1e-4
