"""Soft labels: the teacher's event logits of every pair, with resumption."""

import hashlib
import json
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data.layout import Pair
from advance_tf.data.media_errors import media_errors
from advance_tf.features.frontend import Frontend
from advance_tf.files import replacing
from advance_tf.teacher.models import Teacher

# Number of pairs in a chunk, the most that an interruption loses.
_CHUNK_PAIRS = 256


class ResumableRows:
    """Rows of float32 that are appended in order and written chunk by chunk.

    Args:
        folder: folder of the chunks, each named by its first row; existing chunks
            are read and continued. None keeps the rows in memory only.
        total: number of rows when complete.
        columns: number of columns.

    Raises:
        ValueError: the folder contains chunks of other rows, or damaged ones.

    Example:
        >>> rows = ResumableRows(None, total=3, columns=2)
        >>> rows.append(np.zeros((2, 2), np.float32), chunk_rows=10)
        >>> len(rows), rows.array().shape
        (2, (2, 2))
    """

    def __init__(
        self, folder: str | pathlib.Path | None, total: int, columns: int
    ) -> None:
        self._folder = pathlib.Path(folder) if folder else None
        self._columns = columns
        self._written: list[np.ndarray] = []
        self._pending: list[np.ndarray] = []
        self._total = total
        if self._folder:
            self._written = self._read(self._folder)

    def __len__(self) -> int:
        return _row_count(self._written) + _row_count(self._pending)

    def append(self, rows: np.ndarray, chunk_rows: int) -> None:
        """Appends rows; writes a chunk once it is large enough or all rows are there.

        Args:
            rows: float32 [n, columns].
            chunk_rows: minimum number of rows in a chunk, except the last.
        """
        self._pending.append(rows)
        if _row_count(self._pending) < chunk_rows and len(self) < self._total:
            return
        chunk = np.concatenate(self._pending)
        if self._folder:
            first = _row_count(self._written)
            with replacing(self._folder / f"{first:08d}.npy") as temporary:
                np.save(temporary, chunk)
        self._written.append(chunk)
        self._pending = []

    def array(self) -> np.ndarray:
        """All rows appended so far, float32 [rows, columns]."""
        empty = np.empty((0, self._columns), np.float32)
        return np.concatenate([empty, *self._written, *self._pending])

    def _read(self, folder: pathlib.Path) -> list[np.ndarray]:
        """Reads and validates the chunks of a folder, in order."""
        chunks: list[np.ndarray] = []
        while (path := folder / f"{_row_count(chunks):08d}.npy").exists():
            try:
                chunk = np.load(path, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise ValueError(_chunk_error(path, str(error))) from error
            if chunk.dtype != np.float32 or chunk.shape[1:] != (self._columns,):
                received = f"received {chunk.dtype} of shape {chunk.shape}"
                raise ValueError(_chunk_error(path, received))
            if not len(chunk):
                raise ValueError(_chunk_error(path, "received no row"))
            chunks.append(chunk)
        if _row_count(chunks) > self._total:
            message = f"received more than {self._total} rows"
            raise ValueError(_chunk_error(folder, message))
        return chunks


def _row_count(arrays: Sequence[np.ndarray]) -> int:
    return sum(map(len, arrays))


def _chunk_error(path: pathlib.Path, reason: str) -> str:
    return (
        f"{path} must contain soft labels of an interrupted `advance teach` for these "
        f"pairs; {reason}. Remove its folder and run `advance teach` again."
    )


def remove_chunks(folder: str | pathlib.Path) -> None:
    """Removes the chunks of `ResumableRows`, if the folder exists."""
    if pathlib.Path(folder).is_dir():
        shutil.rmtree(folder)


def soft_labels_key(
    teacher_sha256: str, manifest_sha256: str, features: FeatureConfig
) -> str:
    """Key of the soft labels of a teacher, a manifest and a kind of clip.

    Args:
        teacher_sha256: hash of the teacher; that of a tower covers its features.
        manifest_sha256: hash of the manifest.
        features: sampling rate and length of the clip, the input of any teacher,
            are part of the key.

    Returns:
        16 hexadecimal digits.

    Example:
        >>> soft_labels_key("a" * 64, "b" * 64, FeatureConfig())
        '3904cdda1276e97b'
    """
    fields = [
        teacher_sha256,
        manifest_sha256,
        features.sample_rate_hz,
        features.clip_seconds,
    ]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


def compute_soft_labels(
    teacher: Teacher,
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    *,
    batch_size: int = 16,
    progress: bool = True,
    chunks_dir: str | pathlib.Path | None = None,
) -> np.ndarray:
    """Computes the teacher's logits f_e(a, N_a^(0)) of every pair; σ of them is y(a).

    Of a recording longer than a clip the central clip is scored, although training
    cuts it at random: the soft labels are one set for all epochs and do not depend on
    the cut. ADVANCE's recordings are one clip long, where both are the same. Cut
    longer ones into clips first (`advance prepare`) if their events vary over time.

    Args:
        teacher: frozen audio network.
        pairs: pairs of a manifest.
        data_dir: folder of the data set.
        features: sampling rate and length of the clip.
        batch_size: number of clips in a batch.
        progress: show a progress bar.
        chunks_dir: folder of intermediate results, written after every 256 pairs and
            used to resume. It must belong to this teacher and these pairs. None
            stores nothing.

    Returns:
        float32 [pairs, 527].

    Raises:
        ValueError: a sound is missing or cannot be decoded, the teacher's logits are
            not finite [B, 527], or `chunks_dir` belongs to other pairs.
    """
    rows = ResumableRows(chunks_dir, len(pairs), len(labels.events()))
    root = pathlib.Path(data_dir)
    paths = [str(root / pair.sound) for pair in pairs[len(rows) :]]
    bar = tqdm(
        total=len(pairs),
        initial=len(rows),
        desc="soft labels",
        unit="clip",
        disable=not progress,
    )
    with bar, media_errors(pairs, data_dir, features, images=False):
        for batch in _clips(paths, features, batch_size) if paths else ():
            logits = np.asarray(teacher.logits(batch.numpy()), np.float32)  # [B, 527]
            _check_logits(logits, pairs[len(rows) : len(rows) + len(batch)])
            rows.append(logits, _CHUNK_PAIRS)
            bar.update(len(logits))
    return rows.array()


def _clips(
    paths: Sequence[str], features: FeatureConfig, batch_size: int
) -> tf.data.Dataset:
    """Batches of central clips [B, clip_samples], decoded in parallel."""
    frontend = Frontend(features, normalized=False)
    return (
        tf.data.Dataset.from_tensor_slices(paths)
        .map(
            lambda path: frontend.decode_waveform(tf.io.read_file(path), name=path),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .batch(batch_size)
        .prefetch(2)
    )


def _check_logits(logits: np.ndarray, pairs: Sequence[Pair]) -> None:
    """Raises ValueError unless the logits are finite [pairs, 527]."""
    expected = (len(pairs), len(labels.events()))
    if logits.shape != expected:
        raise ValueError(
            f"A teacher must return logits {list(expected)}; received "
            f"{list(logits.shape)}. Use a teacher of AudioSet's 527 events."
        )
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise ValueError(
            "The teacher's logits must be finite; those of "
            f"{pairs[int(np.argmin(finite))].sound} are not. Check the teacher's "
            "weights."
        )
