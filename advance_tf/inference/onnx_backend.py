"""The model of an ONNX file: the front end of the library and ONNX Runtime."""

import base64
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from advance_tf.checksums import file_sha256
from advance_tf.config import Config
from advance_tf.config_io import from_dict, to_dict
from advance_tf.extras import requires_extra
from advance_tf.features.log_mel import LogMelStats
from advance_tf.files import reading
from advance_tf.inference.backends import EXPORT_AGAIN, RunModel, no_embeddings
from advance_tf.inference.predictor import Predictor
from advance_tf.models.forward import TOWERS, ForwardPass
from advance_tf.models.heads import PRESENT
from advance_tf.runs.calibration import StoredCalibration

# Key of the metadata in the file.
METADATA_KEY = "advance_tf"
# Key of the SHA-256 in the file, and of whether it must have one in the metadata.
CHECKSUM = "sha256"
# Outputs with the temperature of the calibration applied.
PROBS, CONFIDENCE = "scene_probs", "confidence"
_EMBEDDING = "_embedding"
# Field of the metadata in the message of a model, and of its key and value, as tags of
# protocol buffers: 8 times the number, plus 2 for a length and bytes.
_PROPERTY, _KEY, _VALUE = 8 * 14 + 2, 8 * 1 + 2, 8 * 2 + 2


def _checksum_property(digest: str) -> bytes:
    """The encoded entry of the metadata that holds the SHA-256."""
    key, value = CHECKSUM.encode(), digest.encode()
    entry = bytes([_KEY, len(key)]) + key + bytes([_VALUE, len(value)]) + value
    return bytes([_PROPERTY, len(entry)]) + entry


def append_checksum(path: pathlib.Path) -> None:
    """Appends the SHA-256 of an ONNX file to its metadata, which it then ends with.

    Protocol buffers read a field behind the others as one among them.

    Args:
        path: path of the file.
    """
    entry = _checksum_property(file_sha256(path))
    with open(path, "ab") as file:
        file.write(entry)


def _has_valid_end(path: pathlib.Path) -> bool:
    """Whether a file ends with the SHA-256 of what is before it."""
    size = path.stat().st_size - len(_checksum_property("0" * 64))
    if size < 0:
        return False
    with open(path, "rb") as file:
        file.seek(size)
        return file.read() == _checksum_property(file_sha256(path, size))


@dataclasses.dataclass(frozen=True, eq=False)
class _Events:
    """Events of the teacher, from the metadata."""

    event_mask: np.ndarray
    posteriors: np.ndarray


class OnnxForwardPass(ForwardPass):
    """The recognizer of an ONNX file in ONNX Runtime, on the CPU.

    Args:
        path: path of the file.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ValueError: the file is not a model of `advance export`, or is damaged.
    """

    def __init__(self, path: pathlib.Path) -> None:
        with requires_extra("onnx"):
            import onnxruntime
        self.path = path
        options = onnxruntime.SessionOptions()
        # Errors only; they are raised too.
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            properties = self._session.get_modelmeta().custom_metadata_map
            self.metadata: dict[str, Any] = json.loads(properties[METADATA_KEY])
        # Errors of ONNX Runtime have no base class of their own.
        except Exception as error:
            raise ValueError(
                f"{path} must be an ONNX file of `advance export`, with its metadata "
                f"inside; reading it failed: {error}. Export the run again with this "
                "version."
            ) from error
        # A file of an earlier version has no checksum.
        is_checked = self.metadata.get(CHECKSUM) or CHECKSUM in properties
        if is_checked and not _has_valid_end(path):
            raise ValueError(
                f"{path} is damaged: its SHA-256 differs from `{CHECKSUM}` in its "
                "metadata. Copy it again, or export the run again."
            )
        self._inputs = [node.name for node in self._session.get_inputs()]
        if "waveform" in self._inputs:
            self.sound_input = "waveform"
        self.takes_mask = PRESENT in self._inputs
        outputs = {node.name: node.shape[-1] for node in self._session.get_outputs()}
        self.sizes = {k: n for k, n in outputs.items() if k.endswith("_logits")}
        self._embeddings = [name for name in outputs if name.endswith(_EMBEDDING)]

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes logits and embeddings of a batch; see `ForwardPass`."""
        return self._run([*self.sizes, *self._embeddings], inputs)

    def calibrated(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes the calibrated outputs of a batch.

        Args:
            inputs: as for a call.

        Returns:
            `scene_probs` float32 [n, 13] and `confidence` [n].
        """
        return self._run([PROBS, CONFIDENCE], inputs)

    def embed(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes the embeddings of the towers in use; see `ForwardPass`.

        Raises:
            ValueError: the file has no embeddings.
        """
        if not self._embeddings:
            raise ValueError(no_embeddings(self.path))
        found = self._run(self._embeddings, inputs)
        return {
            kind: found[f"{kind}{_EMBEDDING}"]
            for kind in TOWERS
            if f"{kind}{_EMBEDDING}" in found
        }

    def _run(
        self, names: list[str], inputs: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        given = {name: np.asarray(inputs[name], np.float32) for name in self._inputs}
        return dict(zip(names, self._session.run(names, given), strict=True))


def _calibration(metadata: Mapping[str, Any]) -> StoredCalibration | None:
    """The calibration in the metadata of a file; files of early versions have none."""
    text = metadata.get("calibration")
    return StoredCalibration.from_bytes(base64.b64decode(text)) if text else None


class OnnxModel(RunModel):
    """An `.onnx` file of `advance export`.

    The front end of the library decodes files and computes log-mels with the settings
    and statistics in the metadata of the file; ONNX Runtime computes the logits.

    Args:
        path: path of the file.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ValueError: the file is not a model of `advance export`.
    """

    def __init__(self, path: pathlib.Path) -> None:
        recognizer = OnnxForwardPass(path)
        self.path, self.metadata = path, recognizer.metadata
        rule = "have the metadata of `advance export` inside"
        with reading(path, rule, EXPORT_AGAIN):
            predictor, label = self._predictor(recognizer)
        super().__init__(predictor, label)
        self.min_confidence = self.metadata.get("min_confidence", 0.0)

    def _predictor(self, recognizer: OnnxForwardPass) -> tuple[Predictor, str]:
        """The predictor and the label of the metadata."""
        metadata, teacher = self.metadata, None
        if metadata["teacher_events"] is not None:
            teacher = _Events(
                np.array(metadata["teacher_events"]["event_mask"], bool),
                np.array(metadata["teacher_events"]["posteriors"], np.float32),
            )
        # A setting that a later version added has its value of earlier versions.
        config = to_dict(Config()) | {"features": metadata["features"]}
        predictor = Predictor(
            recognizer,
            from_dict(config).features,
            modality=metadata["modality"],
            knowledge=teacher,
            calibration=_calibration(metadata),
            stats=LogMelStats(
                np.array(metadata["mean_db"], np.float32),
                np.array(metadata["std_db"], np.float32),
            ),
        )
        return predictor, str(metadata["label"])
