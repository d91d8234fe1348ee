"""The teacher hears every pair, once; an interrupted hearing goes on."""

import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data.layout import Pair
from advance_tf.data.media import media_errors
from advance_tf.features.sound import waveform_from_bytes
from advance_tf.teacher.parts import Parts

# Pairs that an interruption may cost.
_PART_PAIRS = 256


class Teacher(Protocol):
    """A frozen audio network that knows events.

    Attributes:
        name: short, for reports.
        sha256: hash of its weights and of how it hears.
        event_mask: bool [527], the events that it knows.
    """

    name: str
    sha256: str
    event_mask: np.ndarray

    def logits(self, waveforms: np.ndarray) -> np.ndarray:
        """Event logits [B, 527] of clips [B, samples]."""


def soft_labels_key(
    teacher_sha256: str, manifest_sha256: str, features: FeatureConfig
) -> str:
    """The key under which soft labels are kept.

    Args:
        teacher_sha256: hash of the teacher; that of a tower covers its features.
        manifest_sha256: hash of the manifest.
        features: rate and length of the clip, what any teacher is given, are
            part of the key.

    Returns:
        16 hexadecimal digits.
    """
    parts = [
        teacher_sha256,
        manifest_sha256,
        features.sample_rate_hz,
        features.clip_seconds,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def compute_soft_labels(
    teacher: Teacher,
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    *,
    batch_size: int = 16,
    progress: bool = True,
    parts_dir: str | pathlib.Path | None = None,
) -> np.ndarray:
    """The teacher's logits f_e(a, N_a^(0)) of every pair; σ of them is y(a).

    A recording longer than a clip is heard at its centre, although training cuts
    it at random: the soft labels are those of the place, one for all epochs, and
    not of the cut. ADVANCE's recordings are one clip long, where both are the
    same; cut longer ones to clips beforehand (`python -m advance_tf.prepare`) if
    their events change on the way.

    Args:
        teacher: frozen.
        pairs: of a manifest.
        data_dir: folder of the data set.
        features: rate and length of the clip.
        batch_size: clips at a time.
        progress: show a bar.
        parts_dir: folder of what was heard so far; written after every 256 pairs
            and gone on from. It must belong to this teacher and these pairs.
            None keeps nothing.

    Returns:
        float32 [pairs, 527].

    Raises:
        ValueError: a sound is missing or cannot be decoded, the teacher's logits
            are not finite [B, 527], or `parts_dir` is of other pairs.
    """
    parts = Parts(parts_dir, len(pairs), len(labels.events()))
    root = pathlib.Path(data_dir)
    paths = [str(root / pair.sound) for pair in pairs[parts.rows :]]
    bar = tqdm(
        total=len(pairs),
        initial=parts.rows,
        desc="teaching",
        unit="clip",
        disable=not progress,
    )
    with bar, media_errors(pairs, data_dir, features, images=False):
        for batch in _clips(paths, features, batch_size) if paths else ():
            logits = np.asarray(teacher.logits(batch.numpy()), np.float32)
            _check_logits(logits, pairs[parts.rows : parts.rows + len(batch)])
            parts.add(logits, _PART_PAIRS)
            bar.update(len(logits))
    return parts.all()


def _clips(paths, features: FeatureConfig, batch_size: int) -> tf.data.Dataset:
    """Batches of central clips, decoded ahead on all cores."""
    return (
        tf.data.Dataset.from_tensor_slices(paths)
        .map(
            lambda path: waveform_from_bytes(
                tf.io.read_file(path), features, name=path
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .batch(batch_size)
        .prefetch(2)
    )


def _check_logits(logits: np.ndarray, pairs: Sequence[Pair]) -> None:
    wanted = (len(pairs), len(labels.events()))
    if logits.shape != wanted:
        raise ValueError(
            f"A teacher must give logits {list(wanted)}; received "
            f"{list(logits.shape)}. Use a teacher with AudioSet's 527 events."
        )
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise ValueError(
            "The teacher's logits must be finite; those of "
            f"{pairs[int(np.argmin(finite))].sound} are not. Check the teacher's "
            "weights."
        )
