"""A cache of decoded pairs on disk, so that files are decoded only once."""

import hashlib
import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf.config import FeatureConfig
from advance_tf.config_io import key_settings
from advance_tf.data.media_errors import media_errors
from advance_tf.data.pairing import Pair
from advance_tf.data.rows import (
    ComputedRows,
    Rows,
    add_rows,
    blocks,
    number_rows,
    path_rows,
)
from advance_tf.data.shards import media_path
from advance_tf.features.file_decoders import image_decoder, sound_decoder
from advance_tf.features.media_files import container, read_media
from advance_tf.features.pipelines import as_traced, without_autotuning
from advance_tf.features.waveform import is_longer_than_clip
from advance_tf.files import PARTIAL_SECONDS, remove_partial_files, replacing

# Increased when a decoder changes its result, or a file its form.
_FORMAT_VERSION = 2
# The last bytes of a file: a fingerprint of those before it.
_FINGERPRINT_BYTES = 8


class PairCache:
    """One file for each pair: the decoded image and the sound of the centre cut.

    A file ends with the FarmHash fingerprint of its bytes, which every reading checks.

    The name of a cache file depends on the feature settings and on path, size and
    modification time of both source files: a changed source is decoded again, and
    runs with different settings use different files. A recording longer than a clip
    is marked, because training cuts it at random and decodes the sound itself.

    Args:
        cache_dir: folder; any number of runs may share it.
        features: settings of image and sound.
        sound_input: form of the sounds: "log_mel" in dB, or "waveform".

    Attributes:
        features: settings of image and sound.
        sound_input: form of the sounds.
        folder: subfolder of `cache_dir` for these settings.
    """

    def __init__(
        self,
        cache_dir: str | pathlib.Path,
        features: FeatureConfig,
        sound_input: str = "log_mel",
    ) -> None:
        self.features = features
        self.sound_input = sound_input
        settings = key_settings(features)
        # The cache stores dB before normalization.
        settings.pop("log_mel_stats")
        # The limit changes which images are read, not their values.
        settings.pop("max_image_pixels", None)
        if sound_input != "log_mel":
            settings["sound_input"] = sound_input
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
        return pathlib.Path(next(self._paths([pair], data_dir)))

    def path_rows(
        self, pairs: Sequence[Pair], data_dir: str | pathlib.Path
    ) -> ComputedRows:
        """The paths of the cache files of pairs, as a column of `rows.add_rows`.

        They are those at the time of the call: later changes of the sources have no
        effect.

        Args:
            pairs: n pairs of the data set.
            data_dir: folder of the data set.

        Returns:
            object [n], each the bytes of a path, see `path`.

        Raises:
            FileNotFoundError: a source file does not exist.
        """
        # Eight bytes for each pair instead of a path.
        keys = (int(key, 16) for key in _source_keys(pairs, data_dir))
        kept = np.fromiter(keys, np.uint64, len(pairs))

        def read(rows: np.ndarray) -> np.ndarray:
            paths = [
                os.fsencode(self._path(pairs[row], f"{key:016x}"))
                for row, key in zip(rows.tolist(), kept[rows].tolist(), strict=True)
            ]
            return np.array(paths, object)

        return ComputedRows(read, (len(pairs),), object)

    def _path(self, pair: Pair, key: str) -> str:
        return os.path.join(self.folder, pair.scene, f"{pair.stem}-{key}.pair")

    def _paths(
        self, pairs: Sequence[Pair], data_dir: str | pathlib.Path
    ) -> Iterator[str]:
        """The paths of the cache files of pairs, see `path`."""
        return map(self._path, pairs, _source_keys(pairs, data_dir))

    def fill(
        self,
        pairs: Sequence[Pair],
        data_dir: str | pathlib.Path,
        progress: bool = True,
    ) -> int:
        """Decodes the pairs that the cache does not contain.

        Files are written one by one: after an interruption the next call decodes
        only the remaining pairs. Temporary files that are older than a day are removed.

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
        paths = self._paths(pairs, data_dir)
        missing = [
            pair
            for pair, path in zip(pairs, paths, strict=True)
            if not os.path.exists(path)
        ]
        if not missing:
            return 0
        # Runs share a cache.
        remove_partial_files(self.folder, 1, min_age_seconds=PARTIAL_SECONDS)
        columns = {
            kind: path_rows(missing, data_dir, kind) for kind in ("image", "sound")
        }
        with as_traced():
            decoded = add_rows(number_rows(len(missing)), columns, len(missing)).map(
                lambda _, row: self._decode(row["image"], row["sound"]),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        decoded = without_autotuning(decoded.prefetch(2))
        bar = tqdm(
            zip(self._paths(missing, data_dir), decoded, strict=True),
            "decoding",
            len(missing),
            unit="pair",
            disable=None if progress else True,
        )
        with media_errors(missing, data_dir, self.features):
            for path, (image, sound, is_long) in bar:
                record = np.concatenate(
                    [
                        np.frombuffer(sound.numpy().tobytes(), np.uint8),
                        image.numpy().ravel(),
                        np.array([is_long.numpy()], np.uint8),
                    ]
                )
                fingerprint = _fingerprint(tf.constant(record)).numpy()
                with replacing(pathlib.Path(path)) as temporary:
                    temporary.write_bytes(record.tobytes() + fingerprint.tobytes())
        return len(missing)

    def _decode(
        self, image_path: tf.Tensor, sound_path: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Image uint8 [S, S, 3], sound, and whether the recording is long."""
        image = image_decoder(self.features)(image_path)  # [S, S, 3]
        decode = sound_decoder(self.features, self.sound_input)
        sound = decode(sound_path, tf.constant(0.5))
        is_long = is_longer_than_clip(read_media(sound_path), self.features)
        return tf.cast(image, tf.uint8), sound, is_long

    @staticmethod
    def has_long_recordings(paths: Rows) -> bool:
        """Whether a recording is longer than a clip.

        Args:
            paths: object [n], result of `path_rows`.

        Returns:
            True if training has to cut a recording at random, and so to decode it.

        Raises:
            FileNotFoundError: a cache file does not exist.
            ValueError: a cache file is cut off.
        """
        for path in itertools.chain.from_iterable(blocks(paths)):
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size <= _FINGERPRINT_BYTES:
                    raise ValueError(
                        f"The cache file {os.fsdecode(path)} must be complete; it has "
                        f"{size} bytes. Remove it; the next run decodes its pair again."
                    )
                file.seek(size - 1 - _FINGERPRINT_BYTES)
                if file.read(1) != b"\0":
                    return True
        return False

    def read(self, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Reads a cache file with TensorFlow operations.

        Args:
            path: string scalar, see `path`.

        Returns:
            The image, uint8 [S, S, 3]; the sound, float32: log-mel in dB [frames,
            mel_bins], or waveform [clip_samples]; and whether the recording is
            longer than a clip, a bool scalar.
        """
        features = self.features
        shape = features.sound_shape(self.sound_input)
        sound_bytes = 4 * math.prod(shape)
        side = features.image_size
        size = sound_bytes + 3 * side * side + 1
        contents = tf.io.read_file(path)
        stored = tf.strings.length(contents)
        total = size + _FINGERPRINT_BYTES
        rule = ["The cache file ", path, f" must be a valid file of {total} bytes; it "]
        text = tf.strings.join([*rule, "has ", tf.strings.as_string(stored), "."])
        with tf.control_dependencies([tf.debugging.Assert(stored == total, [text])]):
            raw = tf.ensure_shape(tf.io.decode_raw(contents, tf.uint8), [total])
        is_same = _fingerprint(raw[:size]) == tf.bitcast(raw[size:], tf.int64)
        text = tf.strings.join([*rule, "is damaged."])
        with tf.control_dependencies([tf.debugging.Assert(is_same, [text])]):
            raw = raw[:size]
        # [frames, mel_bins] or [clip_samples]
        sound = tf.bitcast(tf.reshape(raw[:sound_bytes], [*shape, 4]), tf.float32)
        image = tf.reshape(raw[sound_bytes:-1], [side, side, 3])  # [S, S, 3]
        return image, sound, raw[-1] > 0


def _fingerprint(contents: tf.Tensor) -> tf.Tensor:
    """FarmHash's Fingerprint64 of bytes, uint8 [n] → int64."""
    return tf.bitcast(tf.fingerprint(contents[None]), tf.int64)[0]


def _source_keys(pairs: Iterable[Pair], data_dir: str | pathlib.Path) -> Iterator[str]:
    """Keys of path, size and modification time of the files of pairs."""
    root = pathlib.Path(data_dir).resolve()
    for pair in pairs:
        sources: list[list[str | int]] = []
        for name in (media_path(root, pair.image), media_path(root, pair.sound)):
            status = os.stat(container(name))
            sources.append([name, status.st_size, status.st_mtime_ns])
        if pair.image.lower().endswith(".bmp"):
            # Version 0.1 ignored the palette.
            sources.append(["palette"])
        yield _digest(json.dumps(sources))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
