"""Waveform → log-mel spectrogram in dB, and its normalization."""

import csv
import functools
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.files import replacing

# The Slaney scale is linear to 1 kHz and logarithmic above.
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0

STATS_COLUMNS = ("mel_bin", "mean_db", "std_db")


class LogMelStats(NamedTuple):
    """Mean and deviation of each mel band over a training set, in dB."""

    mean_db: np.ndarray
    std_db: np.ndarray


def hz_to_mel(hz) -> np.ndarray:
    """Frequencies in Hz on Slaney's mel scale."""
    hz = np.asarray(hz, np.float64)
    above = np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _HZ_PER_MEL, _BREAK_HZ / _HZ_PER_MEL + above)


def mel_to_hz(mel) -> np.ndarray:
    """Slaney mels in Hz."""
    mel = np.asarray(mel, np.float64)
    break_mel = _BREAK_HZ / _HZ_PER_MEL
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(mel - break_mel, 0))
    return np.where(mel < break_mel, mel * _HZ_PER_MEL, above)


@functools.cache
def mel_matrix(features: FeatureConfig) -> np.ndarray:
    """Slaney's triangular mel filters, each of unit area.

    Keras' and tf.signal's matrices use another scale and no normalization, and
    differ from this one by up to 34 dB.

    Args:
        features: rate, fft_length, mel_bins and the edges are read.

    Returns:
        float32 [fft_length // 2 + 1, mel_bins], ≥ 0.

    Source: Slaney, "Auditory Toolbox", 1998, the default of the authors' code.
    """
    edges = mel_to_hz(
        np.linspace(
            hz_to_mel(features.mel_min_hz),
            hz_to_mel(features.mel_max_hz),
            features.mel_bins + 2,
        )
    )
    bins = np.arange(features.fft_length // 2 + 1)
    frequencies = (bins * features.sample_rate_hz / features.fft_length)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies - lower) / (centre - lower)
    falling = (upper - frequencies) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (upper - lower)).astype(np.float32)


