"""Compares exports of small networks of KerasHub with the recognizer in memory.

    python -m benchmarks.preset_exports

Each network has random weights and is the image tower of a recognizer whose scene head
is scaled, so that the probabilities lie between 0 and 1. Prints a Markdown table of the
largest difference of a probability over twelve synthetic pairs. Needs the extras
`backbones`, `export` and `onnx`.
"""

import pathlib
import tempfile
from collections.abc import Callable, Mapping

import keras
import keras_hub
import numpy as np

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.data.layout import scan
from advance_tf.data.synthetic.pairs import write_pairs
from advance_tf.models.recognizer import build_recognizer
from advance_tf.models.weights import load_pretrained
from advance_tf.serving import litert, onnx_model, parity
from advance_tf.serving.inference_model import InferenceModel, Source
from advance_tf.serving.parity import EncodedPair
from advance_tf.serving.saved_model import write_saved_model

MODELS, LAYERS = keras_hub.models, keras_hub.layers
SHAPE, PIXELS, HEAD_SCALE, PAIRS = (28, 28, 3), 32, 30.0, 12
FEATURES = FeatureConfig(image_size=PIXELS, clip_seconds=1.0)


def _vision(name: str) -> keras.Model:
    """A network of images and texts, whose image encoder is used."""
    vision = getattr(MODELS, f"{name}VisionEncoder")(7, 8, 2, 2, 16, image_shape=SHAPE)
    text = getattr(MODELS, f"{name}TextEncoder")(20, 8, 8, 1, 2, 16)
    more = (8,) if name == "CLIP" else ()
    return getattr(MODELS, f"{name}Backbone")(vision, text, *more)


NETWORKS: Mapping[str, Callable[[], keras.Model]] = {
    "ResNet": lambda: MODELS.ResNetBackbone(
        [64], [7], [64, 8], [1, 1], [1, 2], "basic_block", image_shape=SHAPE
    ),
    "ViT": lambda: MODELS.ViTBackbone(SHAPE, 7, 2, 2, 8, 16),
    "DINOV2": lambda: MODELS.DINOV2Backbone(
        7, 2, 8, 2, 16, num_register_tokens=2, image_shape=SHAPE
    ),
    "DINOV3": lambda: MODELS.DINOV3Backbone(
        7, 2, 8, 2, 16, num_register_tokens=2, image_shape=SHAPE
    ),
    "CLIP": lambda: _vision("CLIP"),
    "SigLIP": lambda: _vision("SigLIP"),
}


def build_source(name: str, folder: pathlib.Path) -> Source:
    """A recognizer of images with a network of random weights as its tower."""
    keras.utils.set_random_seed(0)
    NETWORKS[name]().save_to_preset(str(folder))
    converter = getattr(LAYERS, f"{name}ImageConverter")
    converter(image_size=SHAPE[:2], scale=1 / 127.5, offset=-1).save_to_preset(
        str(folder)
    )
    model = ModelConfig(
        modality="image",
        image_backbone=f"kerashub:{folder}",
        image_weights="preset",
        audio_depth=10,
        audio_width=4,
    )
    recognizer = build_recognizer(model, FEATURES)
    load_pretrained(recognizer, model)
    head = recognizer.get_layer("scene_head")
    head.kernel.assign(HEAD_SCALE * np.asarray(head.kernel))
    return Source(recognizer, FEATURES, modality="image")


def read_pairs(folder: pathlib.Path) -> list[EncodedPair]:
    """Synthetic pairs of all scenes."""
    write_pairs(folder, sites_per_scene=1)
    pairs = scan(folder).pairs[:PAIRS]
    return [
        EncodedPair(
            (folder / pair.image).read_bytes(), (folder / pair.sound).read_bytes()
        )
        for pair in pairs
    ]


def differences(source: Source, pairs: list[EncodedPair]) -> dict[str, float]:
    """Format → largest difference of a probability."""
    decoded = parity.decode(source, pairs)
    expected = parity.reference_probs(source, decoded)
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        warmup = {"image": pairs[0].image, "sound": pairs[0].sound}
        (folder / "saved").mkdir()
        write_saved_model(folder / "saved", InferenceModel(source), warmup=warmup)
        skew = parity.saved_model_skew(folder / "saved", source, pairs)
        found["SavedModel"] = max(skew["bytes"], skew["tensors"])
        (folder / "lite").mkdir()
        contents = litert.convert(InferenceModel(source, litert=True), folder / "lite")
        probs = litert.LiteModel(contents).probs(decoded, "image_only")
        found["LiteRT"] = parity.largest_difference(expected, probs)
        onnx_model.write_onnx(folder / "a.onnx", source)
        skew = onnx_model.onnx_skew(folder / "a.onnx", source, pairs)
        found["ONNX"] = max(skew.values())
    spread = np.ptp(expected["scene_probs"], axis=0).max()
    return {"spread of the probabilities": float(spread), **found}


def main() -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        pairs = read_pairs(folder / "pairs")
        for number, name in enumerate(NETWORKS):
            found = differences(build_source(name, folder / name), pairs)
            if not number:
                print("| network |", " | ".join(found), "|")
                print("|---" * (len(found) + 1) + "|")
            cells = " | ".join(f"{value:.1e}" for value in found.values())
            print(f"| {name} | {cells} |", flush=True)
            keras.backend.clear_session()


if __name__ == "__main__":
    main()
