"""ONNX: the folded recognizer, its calibrated probabilities and its metadata."""

import base64
import json
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from advance_tf.config import Config
from advance_tf.config_io import to_dict
from advance_tf.extras import check_extra
from advance_tf.features.log_mel import load_stats
from advance_tf.inference.events import describe_events
from advance_tf.inference.onnx_backend import (
    CHECKSUM,
    CONFIDENCE,
    METADATA_KEY,
    PROBS,
    OnnxForwardPass,
    append_checksum,
)
from advance_tf.inference.predictor import Predictor
from advance_tf.log_silencing import silence_logs
from advance_tf.models.folding import fold_batch_norms
from advance_tf.models.forward import TOWERS
from advance_tf.models.heads import PRESENT, embedding_model
from advance_tf.runs.calibration import MASKS, StoredCalibration
from advance_tf.serving.inference_model import Source, label_names
from advance_tf.serving.onnx_operators import register_operators
from advance_tf.serving.parity import EncodedPair, check_skew, decode

TOLERANCE = 1e-4


def write_onnx(
    path: pathlib.Path, source: Source, *, version: str = "1", **details: Any
) -> None:
    """Writes the folded recognizer: {"image", "log_mel"} → logits, probabilities, ….

    The outputs are the logits, `scene_probs` at the temperature of the calibration,
    their largest value `confidence`, and the embeddings of the towers in use.

    The model does not decode files: `image` is float32 [B, S, S, 3] with levels
    0..255, `log_mel` is float32 [B, frames, mel_bins], normalized. With an audio
    backbone of waveforms, `waveform` float32 [B, clip_samples] replaces `log_mel`. The
    metadata in the file has the settings of the front end that computes these inputs,
    so that `load_model` opens the file alone, and its SHA-256, which is checked then.

    Args:
        path: path of the `.onnx` file.
        source: the model.
        version: version of the export, for the metadata.
        **details: further entries of the metadata.

    Raises:
        ImportError: onnx or tf2onnx is not installed.
    """
    with silence_logs():
        check_extra("onnx", "onnx", "tf2onnx")
    folded = fold_batch_norms(source.recognizer, source.outputs)
    folded = _with_probs(_with_embeddings(folded, source.kinds), source)
    # Keras exports only models that have been called.
    blank = {name: (1, *x.shape[1:]) for name, x in folded.input.items()}
    folded({name: np.zeros(shape, np.float32) for name, shape in blank.items()})
    with silence_logs():
        register_operators()
        folded.export(str(path), format="onnx", verbose=False)
    import onnx

    model = onnx.load(str(path))
    _remove_unread_inputs(model.graph, folded.input)
    described = describe(source, version=version, **details)
    text = json.dumps({**described, CHECKSUM: True})
    onnx.helper.set_model_props(model, {METADATA_KEY: text})
    onnx.save(model, str(path))
    append_checksum(path)


def _remove_unread_inputs(graph: Any, inputs: Collection[str]) -> None:
    """Removes inputs that a network does not have and that no operator reads.

    tf2onnx adds one for a constant that a layer holds as a tensor, such as the
    position numbers of a vision transformer, although it has folded its value.
    """
    read = {name for node in graph.node for name in node.input}
    for value in list(graph.input):
        if value.name not in inputs and value.name not in read:
            graph.input.remove(value)


def _with_embeddings(folded: keras.Model, kinds: Sequence[str]) -> keras.Model:
    """The model with the embeddings of the towers in use as further outputs."""
    # [B, D_v] and [B, D_a]
    embeddings = dict(zip(TOWERS, embedding_model(folded).output.values(), strict=True))
    outputs = {f"{kind}_embedding": embeddings[kind] for kind in kinds}
    return keras.Model(folded.input, {**folded.output, **outputs}, name=folded.name)


def _with_probs(folded: keras.Model, source: Source) -> keras.Model:
    """The model with `scene_probs` and `confidence` as further outputs.

    A model with a mask has the temperature of the inputs that are there.
    """
    logits = folded.output["scene_logits"]  # [B, 13]
    temperatures = dict.fromkeys(MASKS, 1.0)
    if source.calibration is not None:
        temperatures = dict(source.calibration.temperatures)
    scale: Any = 1 / temperatures[_inputs_of(source)]
    if PRESENT in folded.input and set(temperatures.values()) != {1.0}:
        present = folded.input[PRESENT]
        image, sound = present[:, :1], present[:, 1:]  # [B, 1] each
        scale = (1 - image) * (1 - sound)
        for inputs, (has_image, has_sound) in MASKS.items():
            own = (image if has_image else 1 - image) * (
                sound if has_sound else 1 - sound
            )
            scale = scale + own * (1 / temperatures[inputs])
    probs = keras.ops.softmax(logits * scale)
    outputs = {PROBS: probs, CONFIDENCE: keras.ops.max(probs, axis=1)}
    return keras.Model(folded.input, {**folded.output, **outputs}, name=folded.name)


