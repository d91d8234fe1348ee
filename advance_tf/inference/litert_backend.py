"""The model of a LiteRT file."""

import json
import pathlib
import threading
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from advance_tf import labels
from advance_tf.checksums import file_sha256
from advance_tf.config import FeatureConfig
from advance_tf.features.frontend import Frontend
from advance_tf.files import reading
from advance_tf.inference.backends import (
    EMBED,
    EXPORT_AGAIN,
    METADATA,
    SHA256_FLATBUFFER,
    ExportedModel,
    check_metadata,
    no_embeddings,
)
from advance_tf.inference.examples import Example
from advance_tf.inference.model import KINDS, Scores
from advance_tf.inference.prediction import OK


class LiteRTModel(ExportedModel):
    """A `.tflite` file of `advance export`.

    Args:
        path: path of the file.

    Raises:
        ValueError: the file has no metadata, or differs from its checksum.
    """

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__(_lite_metadata(path))
        metadata = self.metadata
        self.path = path
        with reading(path, "be a complete file of `advance export`", EXPORT_AGAIN):
            self._interpreter = Interpreter(model_path=str(path))
            self._signatures = self._interpreter.get_signature_list()
        rate = metadata["sample_rate_hz"]
        # The signatures compute the log-mel, with its statistics, from the waveform;
        # the front end only decodes, so that it needs rate, length and image size.
        # The metadata has no mel settings: the highest frequency is not used, but
        # FeatureConfig accepts none above half of the rate.
        features = FeatureConfig(
            sample_rate_hz=rate,
            clip_seconds=metadata["clip_samples"] / rate,
            mel_max_hz=min(FeatureConfig().mel_max_hz, rate / 2),
            image_size=metadata["image_size"],
            # An export of an earlier version lacks these entries.
            image_resize=metadata.get("image_resize", "bilinear"),
            jpeg_scaling=metadata.get("jpeg_scaling", False),
            max_image_pixels=metadata.get(
                "max_image_pixels", FeatureConfig().max_image_pixels
            ),
        )
        self._frontend = Frontend(features, normalized=False)
        # The tensors of an interpreter hold one example at a time.
        self._lock = threading.Lock()

    def _read(self, example: Example) -> dict[str, Any]:
        row = {}
        if example.image is not None and self.uses("image"):
            image = self._frontend.read_image(example.image)
            row["image"] = image.astype(np.uint8)[None]
        if example.sound is not None and self.uses("sound"):
            row["waveform"] = self._frontend.read_waveform(example.sound)[None]
        return row

    def _scores(self, rows: Sequence[dict[str, Any]]) -> Scores:
        found = [self._run(row) for row in rows]
        scene_probs = np.concatenate([outputs["scene_probs"] for outputs in found])
        event_probs = None
        if any("event_probs" in outputs for outputs in found):
            zeros = np.zeros((1, len(labels.events())), np.float32)
            event_probs = np.concatenate([o.get("event_probs", zeros) for o in found])
        if not np.isfinite(scene_probs).all():
            raise ValueError(
                f"{self.path} must predict finite probabilities; received NaN or "
                "infinity. Its weights are broken: export another run."
            )
        flags = None
        # Files of versions before 0.2.0 have no reasons.
        if all("reason_flags" in outputs for outputs in found):
            flags = np.concatenate([o["reason_flags"] for o in found])[:, :-1]
        return Scores([OK] * len(rows), scene_probs, event_probs, flags=flags)

    def _run(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        single = {"image": "image_only", "waveform": "sound_only"}
        name = "recognize" if len(row) == 2 else single[next(iter(row))]
        return self._outputs(name, row)

    def _outputs(self, name: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """The outputs of a signature, from one thread at a time."""
        with self._lock:
            return dict(self._interpreter.get_signature_runner(name)(**inputs))

    def _embed(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        if EMBED not in self._signatures:
            raise ValueError(no_embeddings(self.path))
        with self._lock:
            details = self._interpreter.get_signature_runner(EMBED).get_input_details()
        zeros = {
            name: np.zeros(detail["shape"], detail["dtype"])
            for name, detail in details.items()
        }
        outputs = self._outputs(EMBED, zeros | row)
        return {
            kind: outputs[f"{kind}_embedding"][0]
            for kind in KINDS
            if f"{kind}_embedding" in outputs
        }


def _lite_metadata(path: pathlib.Path) -> dict[str, Any]:
    rule = f"be a file of `advance export`, with {METADATA} inside"
    with reading(path, rule, EXPORT_AGAIN), zipfile.ZipFile(path) as archive:
        metadata = check_metadata(json.loads(archive.read(METADATA)))
        # The archive follows the flatbuffer.
        size = min(entry.header_offset for entry in archive.infolist())
    # A file of an earlier version has no checksum.
    expected = metadata.get(SHA256_FLATBUFFER)
    if expected is not None and file_sha256(path, size) != expected:
        raise ValueError(
            f"{path} is damaged: the SHA-256 of its model differs from "
            f"`{SHA256_FLATBUFFER}` in its {METADATA}. Copy it again, or export the "
            "run again."
        )
    return metadata
