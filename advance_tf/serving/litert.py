"""LiteRT: one file with built-in operators, its signatures and its labels."""

import hashlib
import json
import pathlib
import re
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python.convert_phase import ConverterError

from advance_tf.inference.backends import EMBED, METADATA, SHA256_FLATBUFFER
from advance_tf.serving.inference_model import InferenceModel
from advance_tf.serving.parity import Decoded, Probs

RECOGNIZE = "recognize"


def lite_functions(
    model: InferenceModel,
) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
    """The signatures `recognize`, `image_only`, `sound_only` and `embed`.

    Args:
        model: created with `litert=True`: LiteRT has no float64 Fourier transform.

    Returns:
        Name → tf.function of `image` uint8 [1, S, S, 3] and `waveform` float32
        [1, clip_samples]. `recognize` and `embed` take the inputs in use; a model of
        one modality has its own `…_only` in place of `recognize`.
    """
    features, kinds = model.features, model.source.kinds
    side = features.image_size
    specs = {
        "image": tf.TensorSpec([1, side, side, 3], tf.uint8, "image"),
        "waveform": tf.TensorSpec([1, features.clip_samples], tf.float32, "waveform"),
    }

    def recognize(
        image: tf.Tensor | None = None, waveform: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        levels = None if image is None else tf.cast(image, tf.float32)
        return model.probs(levels, waveform)

    functions: dict[str, Callable[..., dict[str, tf.Tensor]]] = {}
    if len(kinds) == 2:
        functions[RECOGNIZE] = tf.function(
            recognize, input_signature=list(specs.values())
        )
    if "image" in kinds:
        functions["image_only"] = tf.function(
            lambda image: recognize(image=image), input_signature=[specs["image"]]
        )
    if "sound" in kinds:
        functions["sound_only"] = tf.function(
            lambda waveform: recognize(waveform=waveform),
            input_signature=[specs["waveform"]],
        )

    def embed(
        image: tf.Tensor | None = None, waveform: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        levels = None if image is None else tf.cast(image, tf.float32)
        found = model.embed(levels, waveform)
        return {f"{kind}_embedding": found[kind] for kind in kinds}

    names = {"image": "image", "sound": "waveform"}
    used = [names[kind] for kind in kinds]
    functions[EMBED] = tf.function(
        lambda *given: embed(**dict(zip(used, given, strict=True))),
        input_signature=[specs[name] for name in used],
    )
    return functions


def convert(model: InferenceModel, folder: pathlib.Path) -> bytes:
    """Converts a model to a float32 flatbuffer of built-in operators.

    Args:
        model: created with `litert=True`.
        folder: empty, for temporary files.

    Returns:
        The flatbuffer.

    Raises:
        ValueError: an operation of the model has no built-in operator.
    """
    functions = lite_functions(model)
    saved = folder / "saved_model"
    tf.saved_model.save(tf.Module(), str(saved), signatures=functions)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved), signature_keys=list(functions)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        return bytes(converter.convert())
    except ConverterError as error:
        text = str(error)
        found = re.search(r"^(?:TF Select|Custom) ops: (.+)", text, re.MULTILINE)
        reason = found[1] if found else text.strip().partition("\n")[0]
        raise ValueError(
            "The operations of the model must have built-in operators of LiteRT; "
            f"received others: {reason}. Export the run as a SavedModel or as ONNX."
        ) from error


def operators(contents: bytes) -> list[str]:
    """The operators of a flatbuffer.

    Args:
        contents: the flatbuffer.

    Returns:
        Sorted names; "CUSTOM …" for one that is not built in.
    """
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


def write_lite(
    path: pathlib.Path, contents: bytes, metadata: Mapping[str, Any]
) -> None:
    """Writes the flatbuffer followed by a ZIP archive of metadata and labels.

    Runtimes read the flatbuffer at the start of the file; `unzip` and Python's
    zipfile read the archive at its end, as with TFLite's own metadata. The metadata
    has the SHA-256 of the flatbuffer, which `load_model` checks; the archive has
    checksums of its own.

    Args:
        path: path of the file.
        contents: the flatbuffer.
        metadata: result of `InferenceModel.describe`.
    """
    path.write_bytes(contents)
    digest = hashlib.sha256(contents).hexdigest()
    text = json.dumps({**metadata, SHA256_FLATBUFFER: digest}, indent=1)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, text)
        for labels in ("scenes", "events"):
            archive.writestr(f"{labels}.txt", "\n".join(metadata[labels]))


def main_signature(signatures: Collection[str]) -> str:
    """The signature of both inputs, or that of a model of one modality.

    >>> main_signature(["image_only", "recognize", "sound_only"])
    'recognize'
    >>> main_signature(["image_only"])
    'image_only'
    """
    return RECOGNIZE if RECOGNIZE in signatures else next(iter(signatures))


class LiteModel:
    """Runs a LiteRT model in memory.

    Args:
        contents: contents of a file of `write_lite`, or a flatbuffer.
        threads: number of threads of the runtime.

    Attributes:
        all_signatures: sorted names.
        signatures: those that return probabilities.
    """

    def __init__(self, contents: bytes, threads: int = 2) -> None:
        self._interpreter = Interpreter(model_content=contents, num_threads=threads)
        self.all_signatures: Sequence[str] = sorted(
            self._interpreter.get_signature_list()
        )
        self.signatures = [name for name in self.all_signatures if name != EMBED]

    def probs(self, decoded: Decoded, signature: str = RECOGNIZE) -> Probs:
        """The probabilities of decoded pairs.

        Args:
            decoded: n pairs, which are predicted one at a time.
            signature: name of the signature to run.

        Returns:
            Output name → float32 [n, …].
        """
        runner = self._interpreter.get_signature_runner(signature)
        names = runner.get_input_details()
        outputs = []
        for image, waveform in zip(decoded.image, decoded.waveform, strict=True):
            given = {"image": image[None], "waveform": waveform[None]}
            outputs.append(runner(**{name: given[name] for name in names}))
        return {name: np.concatenate([o[name] for o in outputs]) for name in outputs[0]}
