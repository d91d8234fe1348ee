"""The teacher's soft labels of every pair, computed once."""

import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf.config import FeatureConfig
from advance_tf.data.layout import Pair
from advance_tf.data.media import media_errors
from advance_tf.features.sound import waveform_from_bytes


class Teacher(Protocol):
    """A frozen audio network that knows events.

    Attributes:
        name: short, for reports.
        sha256: hash of its weights.
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
        teacher_sha256: hash of the teacher's weights.
        manifest_sha256: hash of the manifest.
        features: rate and length of the clip are part of the key.

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


def compute_teacher_logits(
    teacher: Teacher,
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> np.ndarray:
    """The teacher's logits f_e(a, N_a^(0)) of every pair; σ of them is y(a).

    A recording longer than a clip is heard at its centre, although training
    cuts it at random: the soft labels are those of the place, not of the cut.

    Args:
        teacher: frozen.
        pairs: of a manifest.
        data_dir: folder of the data set.
        features: rate and length of the clip.
        batch_size: clips at a time.
        progress: show a bar.

    Returns:
        float32 [pairs, 527].

    Raises:
        ValueError: a sound is missing or cannot be decoded, or the teacher's
            logits are not finite.
    """
    root = pathlib.Path(data_dir)
    paths = [str(root / pair.sound) for pair in pairs]
    clips = (
        tf.data.Dataset.from_tensor_slices(paths)
        .map(
            lambda path: waveform_from_bytes(
                tf.io.read_file(path), features, name=path
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .batch(batch_size)
        .prefetch(1)
    )
    found = []
    bar = tqdm(total=len(paths), desc="teaching", unit="clip", disable=not progress)
    with bar, media_errors():
        for batch in clips:
            found.append(teacher.logits(batch.numpy()))
            bar.update(len(batch))
    logits = np.concatenate(found)
    if not np.isfinite(logits).all():
        bad = int(np.argmin(np.isfinite(logits).all(axis=1)))
        raise ValueError(
            "The teacher's logits must be finite; the first that are not belong to "
            f"{paths[bad]}. Check the teacher's weights."
        )
    return logits.astype(np.float32)
