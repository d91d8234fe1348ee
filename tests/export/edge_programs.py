"""Imports the modules of export/edge and export/tf_serving; writes a small model."""

import functools
import importlib
import json
import pathlib
import sys
import zipfile

import numpy as np

from advance_tf import labels
from tests.imports import ROOT

EDGE, CLIENT = ROOT / "export" / "edge", ROOT / "export" / "tf_serving"
IMAGE_SIZE, CLIP_SAMPLES = 32, 160_000


@functools.cache
def edge_module(name: str):
    """A module of export/edge, which is not a package."""
    return _module_of(EDGE, name)


@functools.cache
def client_module(name: str):
    """A module of export/tf_serving, which is not a package."""
    return _module_of(CLIENT, name)


def _module_of(folder, name):
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


# Of the small model: the one reason that makes a scene unknown.
REASONS = ["dark image"]


def metadata(**changes) -> dict:
    """metadata.json of the small model."""
    values = {
        "name": "small",
        "version": "0",
        "sample_rate_hz": 16_000,
        "clip_samples": CLIP_SAMPLES,
        "image_size": IMAGE_SIZE,
        "image_resize": "bicubic",
        "modality": "both",
        "quantization": "none",
        "scenes": list(labels.scenes()),
        "events": [event.name for event in labels.events()],
        "events_source": "event head",
        "events_of_sound": False,
        "label": "",
        "reasons": REASONS,
        "sha256_weights": "",
    }
    return values | changes


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def weights(kind: str, outputs: int) -> np.ndarray:
    """Weights [7, outputs] of the mean colour (3) and of the power of quarters (4)."""
    return np.random.default_rng([len(kind), outputs]).normal(0, 3, (7, outputs))


def expected_probs(image=None, waveform=None) -> dict[str, np.ndarray]:
    """Probabilities of the small model, in NumPy.

    Args:
        image: uint8 [32, 32, 3] or None.
        waveform: float32 [160000] or None.
    """
    color = np.zeros(3) if image is None else image.mean((0, 1)) / 255
    power = np.zeros(4)
    if waveform is not None:
        power = np.abs(waveform.reshape(4, -1)).mean(1)
    inputs = np.concatenate([color, power])
    return {
        "scene_probs": softmax(inputs @ weights("scene", 13)),
        "event_probs": 1 / (1 + np.exp(-inputs @ weights("event", 527))),
    }


def _small_module():
    import tensorflow as tf

    class Small(tf.Module):
        """Probabilities from the mean colour and the power of four quarters."""

        def __init__(self):
            super().__init__()
            self.scene = tf.Variable(weights("scene", 13).astype(np.float32))
            self.event = tf.Variable(weights("event", 527).astype(np.float32))

        def probs(self, image, waveform, has_image=True):
            color = tf.reduce_mean(tf.cast(image, tf.float32), [1, 2]) / 255.0
            power = tf.reduce_mean(tf.abs(tf.reshape(waveform, [1, 4, -1])), 2)
            inputs = tf.concat([color, power], 1)
            return {
                "scene_probs": tf.nn.softmax(inputs @ self.scene),
                "event_probs": tf.sigmoid(inputs @ self.event),
                "reason_flags": float(has_image)
                * tf.cast(tf.reduce_mean(color, 1, keepdims=True) < 0.05, tf.float32),
            }

    return Small()


def write_small_model(path: pathlib.Path, modality="both", **changes) -> pathlib.Path:
    """Writes a .tflite file with the signatures and metadata of an export.

    Args:
        path: of the file.
        modality: "both", "image" or "sound".
        changes: replace values of its metadata.
    """
    import tensorflow as tf

    small = _small_module()
    image = tf.TensorSpec([1, IMAGE_SIZE, IMAGE_SIZE, 3], tf.uint8, "image")
    waveform = tf.TensorSpec([1, CLIP_SAMPLES], tf.float32, "waveform")
    black, silence = (tf.zeros(spec.shape, spec.dtype) for spec in (image, waveform))
    functions = {
        "recognize": tf.function(small.probs, input_signature=[image, waveform]),
        "image_only": tf.function(
            lambda image: small.probs(image, silence), input_signature=[image]
        ),
        "sound_only": tf.function(
            lambda waveform: small.probs(black, waveform, has_image=False),
            input_signature=[waveform],
        ),
    }
    if modality != "both":
        functions = {f"{modality}_only": functions[f"{modality}_only"]}
    saved = path.with_suffix(".saved_model")
    tf.saved_model.save(small, str(saved), signatures=functions)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved), signature_keys=list(functions)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    path.write_bytes(converter.convert())
    described = metadata(modality=modality, **changes)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metadata.json", json.dumps(described))
        archive.writestr("scenes.txt", "\n".join(described["scenes"]))
        archive.writestr("events.txt", "\n".join(described["events"]))
    return path
