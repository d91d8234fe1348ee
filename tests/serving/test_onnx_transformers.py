"""Vision transformers of KerasHub as ONNX."""

import keras
import keras_hub
import numpy as np
import onnxruntime
import pytest

from advance_tf.config import ModelConfig
from advance_tf.models.recognizer import build_recognizer
from advance_tf.serving import onnx_model
from advance_tf.serving.inference_model import Source
from tests.serving.factories import FEATURES, create_pairs

MODELS, LAYERS = keras_hub.models, keras_hub.layers
SHAPE = (28, 28, 3)


@pytest.mark.parametrize("name", ["ViT", "DINOV3"])
def test_a_file_with_numbers_of_positions_equals_the_recognizer(name, tmp_path):
    """They are a tensor of a layer, neither a weight nor an input."""
    if name == "ViT":
        network = MODELS.ViTBackbone(SHAPE, 7, 1, 2, 8, 16)
    else:
        network = MODELS.DINOV3Backbone(
            7, 1, 8, 2, 16, num_register_tokens=2, image_shape=SHAPE
        )
    network.save_to_preset(str(tmp_path / "preset"))
    converter = getattr(LAYERS, f"{name}ImageConverter")
    converter(image_size=SHAPE[:2], scale=1 / 255).save_to_preset(
        str(tmp_path / "preset")
    )
    keras.utils.set_random_seed(0)
    model = ModelConfig(
        modality="image",
        image_backbone=f"kerashub:{tmp_path / 'preset'}",
        audio_depth=10,
        audio_width=4,
    )
    recognizer = build_recognizer(model, FEATURES)
    # Embeddings of random weights are nearly equal.
    head = recognizer.get_layer("scene_head")
    head.kernel.assign(30 * np.asarray(head.kernel))
    source = Source(recognizer, FEATURES, modality="image")
    path = tmp_path / "a.onnx"
    onnx_model.write_onnx(path, source)
    inputs = {node.name for node in onnxruntime.InferenceSession(path).get_inputs()}
    assert inputs == set(recognizer.input)
    skew = onnx_model.onnx_skew(path, source, create_pairs(3))
    assert max(skew.values()) <= 1e-4
