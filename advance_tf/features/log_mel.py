"""Log-mel spectrograms in dB and their normalization."""

import csv
import functools
import pathlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
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
    """Mean and standard deviation of each mel band over a training set, in dB.

    Attributes:
        mean_db: float32 [mel_bins].
        std_db: float32 [mel_bins], > 0.
    """

    mean_db: np.ndarray
    std_db: np.ndarray


def hz_to_mel(frequency_hz: npt.ArrayLike) -> np.ndarray:
    """Converts frequencies in Hz to Slaney's mel scale.

    >>> hz_to_mel([0, 1000, 6400]).round(3).tolist()
    [0.0, 15.0, 42.0]

    Args:
        frequency_hz: any shape, ≥ 0.

    Returns:
        float64 of the same shape, in mel.
    """
    hz = np.asarray(frequency_hz, np.float64)
    above = np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _HZ_PER_MEL, _BREAK_HZ / _HZ_PER_MEL + above)


def mel_to_hz(mel: npt.ArrayLike) -> np.ndarray:
    """Converts Slaney mels to Hz, the inverse of `hz_to_mel`.

    Args:
        mel: any shape, ≥ 0.

    Returns:
        float64 of the same shape, in Hz.
    """
    mel = np.asarray(mel, np.float64)
    break_mel = _BREAK_HZ / _HZ_PER_MEL
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(mel - break_mel, 0))
    return np.where(mel < break_mel, mel * _HZ_PER_MEL, above)


@functools.cache
def mel_matrix(features: FeatureConfig) -> np.ndarray:
    """Returns Slaney's triangular mel filters, each with unit area.

    The matrices of Keras and tf.signal use another scale and no normalization,
    and differ from this one by up to 34 dB.

    >>> mel_matrix(FeatureConfig()).shape
    (2049, 64)

    Args:
        features: `sample_rate_hz`, `fft_length`, `mel_bins`, `mel_min_hz` and
            `mel_max_hz` are used.

    Returns:
        float32 [fft_length // 2 + 1, mel_bins], ≥ 0.

    Source: Slaney, "Auditory Toolbox", 1998, the default of the authors' code.
    """
    # [mel_bins + 2]
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
    # [bins, mel_bins]
    rising = (frequencies - lower) / (centre - lower)
    falling = (upper - frequencies) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (upper - lower)).astype(np.float32)


