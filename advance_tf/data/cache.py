"""A cache of decoded pairs on disk, so that files are decoded only once."""

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
from advance_tf.data.media_errors import media_errors
from advance_tf.features.frontend import Frontend
from advance_tf.files import replacing

# Increased when a decoder changes its result.
_FORMAT_VERSION = 1


class PairCache:
    """One file for each pair: the decoded image and the log-mel of the centre cut.

    The name of a cache file depends on the feature settings and on path, size and
    modification time of both source files: a changed source is decoded again, and
    runs with different settings use different files. A recording longer than a clip
    is marked, because training cuts it at random and decodes the sound itself.

    Args:
        cache_dir: folder; any number of runs may share it.
        features: settings of image and sound.

    Attributes:
        features: settings of image and sound.
        folder: subfolder of `cache_dir` for these settings.
    """

    def __init__(self, cache_dir: str | pathlib.Path, features: FeatureConfig) -> None:
        self.features = features
        self._frontend = Frontend(features, normalized=False)
        settings = dataclasses.asdict(features)
        # The cache stores dB before normalization.
        settings.pop("log_mel_stats")
        key = _digest(json.dumps([_FORMAT_VERSION, settings], sort_keys=True))
        self.folder = pathlib.Path(cache_dir) / key

    def path(self, pair: Pair, data_dir: str | pathlib.Path) -> pathlib.Path:
        """The path of a pair's cache file, which need not exist.

        Args:
            pair: a pair of the data set.
            data_dir: folder of the data set.

        Returns:
            A path that changes when a source file changes.

        Raises:
            FileNotFoundError: a source file does not exist.
        """
        root = pathlib.Path(data_dir).resolve()
        sources = []
        for name in (pair.image, pair.sound):
            status = (root / name).stat()
            sources.append([str(root / name), status.st_size, status.st_mtime_ns])
        return (
            self.folder
            / pair.scene
            / f"{pair.stem}-{_digest(json.dumps(sources))}.pair"
        )

    def fill(
        self,
        pairs: Sequence[Pair],
        data_dir: str | pathlib.Path,
        progress: bool = True,
    ) -> int:
        """Decodes the pairs that the cache does not contain.

        Files are written one by one: after an interruption the next call decodes
        only the remaining pairs.

        Args:
            pairs: pairs of the data set.
            data_dir: folder of the data set.
            progress: show a progress bar.

        Returns:
            The number of pairs that were decoded.

        Raises:
            ValueError: a file cannot be decoded; the message names it.
            FileNotFoundError: a source file does not exist.
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
        undecoded = [pair for pair, _ in missing]
        with media_errors(undecoded, root, self.features):
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

    def _decode(
        self, image_path: tf.Tensor, sound_path: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Image uint8 [S, S, 3], log-mel in dB, and whether the recording is long."""
        frontend = self._frontend
        image = frontend.decode_image(tf.io.read_file(image_path), image_path)
        recording = frontend.decode_recording(tf.io.read_file(sound_path), sound_path)
        clip = frontend.fit_clip(recording)
        is_long = tf.size(recording) > self.features.clip_samples
        return tf.cast(image, tf.uint8), frontend.log_mel_db(clip), is_long

    def read(self, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Reads a cache file with TensorFlow operations.

        Args:
            path: string scalar, see `path`.

        Returns:
            The image, float32 [S, S, 3] in [0, 255]; the log-mel in dB, float32
            [frames, mel_bins]; and whether the recording is longer than a clip, a
            bool scalar.
        """
        features = self.features
        shape = (features.frames, features.mel_bins)
        sound_bytes = 4 * shape[0] * shape[1]
        raw = tf.io.decode_raw(tf.io.read_file(path), tf.uint8)
        side = features.image_size
        raw = tf.ensure_shape(raw, [sound_bytes + 3 * side * side + 1])
        log_mel_bytes = tf.reshape(raw[:sound_bytes], [*shape, 4])
        log_mel = tf.bitcast(log_mel_bytes, tf.float32)  # [frames, mel_bins]
        image = tf.reshape(raw[sound_bytes:-1], [side, side, 3])  # [S, S, 3]
        return tf.cast(image, tf.float32), log_mel, raw[-1] > 0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
