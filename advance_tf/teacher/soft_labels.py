"""Soft labels: the teacher's event logits of every pair, with resumption."""

import hashlib
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data.media_errors import media_errors
from advance_tf.data.pairing import Pair
from advance_tf.data.resumable_rows import ResumableRows
from advance_tf.data.rows import Rows, add_rows, blocks, number_rows, path_rows
from advance_tf.features.file_decoders import sound_decoder
from advance_tf.features.pipelines import as_traced, without_autotuning
from advance_tf.teacher.models import Teacher, teacher_features


def soft_labels_key(
    teacher_sha256: str, manifest_sha256: str, features: FeatureConfig
) -> str:
    """Key of the soft labels of a teacher, a manifest and a kind of clip.

    Args:
        teacher_sha256: hash of the teacher; that of a tower covers its features.
        manifest_sha256: hash of the manifest.
        features: those of `teacher_features`: sampling rate and length of the clip,
            the input of any teacher, are part of the key.

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


def logits_key(teacher_logits: Rows) -> str:
    """Key of soft labels whose teacher's kind of clip is not known.

    Knowledge in memory does not state the settings of the clips that it was computed
    from, so that the key of `soft_labels_key` could name other settings.

    Args:
        teacher_logits: float32 [pairs, 527], read in blocks.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for block in blocks(teacher_logits):
        digest.update(block.tobytes())
    return digest.hexdigest()[:16]


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
        features: sampling rate and length of the clip; a teacher with a rate of its own
            scores clips at that rate.
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
    rows = resume_soft_labels(
        teacher,
        pairs,
        data_dir,
        features,
        batch_size=batch_size,
        progress=progress,
        chunks_dir=chunks_dir,
    )
    return rows.array()


def resume_soft_labels(
    teacher: Teacher,
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    *,
    batch_size: int,
    progress: bool,
    chunks_dir: str | pathlib.Path | None,
) -> ResumableRows:
    """Computes the soft labels that `chunks_dir` lacks, see `compute_soft_labels`.

    Args:
        teacher: frozen audio network.
        pairs: pairs of a manifest.
        data_dir: folder of the data set.
        features: sampling rate and length of the clip.
        batch_size: number of clips in a batch.
        progress: show a progress bar.
        chunks_dir: folder of intermediate results, or None.

    Returns:
        All rows; with `chunks_dir` they are in its files, not in memory.

    Raises:
        ValueError: as in `compute_soft_labels`.
    """
    features = teacher_features(teacher, features)
    rows = ResumableRows(
        chunks_dir,
        len(pairs),
        len(labels.events()),
        content="soft labels of an interrupted `advance teach` for these pairs",
        remedy="Remove its folder and run `advance teach` again.",
    )
    bar = tqdm(
        total=len(pairs),
        initial=len(rows),
        desc="soft labels",
        unit="clip",
        disable=None if progress else True,
    )
    with bar, media_errors(pairs, data_dir, features, images=False):
        missing = pairs[len(rows) :]
        for batch in _clips(missing, data_dir, features, batch_size):
            logits = np.asarray(teacher.logits(batch.numpy()), np.float32)  # [B, 527]
            _check_logits(logits, pairs[len(rows) : len(rows) + len(batch)])
            rows.append(logits)
            bar.update(len(logits))
    return rows


@as_traced()
def _clips(
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    batch_size: int,
) -> tf.data.Dataset:
    """Batches of central clips [B, clip_samples], decoded in parallel."""
    columns = {"path": path_rows(pairs, data_dir, "sound")}

    def decode(index: tf.Tensor, row: dict[str, tf.Tensor]) -> tf.Tensor:
        return sound_decoder(features)(row["path"], tf.constant(0.5))

    clips = add_rows(number_rows(len(pairs)), columns, len(pairs)).map(
        decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return without_autotuning(clips.batch(batch_size).prefetch(2))


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
