"""Files of an example → inputs of the recognizer."""

import pathlib

import numpy as np
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data.layout import SOUND_ENDINGS
from advance_tf.data.media import readable
from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize
from advance_tf.features.sound import waveform_from_bytes
from advance_tf.serving.examples import Example, not_wav

# What is given → the input of the recognizer that it becomes.
_KINDS = {"image": "image", "sound": "log_mel"}


class UnreadableError(ValueError):
    """An example cannot be read; the message names the file and the way out."""


class Reader:
    """Reads examples as evaluation does: central cut, no augmentation.

    Args:
        features: of the recognizer.
        modality: what it was trained on: "both", "image" or "sound".
    """

    def __init__(self, features: FeatureConfig, modality: str = "both"):
        self.features = features
        self.modality = modality
        self._stats = load_stats(features)
        text = tf.TensorSpec((), tf.string)
        self._decoders = {
            "image": tf.function(self._image, input_signature=(text, text)),
            "sound": tf.function(self._log_mel, input_signature=(text, text)),
        }

    def uses(self, kind: str) -> bool:
        """Whether the recognizer was trained on "image" or "sound"."""
        return self.modality in ("both", kind)

    def read(self, example: Example) -> dict[str, np.ndarray]:
        """The inputs of one example, zeros for what is not given or not used.

        Args:
            example: its files.

        Returns:
            `image` [S, S, 3] float32 0..255 and `log_mel` [frames, mel_bins]
            float32, normalized.

        Raises:
            UnreadableError: a file cannot be decoded, or the only input that the
                recognizer uses is not given; the message names the file.
            OSError: a file cannot be opened.
        """
        if not any(self.uses(kind) and getattr(example, kind) for kind in _KINDS):
            raise UnreadableError(
                f"This model was trained with --modality={self.modality} and needs "
                f"the {self.modality} of '{example.name}'; received "
                f"{example.image or example.sound} only."
            )
        side = self.features.image_size
        shape = {
            "image": (side, side, 3),
            "sound": (self.features.frames, self.features.mel_bins),
        }
        inputs = {}
        for kind, name in _KINDS.items():
            path = getattr(example, kind) if self.uses(kind) else None
            inputs[name] = (
                np.zeros(shape[kind], np.float32)
                if path is None
                else self._decode(kind, path)
            )
        return inputs

    def _image(self, contents, name):
        return decode_image(contents, self.features.image_size, name=name)

    def _log_mel(self, contents, name):
        waveform = waveform_from_bytes(contents, self.features, name=name)
        return normalize(log_mel_db(waveform, self.features), self._stats)

    def _decode(self, kind: str, path: pathlib.Path) -> np.ndarray:
        if kind == "sound" and path.suffix.lower() not in SOUND_ENDINGS:
            raise UnreadableError(not_wav(path))
        contents = path.read_bytes()
        try:
            decoded = self._decoders[kind](
                tf.constant(contents), tf.constant(str(path))
            )
        except tf.errors.InvalidArgumentError as error:
            message = readable(error)
            if str(path) not in message:
                message = f"{path} cannot be decoded: {message}"
            raise UnreadableError(message) from error
        return decoded.numpy()
