"""Decoded pairs on disk, so that later epochs do not decode again."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf.config import FeatureConfig
from advance_tf.data.layout import Pair
from advance_tf.data.media import media_errors
from advance_tf.features.clip import fit_clip
from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import log_mel_db
from advance_tf.features.sound import recording_from_bytes
from advance_tf.files import replacing

# Counts up when a decoder changes its result.
_FORMAT = 1


class PairCache:
    """One file for each pair: decoded image and log-mel of the centre cut.

    A file's name depends on the settings of the features and on path, size and
    time of both sources, so that a changed source is decoded again and runs
    with other settings do not meet. A recording longer than a clip is marked,
    because training cuts it at random and needs the sound itself.

    Args:
        cache_dir: folder, may be shared by any number of runs.
        features: what to decode to.
    """

    def __init__(self, cache_dir: str | pathlib.Path, features: FeatureConfig):
        self.features = features
        settings = dataclasses.asdict(features)
        # The cache holds dB before normalization.
        settings.pop("log_mel_stats")
        key = _digest(json.dumps([_FORMAT, settings], sort_keys=True))
        self.folder = pathlib.Path(cache_dir) / key

    def path(self, pair: Pair, data_dir: str | pathlib.Path) -> pathlib.Path:
        """The cache file of a pair, whether it is there or not.

        Args:
            pair: of a manifest.
            data_dir: folder of the data set.

        Returns:
            A path that changes when a source does.
        """
        root = pathlib.Path(data_dir).resolve()
        sources = []
        for name in (pair.image, pair.sound):
            found = (root / name).stat()
            sources.append([str(root / name), found.st_size, found.st_mtime_ns])
        return self.folder / pair.scene / f"{pair.stem}-{_digest(sources)}.pair"

    def fill(
        self,
        pairs: Sequence[Pair],
        data_dir: str | pathlib.Path,
        progress: bool = True,
    ) -> int:
        """Decodes what is missing; what is written stays if it is interrupted.

        Args:
            pairs: of a manifest.
            data_dir: folder of the data set.
            progress: show a bar.

        Returns:
            The number of pairs that were decoded.

        Raises:
            ValueError: a file is missing or cannot be decoded; it is named.
        """
        root = pathlib.Path(data_dir)
        missing = [
            (pair, path)
            for pair in pairs
            if not (path := self.path(pair, root)).exists()
        ]
        if not missing:
            return 0
        sources = (
            [str(root / pair.image) for pair, _ in missing],
            [str(root / pair.sound) for pair, _ in missing],
        )
        decoded = tf.data.Dataset.from_tensor_slices(sources).map(
            self._decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        bar = tqdm(
            zip(missing, decoded.prefetch(2), strict=True),
            "decoding",
            len(missing),
            unit="pair",
            disable=not progress,
        )
        left = [pair for pair, _ in missing]
        with media_errors(left, root, self.features):
            for (_, path), (image, log_mel, is_long) in bar:
                record = np.concatenate(
                    [
                        np.frombuffer(log_mel.numpy().tobytes(), np.uint8),
                        image.numpy().ravel(),
                        np.array([is_long.numpy()], np.uint8),
                    ]
                )
                with replacing(path) as temporary:
                    temporary.write_bytes(record.tobytes())
        return len(missing)

    def _decode(self, image_path, sound_path):
        features = self.features
        image = decode_image(
            tf.io.read_file(image_path), features.image_size, image_path
        )
        recording = recording_from_bytes(
            tf.io.read_file(sound_path), features, sound_path
        )
        clip = fit_clip(recording, features.clip_samples)
        is_long = tf.size(recording) > features.clip_samples
        return tf.cast(image, tf.uint8), log_mel_db(clip, features), is_long

    def read(self, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Reads a cache file, in graph.

        Args:
            path: string scalar.

        Returns:
            The image, float32 [S, S, 3], 0..255; the log-mel in dB, float32
            [frames, mel_bins]; and whether the recording is longer than a clip.
        """
        features = self.features
        shape = (features.frames, features.mel_bins)
        sound_bytes = 4 * shape[0] * shape[1]
        raw = tf.io.decode_raw(tf.io.read_file(path), tf.uint8)
        side = features.image_size
        raw = tf.ensure_shape(raw, [sound_bytes + 3 * side * side + 1])
        log_mel = tf.bitcast(tf.reshape(raw[:sound_bytes], [*shape, 4]), tf.float32)
        image = tf.reshape(raw[sound_bytes:-1], [side, side, 3])
        return tf.cast(image, tf.float32), log_mel, raw[-1] > 0


def _digest(value) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
