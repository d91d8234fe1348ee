"""Mean and standard deviation of each mel band over the clips of a data set."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf.config import FeatureConfig
from advance_tf.data.media_errors import media_errors
from advance_tf.data.pairing import Pair
from advance_tf.data.rows import add_rows, number_rows, path_rows
from advance_tf.features.file_decoders import sound_decoder
from advance_tf.features.log_mel import LogMelStats
from advance_tf.features.pipelines import as_traced, without_autotuning


class RunningStats:
    """Mean and standard deviation of rows that arrive in batches, in float64.

    Batches are merged by their means and sums of squared deviations, which avoids
    the cancellation of E[x²] − E[x]²:

        μ = μ_a + δ n_b/n,  M = M_a + M_b + δ² n_a n_b/n,  δ = μ_b − μ_a

    Args:
        columns: number of values in a row.

    Attributes:
        count: number of rows.
        mean: float64 [columns], mean of all rows.

    Source: Chan, Golub and LeVeque, 1979.

    Example:
        >>> stats = RunningStats(columns=1)
        >>> stats.add(np.array([[1.0], [2.0]]))
        >>> stats.add(np.array([[3.0]]))
        >>> stats.mean.tolist(), round(float(stats.std[0]), 4)
        ([2.0], 0.8165)
    """

    def __init__(self, columns: int) -> None:
        self.count = 0
        self.mean = np.zeros(columns)
        self._squared_deviations = np.zeros(columns)

    def add(self, rows: np.ndarray) -> None:
        """Adds a batch of rows.

        Args:
            rows: [n, columns], n ≥ 1.
        """
        rows = np.asarray(rows, np.float64)
        mean = rows.mean(0)  # [columns]
        total = self.count + len(rows)
        difference = mean - self.mean
        self._squared_deviations += ((rows - mean) ** 2).sum(0)
        self._squared_deviations += difference**2 * self.count * len(rows) / total
        self.mean = self.mean + difference * len(rows) / total
        self.count = total

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of all rows, float64 [columns] (divisor n)."""
        return np.sqrt(self._squared_deviations / max(self.count, 1))


def log_mel_statistics(
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    progress: bool = True,
) -> LogMelStats:
    """Computes the statistics that normalize the log-mel spectrogram.

    They are taken over all frames of all clips.

    Args:
        pairs: the pairs of the training split.
        data_dir: folder of the data set.
        features: settings of the log-mel spectrogram.
        progress: show a progress bar.

    Returns:
        Mean and standard deviation of each mel band in dB, float64 [mel_bins].

    Raises:
        ValueError: a sound cannot be read, or a band is constant.

    Example:
        >>> import tempfile
        >>> from advance_tf.data.layout import scan
        >>> from advance_tf.data.synthetic.pairs import write_pairs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_pairs(folder, sites_per_scene=1, progress=False)
        ...     stats = log_mel_statistics(
        ...         scan(folder).pairs[:2], folder, FeatureConfig(), progress=False
        ...     )
        >>> stats.mean_db.shape, stats.std_db.shape
        ((64,), (64,))
    """
    columns = {"path": path_rows(pairs, data_dir, "sound")}

    def log_mel(index: tf.Tensor, row: dict[str, tf.Tensor]) -> tf.Tensor:
        decode = sound_decoder(features, "log_mel")
        return decode(row["path"], tf.constant(0.5))  # [frames, mel_bins]

    with as_traced():
        spectrograms = add_rows(number_rows(len(pairs)), columns, len(pairs)).map(
            log_mel, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
    running = RunningStats(features.mel_bins)
    bar = tqdm(
        without_autotuning(spectrograms.prefetch(2)),
        "statistics",
        len(pairs),
        disable=None if progress else True,
    )
    with media_errors(pairs, data_dir, features, images=False):
        for spectrogram in bar:
            running.add(spectrogram.numpy())
    if not (running.std > 0).all():
        raise ValueError(
            "Every mel band must vary over the clips to be normalized; band "
            f"{int(np.argmin(running.std))} is constant. Check that the sounds are not "
            "silent."
        )
    return LogMelStats(running.mean, running.std)
