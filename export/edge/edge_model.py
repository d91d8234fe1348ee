"""An exported model on LiteRT, and the metadata in its file."""

import hashlib
import json
import pathlib
import struct
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from edge_files import Example
from edge_inputs import MAX_PIXELS, read_image, read_sound
from PIL import Image

# Exceptions of the decoders for damaged files.
_UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    EOFError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)
# Entries of metadata.json that are read.
_KEYS = {
    "clip_samples",
    "events",
    "events_of_sound",
    "image_size",
    "label",
    "sample_rate_hz",
    "scenes",
}

_BLOCK_BYTES = 1 << 20
# Signatures that return probabilities. `embed` has no runner: it would reserve memory
# for its tensors, and this program does not use it.
_SIGNATURES = ("recognize", "image_only", "sound_only")


class Model:
    """An exported model and its metadata.

    Attributes:
        metadata: of metadata.json in the file.
        reads_image: whether the model uses an image.
        reads_sound: whether the model uses a sound.
    """

    def __init__(self, path: str, threads: int):
        """Loads the model.

        Args:
            path: of a .tflite file with appended metadata.
            threads: of LiteRT.

        Raises:
            ValueError: the file is missing, or it is not an exported model.
        """
        failures = (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile)
        try:
            with zipfile.ZipFile(path) as archive:
                self.metadata = json.loads(archive.read("metadata.json"))
                size = min(entry.header_offset for entry in archive.infolist())
            if missing := _KEYS - self.metadata.keys():
                raise ValueError(f"its metadata lack {', '.join(sorted(missing))}")
            _check_flatbuffer(path, size, self.metadata)
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        except failures as error:
            raise ValueError(
                f"The model {path} must be a .tflite file of `advance export` with its "
                f"metadata; reading it failed: {one_line(error)}."
            ) from error
        signatures = self._interpreter.get_signature_list()
        self._runners = {
            name: self._interpreter.get_signature_runner(name)
            for name in _SIGNATURES
            if name in signatures
        }
        self.reads_image = "image_only" in signatures
        self.reads_sound = "sound_only" in signatures

    def read(self, example: Example) -> dict[str, np.ndarray]:
        """Reads the files that the model uses.

        Args:
            example: paths of an image, of a sound, or of both.

        Returns:
            Inputs by name: `image` uint8 [1, S, S, 3], `waveform` float32 [1, n] or
            both.

        Raises:
            ValueError: a file cannot be read; the message names it.
        """
        inputs = {}
        for kind, path, wanted, reader in (
            ("image", example.image, self.reads_image, self._read_image),
            ("waveform", example.sound, self.reads_sound, self._read_sound),
        ):
            if path is None or not wanted:
                continue
            try:
                inputs[kind] = reader(path)[None]
            except _UNREADABLE as error:
                raise ValueError(
                    f"{path} cannot be read: {one_line(error)}."
                ) from error
        return inputs

    def _read_image(self, path: pathlib.Path) -> np.ndarray:
        metadata = self.metadata
        # A file of an earlier version lacks the entries that have a default here.
        return read_image(
            path,
            metadata["image_size"],
            metadata.get("image_resize", "bilinear"),
            jpeg_scaling=metadata.get("jpeg_scaling", False),
            max_pixels=metadata.get("max_image_pixels", MAX_PIXELS),
        )

    def _read_sound(self, path: pathlib.Path) -> np.ndarray:
        metadata = self.metadata
        return read_sound(path, metadata["clip_samples"], metadata["sample_rate_hz"])

    def probs(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predicts one example.

        Args:
            inputs: `image` uint8 [1, S, S, 3], `waveform` float32 [1, n] or both.

        Returns:
            `scene_probs` [13] and, where the model predicts events, `event_probs`
            [527]; `confidence`, and `reason_flags`, 1 for each of the `reasons` of
            the metadata that makes the scene unknown.

        Raises:
            ValueError: there is no input that the model uses, or an output is not
                finite.
        """
        if not inputs:
            kind = "an image" if self.reads_image else "a sound"
            raise ValueError(f"This model uses {kind} only; received none.")
        single = {"image": "image_only", "waveform": "sound_only"}
        signature = "recognize" if len(inputs) == 2 else single[next(iter(inputs))]
        outputs = {k: v[0] for k, v in self._runners[signature](**inputs).items()}
        if not all(np.isfinite(probs).all() for probs in outputs.values()):
            raise ValueError(
                "The model's probabilities must be finite; received NaN or infinity. "
                "Its weights are broken: export another run."
            )
        if self.metadata["events_of_sound"] and "waveform" not in inputs:
            outputs.pop("event_probs", None)
        return outputs


def _check_flatbuffer(path: str, size: int, metadata: dict) -> None:
    """Raises ValueError if the bytes before the archive differ from their checksum."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while size and (block := file.read(min(size, _BLOCK_BYTES))):
            digest.update(block)
            size -= len(block)
    # A file of an earlier version has no checksum.
    if digest.hexdigest() != metadata.get("sha256_flatbuffer", digest.hexdigest()):
        raise ValueError(
            "it is damaged: the SHA-256 of the model differs from sha256_flatbuffer "
            "in its metadata; copy it again"
        )


def one_line(error: BaseException) -> str:
    """The message of an error as one line without a full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