def _frames(waveform: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Cuts a clip into windows [..., frames, window] centred on every hop.

    Samples outside the clip are zeros. Concatenating slices of whole hops takes a
    third of the time of gathering samples.
    """
    window, hop = features.window_samples, features.hop_samples
    before = window // 2
    blocks = -(-window // hop)
    total = (features.frames + blocks) * hop
    lead = [[0, 0]] * (len(waveform.shape) - 1)
    after = max(total - before - features.clip_samples, 0)
    # [..., (frames + blocks) · hop]
    padded = tf.pad(waveform, [*lead, [before, after]])[..., :total]
    # [..., frames + blocks, hop]
    rows = tf.reshape(
        padded, tf.concat([tf.shape(padded)[:-1], [features.frames + blocks, hop]], 0)
    )
    # Each part: [..., frames, length].
    parts = []
    for block in range(blocks):
        length = min(hop, window - block * hop)
        parts.append(rows[..., block : block + features.frames, :length])
    return tf.concat(parts, axis=-1)


def log_mel_db(
    waveform: tf.Tensor, features: FeatureConfig, *, precise: bool = True
) -> tf.Tensor:
    """Computes the log-mel spectrogram of clips as the authors' code does.

        S = |STFT(a)| M,  10 log10 max(S, floor), clipped at max − 80 dB

    The Hann window has 1024 samples, the Fourier transform 4096, the hop 400;
    frames are centred, with zeros outside the clip. Slaney's mel matrix M is
    applied to the *magnitude*, not to the power; the maximum is that of the clip.
    The paper states window, hop and number of bands only; the released weights
    require the other settings of the authors' code.

    >>> tone = tf.sin(tf.range(16_000.0) / 10.0)
    >>> log_mel_db(tone, FeatureConfig(clip_seconds=1.0)).shape
    TensorShape([40, 64])

    Args:
        waveform: float32 [..., clip_samples] in [-1, 1].
        features: settings of the spectrogram.
        precise: compute the Fourier transform in float64. A *magnitude* range of
            80 dB is a ratio of 1e8, more than float32 resolves: next to a pure
            tone, bands of low energy are off by up to 6 dB without it. LiteRT
            has float32 transforms only.

    Returns:
        float32 [..., frames, mel_bins] in dB.
    """
    kind = tf.float64 if precise else tf.float32
    window = tf.signal.hann_window(features.window_samples, periodic=True, dtype=kind)
    # [..., frames, window]
    frames = tf.cast(_frames(waveform, features), kind) * window
    # [..., frames, fft_length // 2 + 1]
    spectrum = tf.cast(tf.signal.rfft(frames, [features.fft_length]), tf.complex64)
    magnitude = _power_magnitude if precise else scaled_magnitude
    return mel_decibel(
        magnitude(tf.math.real(spectrum), tf.math.imag(spectrum)), features
    )


def _power_magnitude(real: tf.Tensor, imaginary: tf.Tensor) -> tf.Tensor:
    """Computes |z|; tf.abs of a complex tensor uses hypot and takes twice as long."""
    return tf.sqrt(tf.square(real) + tf.square(imaginary))


def scaled_magnitude(real: tf.Tensor, imaginary: tf.Tensor) -> tf.Tensor:
    """Computes |z| without z²: m sqrt(1 + (n/m)²), m and n the larger and smaller part.

    Mobile GPUs compute in float16, whose range ends at 65,504; a clip at full
    scale has a power of 262,144 and a magnitude of 512.

    Args:
        real: any float type and shape.
        imaginary: the same type and shape.

    Returns:
        The magnitude, with the same type and shape.
    """
    real, imaginary = tf.abs(real), tf.abs(imaginary)
    larger, smaller = tf.maximum(real, imaginary), tf.minimum(real, imaginary)
    divisor = tf.where(larger > 0, larger, tf.ones_like(larger))
    return larger * tf.sqrt(1.0 + tf.square(smaller / divisor))


def mel_decibel(magnitude: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Converts magnitude spectrograms to mel bands in dB, clipped below the maximum.

    Args:
        magnitude: float16 or float32 [..., frames, fft_length // 2 + 1].
        features: settings of the mel matrix, `magnitude_floor` and
            `dynamic_range_db` are used.

    Returns:
        [..., frames, mel_bins] in dB, with the same type.
    """
    # [..., frames, mel_bins]
    mel = tf.matmul(magnitude, tf.constant(mel_matrix(features), magnitude.dtype))
    # The floor is applied after the logarithm: in float16 it would be 0 before it.
    lowest = 10.0 * np.log10(features.magnitude_floor)
    decibel = tf.maximum((10.0 / np.log(10.0)) * tf.math.log(mel), lowest)
    # [..., 1, 1]
    maximum = tf.reduce_max(decibel, axis=[-2, -1], keepdims=True)
    return tf.maximum(decibel, maximum - features.dynamic_range_db)


def normalize(log_mel: tf.Tensor, stats: LogMelStats) -> tf.Tensor:
    """Normalizes each band to zero mean and unit variance: (x − μ_f) / σ_f.

    >>> stats = LogMelStats(np.array([-50.0, -40.0]), np.array([10.0, 5.0]))
    >>> normalize(tf.constant([[-30.0, -45.0]]), stats).numpy().tolist()
    [[2.0, -1.0]]

    Args:
        log_mel: float32 [..., mel_bins] in dB.
        stats: μ and σ, [mel_bins] in dB.

    Returns:
        float32 of the same shape.
    """
    mean = tf.constant(stats.mean_db, tf.float32)
    return (log_mel - mean) / tf.constant(stats.std_db, tf.float32)


def load_stats(features: FeatureConfig) -> LogMelStats:
    """Loads the log-mel statistics of a configuration.

    >>> load_stats(FeatureConfig()).mean_db.shape
    (64,)

    Args:
        features: `log_mel_stats` is "authors" or the path of a CSV file, which
            must have `mel_bins` rows.

    Returns:
        Mean and standard deviation, float32 [mel_bins].

    Raises:
        ValueError: the file is missing, has other columns or another number of
            bands, or a standard deviation is 0.
    """
    name = features.log_mel_stats
    path = (
        labels.asset_path("log_mel_stats.csv")
        if name == "authors"
        else pathlib.Path(name)
    )
    if not path.is_file():
        raise ValueError(
            f"log_mel_stats must be 'authors' or an existing CSV; received {name!r}. "
            "Compute one with `advance stats`."
        )
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        mean = np.array([float(row["mean_db"]) for row in rows], np.float32)
        deviation = np.array([float(row["std_db"]) for row in rows], np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must have the columns {', '.join(STATS_COLUMNS)} with numbers; "
            f"reading it failed: {error!r}. Compute it again with `advance stats`."
        ) from error
    finite = np.isfinite(mean).all() and np.isfinite(deviation).all()
    if len(mean) != features.mel_bins or not finite or not (deviation > 0).all():
        raise ValueError(
            f"{path} must have a finite mean and a standard deviation above 0 for "
            f"each of {features.mel_bins} bands; received {len(mean)} rows. Compute it "
            "again with `advance stats`."
        )
    return LogMelStats(mean, deviation)


def save_stats(path: str | pathlib.Path, stats: LogMelStats) -> None:
    """Writes log-mel statistics as CSV; a failure keeps the previous file.

    Args:
        path: path of the CSV file.
        stats: mean and standard deviation, [mel_bins] in dB.
    """
    with replacing(pathlib.Path(path)) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(STATS_COLUMNS)
            for band, (mean, std) in enumerate(zip(*stats, strict=True)):
                writer.writerow([band, repr(float(mean)), repr(float(std))])
