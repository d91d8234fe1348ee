"""A network of every family of backbones equals its exports in every format."""

import dataclasses

import keras
import keras_hub
import numpy as np
import pytest

from advance_tf.config import RANDOM_WEIGHTS, ModelConfig
from advance_tf.models.recognizer import build_recognizer
from advance_tf.serving import litert, onnx_model, parity, saved_model
from advance_tf.serving.inference_model import InferenceModel, Source
from tests.serving.factories import FEATURES, create_pairs

SHAPE = (28, 28, 3)


def write_file(folder):
    image = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.SeparableConv2D(6, 3, strides=2, activation="swish")(x)
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="gelu")(x)
    keras.Model(image, x).save(folder / "network.keras")
    return f"file:{folder / 'network.keras'}"


def write_preset(folder):
    network = keras_hub.models.ViTBackbone(SHAPE, 7, 1, 2, 8, 16)
    converter = keras_hub.layers.ViTImageConverter(image_size=SHAPE[:2], scale=1 / 255)
    for part in (network, converter):
        part.save_to_preset(str(folder / "preset"))
    return f"kerashub:{folder / 'preset'}"


FAMILIES = {
    "resnet": ("resnet", RANDOM_WEIGHTS),
    "lite0": ("efficientnet_lite0", RANDOM_WEIGHTS),
    "keras": ("keras:MobileNetV3Small", RANDOM_WEIGHTS),
    "file": (write_file, ""),
    "kerashub": (write_preset, ""),
}


@pytest.fixture(scope="module", params=FAMILIES)
def source(request, tmp_path_factory):
    """An image model whose probabilities differ between pairs."""
    keras.utils.set_random_seed(0)
    backbone, weights = FAMILIES[request.param]
    if callable(backbone):
        backbone = backbone(tmp_path_factory.mktemp(request.param))
    model = ModelConfig(
        modality="image",
        image_backbone=backbone,
        image_weights=weights,
        image_depth=10,
        image_width=4,
        audio_depth=10,
        audio_width=4,
    )
    features = dataclasses.replace(FEATURES, clip_seconds=0.5)
    recognizer = build_recognizer(model, features)
    found = Source(recognizer, features, modality="image")
    decoded = parity.decode(found, create_pairs(3))
    tower = recognizer.get_layer("image_tower")
    embeddings = np.asarray(tower(decoded.image.astype(np.float32)))
    head = recognizer.get_layer("scene_head")
    # Embeddings of random weights are nearly equal: the logits get a deviation of 1.
    kernel = np.asarray(head.kernel)[: embeddings.shape[-1]]
    logits = embeddings.astype(np.float64) @ kernel
    scale = logits.std(axis=0).mean()
    head.kernel.assign(np.asarray(head.kernel) / scale)
    head.bias.assign(-logits.mean(axis=0) / scale)
    probs = parity.reference_probs(found, decoded)
    assert np.ptp(probs["scene_probs"], axis=0).max() > 0.01
    return found


def test_a_saved_model_equals_the_recognizer(source, tmp_path):
    pairs = parity.with_other_rates(create_pairs(3))
    saved_model.write_saved_model(
        tmp_path, InferenceModel(source), warmup=pairs[0]._asdict()
    )
    assert max(parity.saved_model_skew(tmp_path, source, pairs).values()) <= 1e-5


def test_a_litert_model_equals_the_recognizer(source, tmp_path):
    decoded = parity.decode(source, create_pairs(3))
    contents = litert.convert(InferenceModel(source, litert=True), tmp_path)
    expected = parity.reference_probs(source, decoded)
    found = litert.LiteModel(contents).probs(decoded, "image_only")
    assert parity.largest_difference(expected, found) <= 1e-4


def test_an_onnx_file_equals_the_recognizer(source, tmp_path):
    onnx_model.write_onnx(tmp_path / "a.onnx", source)
    skew = onnx_model.onnx_skew(tmp_path / "a.onnx", source, create_pairs(3))
    assert max(skew.values()) <= 1e-4