def output_names(source: Source) -> list[str]:
    """The outputs of the file of a source."""
    embeddings = [f"{kind}_embedding" for kind in source.kinds]
    return [*source.outputs, PROBS, CONFIDENCE, *embeddings]


def _inputs_of(source: Source) -> str:
    """The inputs of the answers of a model without a mask, a key of `MASKS`."""
    return source.kinds[0] if len(source.kinds) == 1 else "both"


def describe(source: Source, *, version: str, **details: Any) -> dict[str, Any]:
    """The metadata of the file: labels, and the settings of the front end.

    Args:
        source: the model.
        version: version of the export.
        **details: further entries.

    Returns:
        Values for JSON.
    """
    scenes, events = label_names()
    knowledge = source.knowledge if source.has_events else None
    sizes = {name: source.recognizer.output[name].shape[-1] for name in source.outputs}
    described = describe_events(sizes, knowledge)
    teacher = None
    if knowledge is not None:
        known = np.asarray(knowledge.event_mask, bool)
        posteriors = np.where(known, knowledge.posteriors, 0).astype(float).tolist()
        teacher = {
            "event_mask": known.tolist(),
            # Without an event head, events follow from the scenes (Eq. 7).
            "posteriors": [] if source.event_output else posteriors,
        }
    stats = load_stats(source.features)
    return {
        "name": source.name,
        "version": version,
        "features": to_dict(Config(features=source.features))["features"],
        "mean_db": stats.mean_db.tolist(),
        "std_db": stats.std_db.tolist(),
        "modality": source.modality,
        "scenes": scenes,
        "events": [] if described.probs is None else events,
        "events_source": described.source,
        "events_of_sound": described.from_sound,
        "teacher_events": teacher,
        "label": source.label,
        **source.describe_answers(),
        "calibration": _encoded(source.calibration),
        **details,
    }


def _encoded(calibration: StoredCalibration | None) -> str:
    """The calibration as text, "" for none."""
    if calibration is None:
        return ""
    return base64.b64encode(calibration.to_bytes()).decode("ascii")


def onnx_skew(
    path: pathlib.Path, source: Source, pairs: Sequence[EncodedPair]
) -> Mapping[str, float]:
    """Differences of ONNX Runtime from the model in memory.

    Args:
        path: path of the `.onnx` file.
        source: what it was built from.
        pairs: encoded pairs of the data set.

    Returns:
        Name of the output → largest difference of a probability; for logits, of the
        probabilities that follow from them.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ValueError: a difference exceeds 1e-4.
    """
    recognizer = OnnxForwardPass(path)
    predictor = source.predictor()
    inputs = predictor.inputs(*decode(source, pairs))
    expected = predictor.predict(inputs, batch_size=8)
    found = predictor.probabilities(recognizer(inputs))
    skew = {"scene_logits": _largest(expected.scene_probs - found.scene_probs)}
    if source.event_output:
        # Both have probabilities: an event head is among the outputs.
        assert expected.events.probs is not None
        assert found.events.probs is not None
        difference = expected.events.probs - found.events.probs
        skew[source.event_output] = _largest(difference)
    skew |= _probs_skew(recognizer, predictor, source, inputs)
    check_skew("ONNX model", skew, TOLERANCE * source.rounding_factor)
    return skew


def _probs_skew(
    recognizer: OnnxForwardPass,
    predictor: Predictor,
    source: Source,
    inputs: Mapping[str, np.ndarray],
) -> dict[str, float]:
    """Differences of `scene_probs` and `confidence`, with a mask for all its values."""
    differences: dict[str, list[float]] = {PROBS: [], CONFIDENCE: []}
    for mask in MASKS if predictor.takes_mask else (_inputs_of(source),):
        present = np.tile(MASKS[mask], (len(inputs["image"]), 1))
        given = {**inputs, PRESENT: present}
        expected = predictor.predict(given, batch_size=8).scene_probs
        found = recognizer.calibrated(given)
        differences[PROBS].append(_largest(found[PROBS] - expected))
        largest = found[CONFIDENCE] - expected.max(axis=1)
        differences[CONFIDENCE].append(_largest(largest))
    return {name: float(np.max(values)) for name, values in differences.items()}


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())
