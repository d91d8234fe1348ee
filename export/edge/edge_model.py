"""An exported model on LiteRT, with the metadata in its file."""

import json
import struct
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from edge_inputs import Example, read_image, read_sound
from PIL import Image

# What decoders raise on broken files.
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
# What is read of metadata.json.
_KEYS = {
    "clip_samples",
    "events",
    "events_of_sound",
    "image_size",
    "label",
    "scenes",
}


class Model:
    """An exported model and its metadata.

    Attributes:
        metadata: of metadata.json in the file.
        reads_image: whether it can use an image.
        reads_sound: whether it can use a sound.
    """

    def __init__(self, path: str, threads: int):
        """Loads the model.

        Args:
            path: of a .tflite file with appended metadata.
            threads: that LiteRT may use.

        Raises:
            ValueError: the file is missing or no exported model.
        """
        failures = (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile)
        try:
            with zipfile.ZipFile(path) as archive:
                self.metadata = json.loads(archive.read("metadata.json"))
            if missing := _KEYS - self.metadata.keys():
                raise ValueError(f"its metadata lack {', '.join(sorted(missing))}")
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        except failures as error:
            raise ValueError(
                f"The model {path} must be a .tflite file with its metadata, as the "
                f"export writes it; {one_line(error)}."
            ) from error
        signatures = self._interpreter.get_signature_list()
        self._runners = {
            name: self._interpreter.get_signature_runner(name) for name in signatures
        }
        self.reads_image = "image_only" in signatures
        self.reads_sound = "sound_only" in signatures

    def read(self, example: Example) -> dict[str, np.ndarray]:
        """Inputs of the model by name; what it does not use is not read.

        Args:
            example: whose files are read.

        Returns:
            `image` uint8 [1, S, S, 3], `waveform` float32 [1, n] or both.

        Raises:
            ValueError: a file cannot be read; it is named.
        """
        inputs = {}
        for kind, path, wanted, reader, size in (
            ("image", example.image, self.reads_image, read_image, "image_size"),
            ("waveform", example.sound, self.reads_sound, read_sound, "clip_samples"),
        ):
            if path is None or not wanted:
                continue
            try:
                inputs[kind] = reader(path, self.metadata[size])[None]
            except _UNREADABLE as error:
                raise ValueError(
                    f"{path} cannot be read: {one_line(error)}."
                ) from error
        return inputs

    def probs(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """scene_probs [13] and, where the model tells events, event_probs [527].

        Args:
            inputs: `image` uint8 [1, S, S, 3], `waveform` float32 [1, n] or both.

        Raises:
            ValueError: there is no input that the model reads, or an output is
                not finite.
        """
        if not inputs:
            kind = "an image" if self.reads_image else "a sound"
            raise ValueError(f"This model reads {kind} alone; received none.")
        alone = {"image": "image_only", "waveform": "sound_only"}
        signature = "recognize" if len(inputs) == 2 else alone[next(iter(inputs))]
        outputs = {k: v[0] for k, v in self._runners[signature](**inputs).items()}
        if not all(np.isfinite(probs).all() for probs in outputs.values()):
            raise ValueError(
                "The model's probabilities must be finite; received NaN or infinity. "
                "Its weights are broken: export it again."
            )
        if self.metadata["events_of_sound"] and "waveform" not in inputs:
            outputs.pop("event_probs", None)
        return outputs


def one_line(error: BaseException) -> str:
    """What an error says, as one line without a full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
