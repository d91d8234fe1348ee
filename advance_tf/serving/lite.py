"""One file for edge devices: built-in operators, three signatures, labels inside."""

import json
import pathlib
import zipfile
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from advance_tf.serving.answers import Decoded, Probs
from advance_tf.serving.served import Answering, label_names

RECOGNIZE = "recognize"
METADATA = "metadata.json"


def lite_functions(answering: Answering) -> dict[str, Any]:
    """The signatures: `recognize` of both inputs, `image_only`, `sound_only`.

    Args:
        answering: made with `precise=False`: no edge runtime transforms float64.

    Returns:
        Name → tf.function of uint8 [1, S, S, 3] levels and float32
        [1, clip_samples]; a model of one modality has that signature alone.
    """
    features, kinds = answering.features, answering.source.kinds
    side = features.image_size
    specs = {
        "image": tf.TensorSpec([1, side, side, 3], tf.uint8, "image"),
        "waveform": tf.TensorSpec([1, features.clip_samples], tf.float32, "waveform"),
    }

    def recognize(image=None, waveform=None):
        seen = None if image is None else tf.cast(image, tf.float32)
        return answering.probs(seen, waveform)

    ways: dict[str, Any] = {}
    if len(kinds) == 2:
        ways[RECOGNIZE] = tf.function(recognize, input_signature=list(specs.values()))
    if "image" in kinds:
        ways["image_only"] = tf.function(
            lambda image: recognize(image=image), input_signature=[specs["image"]]
        )
    if "sound" in kinds:
        ways["sound_only"] = tf.function(
            lambda waveform: recognize(waveform=waveform),
            input_signature=[specs["waveform"]],
        )
    return ways


def convert(answering: Answering, folder: pathlib.Path) -> bytes:
    """The float32 model of built-in operators.

    Args:
        answering: made with `precise=False`.
        folder: an empty one to work in.

    Returns:
        The flatbuffer.

    Raises:
        ValueError: it holds an operator that is not built in.
    """
    functions = lite_functions(answering)
    saved = folder / "saved_model"
    tf.saved_model.save(tf.Module(), str(saved), signatures=functions)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved), signature_keys=list(functions)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    contents = converter.convert()
    foreign = [name for name in operators(contents) if name.startswith("CUSTOM")]
    if foreign:
        raise ValueError(
            f"The model must hold built-in operators only; it has {foreign}."
        )
    return contents


def operators(contents: bytes) -> list[str]:
    """The names of the operators in a flatbuffer, sorted; "CUSTOM …" if foreign."""
    names = {
        value: name
        for name, value in vars(schema.BuiltinOperator).items()
        if not name.startswith("_")
    }
    model = schema.ModelT.InitFromPackedBuf(contents, 0)
    found = set()
    for code in model.operatorCodes:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        custom = f" {code.customCode.decode()}" if code.customCode else ""
        found.add(names[number] + custom)
    return sorted(found)


def describe(
    answering: Answering, *, version: str, quantization: str, weights_sha256: str
) -> dict[str, Any]:
    """metadata.json: what a device must know to read, ask and answer."""
    scenes, events = label_names()
    source, features = answering.source, answering.features
    tells = answering.tells_events(source.kinds)
    return {
        "name": source.name,
        "version": version,
        "sample_rate_hz": features.sample_rate_hz,
        "clip_samples": features.clip_samples,
        "image_size": features.image_size,
        "modality": source.modality,
        "quantization": quantization,
        "scenes": scenes,
        "events": events if tells else [],
        "events_source": answering.events_source,
        "events_of_sound": answering.events_of_sound,
        "label": source.label,
        "sha256_weights": weights_sha256,
    }


def write_lite(
    path: pathlib.Path, contents: bytes, metadata: Mapping[str, Any]
) -> None:
    """Writes the flatbuffer with its labels appended as a ZIP archive.

    Runtimes read the flatbuffer at the front, `unzip` and Python's zipfile the
    archive at the end: the way of TFLite's own metadata.

    Args:
        path: of the file.
        contents: the flatbuffer.
        metadata: of `describe`.
    """
    path.write_bytes(contents)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, json.dumps(metadata, indent=1))
        for labels in ("scenes", "events"):
            archive.writestr(f"{labels}.txt", "\n".join(metadata[labels]))


def main_signature(signatures: Collection[str]) -> str:
    """The signature of both inputs, or the only one of a model of one modality."""
    return RECOGNIZE if RECOGNIZE in signatures else next(iter(signatures))


class LiteModel:
    """A file of `write_lite` or a flatbuffer in memory, ready to ask.

    Args:
        contents: of the file.
        threads: of the runtime.
    """

    def __init__(self, contents: bytes, threads: int = 2):
        self._interpreter = Interpreter(model_content=contents, num_threads=threads)
        self.signatures: Sequence[str] = sorted(self._interpreter.get_signature_list())

    def probs(self, decoded: Decoded, signature: str = RECOGNIZE) -> Probs:
        """The probabilities of decoded pairs, one by one.

        Args:
            decoded: pairs.
            signature: which way to ask.

        Returns:
            Name → [n, …].
        """
        runner = self._interpreter.get_signature_runner(signature)
        names = runner.get_input_details()
        answers = []
        for image, waveform in zip(decoded.image, decoded.waveform, strict=True):
            given = {"image": image[None], "waveform": waveform[None]}
            answers.append(runner(**{name: given[name] for name in names}))
        return {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}
