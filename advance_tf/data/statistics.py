"""Mean and deviation of each mel band over many clips."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf.config import FeatureConfig
from advance_tf.data.layout import Pair
from advance_tf.data.media import media_errors
from advance_tf.features.log_mel import LogMelStats, log_mel_db
from advance_tf.features.sound import waveform_from_bytes


class RunningStats:
    """Mean and variance of rows that come in parts, in float64.

    Parts are merged by their means and squared deviations, which does not
    cancel as E[x²] − E[x]² does:

        μ = μ_a + δ n_b/n,  M = M_a + M_b + δ² n_a n_b/n,  δ = μ_b − μ_a

    Args:
        columns: numbers in a row.

    Source: Chan, Golub and LeVeque, 1979.
    """

    def __init__(self, columns: int):
        self.count = 0
        self.mean = np.zeros(columns)
        self._squares = np.zeros(columns)

    def add(self, rows: np.ndarray) -> None:
        """Takes in rows [n, columns]."""
        rows = np.asarray(rows, np.float64)
        mean = rows.mean(0)
        total = self.count + len(rows)
        apart = mean - self.mean
        self._squares += ((rows - mean) ** 2).sum(0)
        self._squares += apart**2 * self.count * len(rows) / total
        self.mean = self.mean + apart * len(rows) / total
        self.count = total

    @property
    def std(self) -> np.ndarray:
        """Deviation [columns] of all rows so far (divided by n)."""
        return np.sqrt(self._squares / max(self.count, 1))


def log_mel_statistics(
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    progress: bool = True,
) -> LogMelStats:
    """The statistics that normalize the log-mel, over the frames of all clips.

    Args:
        pairs: of the training split only.
        data_dir: folder of the data set.
        features: how the sound becomes a log-mel.
        progress: show a bar.

    Returns:
        Mean and deviation of each band in dB, float64 [mel_bins].

    Raises:
        ValueError: a sound cannot be read, or a band never changes.
    """
    paths = [str(pathlib.Path(data_dir) / pair.sound) for pair in pairs]
    spectrograms = tf.data.Dataset.from_tensor_slices(paths).map(
        lambda path: log_mel_db(
            waveform_from_bytes(tf.io.read_file(path), features, name=path), features
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    running = RunningStats(features.mel_bins)
    bar = tqdm(spectrograms.prefetch(2), "statistics", len(paths), disable=not progress)
    with media_errors(pairs, data_dir, features, images=False):
        for spectrogram in bar:
            running.add(spectrogram.numpy())
    if not (running.std > 0).all():
        raise ValueError(
            "Every mel band must vary over the clips to be normalized; band "
            f"{int(np.argmin(running.std))} does not. Are the sounds silent?"
        )
    return LogMelStats(running.mean, running.std)