def _frames(waveform: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Windows [..., frames, window] about every hop, zeros outside the clip.

    Joined from whole hops, which is a third of the time of gathering samples.
    """
    window, hop = features.window_samples, features.hop_samples
    before = window // 2
    blocks = -(-window // hop)
    total = (features.frames + blocks) * hop
    lead = [[0, 0]] * (len(waveform.shape) - 1)
    after = max(total - before - features.clip_samples, 0)
    padded = tf.pad(waveform, [*lead, [before, after]])[..., :total]
    rows = tf.reshape(
        padded, tf.concat([tf.shape(padded)[:-1], [features.frames + blocks, hop]], 0)
    )
    parts = []
    for block in range(blocks):
        length = min(hop, window - block * hop)
        parts.append(rows[..., block : block + features.frames, :length])
    return tf.concat(parts, axis=-1)


def log_mel_db(
    waveform: tf.Tensor, features: FeatureConfig, *, precise: bool = True
) -> tf.Tensor:
    """The log-mel spectrogram of clips, as the authors' code computes it.

        S = |STFT(a)| M,  10 log10 max(S, floor), clipped at max − 80 dB

    Hann window of 1024 samples in a transform of 4096, hop 400, centred with
    zeros; *magnitude*, not power, through Slaney's mel matrix M; the maximum is
    that of the clip. The paper is silent on all but window, hop and bands; the
    released weights need exactly this.

    Args:
        waveform: float32 [..., clip_samples] in [-1, 1].
        features: every setting of the sound.
        precise: transform in float64. 80 dB of *magnitude* is a ratio of 1e8,
            more than float32 resolves: beside a pure tone the quiet bands are
            off by up to 6 dB without it. Edge devices have no other transform.

    Returns:
        float32 [..., frames, mel_bins] in dB.
    """
    kind = tf.float64 if precise else tf.float32
    window = tf.signal.hann_window(features.window_samples, periodic=True, dtype=kind)
    frames = tf.cast(_frames(waveform, features), kind) * window
    spectrum = tf.cast(tf.signal.rfft(frames, [features.fft_length]), tf.complex64)
    magnitude = _power_magnitude if precise else scaled_magnitude
    return mel_decibel(
        magnitude(tf.math.real(spectrum), tf.math.imag(spectrum)), features
    )


def _power_magnitude(real: tf.Tensor, imaginary: tf.Tensor) -> tf.Tensor:
    """|z|; the absolute value of a complex tensor is hypot, and twice as slow."""
    return tf.sqrt(tf.square(real) + tf.square(imaginary))


def scaled_magnitude(real: tf.Tensor, imaginary: tf.Tensor) -> tf.Tensor:
    """|z| without z²: m sqrt(1 + (n/m)²) with m, n the larger and smaller part.

    Mobile GPUs compute in float16, whose range ends at 65,504; the power of a
    clip at full scale is 262,144, its magnitude 512.

    Args:
        real: any float type and shape.
        imaginary: the same.

    Returns:
        The magnitude, of the same type and shape.
    """
    real, imaginary = tf.abs(real), tf.abs(imaginary)
    larger, smaller = tf.maximum(real, imaginary), tf.minimum(real, imaginary)
    divisor = tf.where(larger > 0, larger, tf.ones_like(larger))
    return larger * tf.sqrt(1.0 + tf.square(smaller / divisor))


def mel_decibel(magnitude: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Mel bands in dB of a magnitude spectrogram, clipped below the maximum.

    Args:
        magnitude: [..., frames, fft_length // 2 + 1], float16 or float32.
        features: the mel matrix, the floor and the range are read.

    Returns:
        [..., frames, mel_bins] in dB, of the same type.
    """
    mel = tf.matmul(magnitude, tf.constant(mel_matrix(features), magnitude.dtype))
    # The floor acts behind the logarithm: in float16 it would itself be 0.
    lowest = 10.0 * np.log10(features.magnitude_floor)
    decibel = tf.maximum((10.0 / np.log(10.0)) * tf.math.log(mel), lowest)
    loudest = tf.reduce_max(decibel, axis=[-2, -1], keepdims=True)
    return tf.maximum(decibel, loudest - features.dynamic_range_db)


def normalize(log_mel: tf.Tensor, stats: LogMelStats) -> tf.Tensor:
    """Zero mean and unit deviation in each band: (x − μ_f) / σ_f.

    Args:
        log_mel: float32 [..., mel_bins] in dB.
        stats: μ and σ, [mel_bins] in dB.

    Returns:
        float32 of the same shape.
    """
    mean = tf.constant(stats.mean_db, tf.float32)
    return (log_mel - mean) / tf.constant(stats.std_db, tf.float32)


def load_stats(features: FeatureConfig) -> LogMelStats:
    """The statistics that a configuration names.

    Args:
        features: `log_mel_stats` is "authors" or a CSV; `mel_bins` is checked.

    Returns:
        Mean and deviation, float32 [mel_bins].

    Raises:
        ValueError: the file has other columns or bands, or a deviation of 0.
    """
    name = features.log_mel_stats
    path = (
        labels.asset_path("log_mel_stats.csv")
        if name == "authors"
        else pathlib.Path(name)
    )
    if not path.is_file():
        raise ValueError(
            f"--log_mel_stats must be 'authors' or an existing CSV; received {name!r}. "
            "Make one with `python -m advance_tf.stats`."
        )
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        mean = np.array([float(row["mean_db"]) for row in rows], np.float32)
        deviation = np.array([float(row["std_db"]) for row in rows], np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must have the columns {', '.join(STATS_COLUMNS)} with numbers; "
            f"reading it failed: {error!r}."
        ) from error
    usable = np.isfinite(mean).all() and np.isfinite(deviation).all()
    if len(mean) != features.mel_bins or not usable or not (deviation > 0).all():
        raise ValueError(
            f"{path} must have a finite mean and a deviation above 0 for each of "
            f"{features.mel_bins} bands; received {len(mean)} rows. Make it again with "
            "`python -m advance_tf.stats`."
        )
    return LogMelStats(mean, deviation)


def save_stats(path: str | pathlib.Path, stats: LogMelStats) -> None:
    """Writes statistics as CSV, or leaves the old file.

    Args:
        path: of the CSV.
        stats: mean and deviation, [mel_bins] in dB.
    """
    with replacing(pathlib.Path(path)) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(STATS_COLUMNS)
            for band, (mean, std) in enumerate(zip(*stats, strict=True)):
                writer.writerow([band, repr(float(mean)), repr(float(std))])
