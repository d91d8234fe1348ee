"""Log-mel spectrograms in dB and their normalization."""

import csv
import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.checksums import replacing_checked, verify
from advance_tf.config import FeatureConfig
from advance_tf.csv_tables import read_table
from advance_tf.features.mel import mel_matrix, mel_product
from advance_tf.files import reading, replacing

# Size of the padded frames of a block. With their spectrum, they fit the second-level
# cache of current processors.
_BLOCK_BYTES = 2**20
# The Fourier transform processes 4 frames of float64 or 8 of float32 at once.
_ROWS_AT_ONCE = 8

STATS_COLUMNS = ("mel_bin", "mean_db", "std_db")
AUTHORS = "authors"
# The copy in the folder of a run.
STORED_STATS = "log_mel_stats.csv"


class LogMelStats(NamedTuple):
    """Mean and standard deviation of each mel band over a training set, in dB.

    Attributes:
        mean_db: float32 [mel_bins].
        std_db: float32 [mel_bins], > 0.
    """

    mean_db: np.ndarray
    std_db: np.ndarray


@functools.cache
def _hann(features: FeatureConfig) -> np.ndarray:
    """The Hann window, float64 [window_samples]."""
    samples = features.window_samples
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)


def _parts(features: FeatureConfig) -> int:
    """Number of hops that a window touches."""
    return -(-features.window_samples // features.hop_samples)


def _hops(waveform: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Cuts clips [..., clip_samples] into hops [..., frames + parts, hop].

    The window of frame t starts with hop t. Half a window of zeros precedes the
    clip, so that frames are centred, and zeros follow it.
    """
    before = features.window_samples // 2
    rows = features.frames + _parts(features)
    total = rows * features.hop_samples
    lead = [[0, 0]] * (len(waveform.shape) - 1)
    after = max(total - before - features.clip_samples, 0)
    # [..., rows · hop]
    padded = tf.pad(waveform, [*lead, [before, after]])[..., :total]
    shape = tf.concat([tf.shape(padded)[:-1], [rows, features.hop_samples]], 0)
    return tf.reshape(padded, shape)


def _windows(hops: tf.Tensor, frames: int, features: FeatureConfig) -> tf.Tensor:
    """Joins hops to windows [..., frames, window]; the first starts with hop 0.

    Concatenating slices of whole hops takes a third of the time of gathering samples.
    """
    window, hop = features.window_samples, features.hop_samples
    # Each part: [..., frames, length].
    parts = []
    for part in range(_parts(features)):
        length = min(hop, window - part * hop)
        parts.append(hops[..., part : part + frames, :length])
    return tf.concat(parts, axis=-1)


# AutoGraph has nothing to convert here and would delay the tracing of data sets.
@tf.autograph.experimental.do_not_convert
def log_mel_db(
    waveform: tf.Tensor, features: FeatureConfig, *, litert: bool = False
) -> tf.Tensor:
    """Computes the log-mel spectrogram of clips as the authors' code does.

        S = |STFT(a)| M,  10 log10 max(S, floor), clipped at max − 80 dB

    The Hann window has 1024 samples, the Fourier transform 4096, the hop 400;
    frames are centred, with zeros outside the clip. Slaney's mel matrix M is
    applied to the *magnitude*, not to the power; the maximum is that of the clip.
    The paper states window, hop and number of bands only; the released weights
    require the other settings of the authors' code.

    `log_mel_precision` is the type of the Fourier transform. A *magnitude* range of
    80 dB is a ratio of 1e8, more than float32 resolves: next to a pure tone, bands
    of low energy are off by up to 6 dB with it.

    Frames are computed in blocks whose temporaries fit the cache of a processor
    core, one after the other; the clips of a batch are computed in parallel.

    >>> tone = tf.sin(tf.range(16_000.0) / 10.0)
    >>> log_mel_db(tone, FeatureConfig(clip_seconds=1.0)).shape
    TensorShape([40, 64])

    Args:
        waveform: float32 [..., clip_samples] in [-1, 1].
        features: settings of the spectrogram.
        litert: use only what LiteRT has: no loop, a float32 transform whatever the
            `log_mel_precision`, and only values in the range of float16.

    Returns:
        float32 [..., frames, mel_bins] in dB.
    """
    waveform = tf.cast(waveform, tf.float32)
    if litert:
        return mel_decibel(_litert_magnitude(waveform, features), features)
    leading = waveform.shape[:-1]
    if leading.num_elements() == 1:
        mel = _mel_of_clip(tf.reshape(waveform, [-1]), features)
    else:
        # A loop over clips is parallel in a graph only.
        compute = _compiled_mel if tf.executing_eagerly() else _mel_of_clips
        mel = compute(features)(tf.reshape(waveform, [-1, features.clip_samples]))
    # [..., frames, mel_bins]
    shape = [features.frames, features.mel_bins]
    mel = tf.reshape(mel, tf.concat([tf.shape(waveform)[:-1], shape], 0))
    return _clipped_decibel(mel, features)


def _block_frames(features: FeatureConfig) -> int:
    """Number of frames of a block."""
    bytes_per_frame = features.fft_length * _kind(features).size
    frames = _BLOCK_BYTES // bytes_per_frame
    return max(frames // _ROWS_AT_ONCE, 1) * _ROWS_AT_ONCE


def _kind(features: FeatureConfig) -> tf.DType:
    """The type of the Fourier transform."""
    return tf.as_dtype(features.log_mel_precision)


def _mel_of_clip(waveform: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Mel magnitudes S [frames, mel_bins] of one clip [clip_samples]."""
    kind = _kind(features)
    window = tf.constant(_hann(features), kind)
    hops = _hops(waveform, features)
    size = _block_frames(features)
    blocks: list[tf.Tensor] = []
    for start in range(0, features.frames, size):
        frames = min(size, features.frames - start)
        # TensorFlow would otherwise compute each step for all blocks, which is the
        # memory of the whole spectrogram again.
        with tf.control_dependencies(blocks[-1:]):
            own = tf.identity(hops[start : start + frames + _parts(features) - 1])
        # [frames, window]
        windows = tf.cast(_windows(own, frames, features), kind) * window
        # [frames, fft_length // 2 + 1]
        spectrum = tf.signal.rfft(windows, [features.fft_length])
        # [frames, mel_bins]
        blocks.append(mel_product(_power_magnitude(spectrum), features))
    return tf.concat(blocks, axis=0)


def _mel_of_clips(features: FeatureConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function of clips [B, clip_samples] → S [B, frames, mel_bins]."""
    mel = tf.TensorSpec([features.frames, features.mel_bins], tf.float32)
    return lambda clips: tf.map_fn(
        lambda clip: _mel_of_clip(clip, features), clips, fn_output_signature=mel
    )


@functools.cache
def _compiled_mel(features: FeatureConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """`_mel_of_clips` as a graph."""
    clips = tf.TensorSpec([None, features.clip_samples], tf.float32)
    return tf.function(_mel_of_clips(features), [clips], autograph=False)


def _power_magnitude(spectrum: tf.Tensor) -> tf.Tensor:
    """Computes |z| as float32; tf.abs uses hypot and takes longer."""
    spectrum = tf.cast(spectrum, tf.complex64)
    real, imaginary = tf.math.real(spectrum), tf.math.imag(spectrum)
    return tf.sqrt(tf.square(real) + tf.square(imaginary))


def _litert_magnitude(waveform: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Computes |STFT(a)| of clips in float32 with the operators of LiteRT."""
    window = tf.constant(_hann(features), tf.float32)
    # [..., frames, window]
    windows = _windows(_hops(waveform, features), features.frames, features) * window
    # [..., frames, fft_length // 2 + 1]
    spectrum = tf.signal.rfft(windows, [features.fft_length])
    return scaled_magnitude(tf.math.real(spectrum), tf.math.imag(spectrum))


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
    # A single product: a matrix in groups gains nothing in LiteRT.
    mel = tf.matmul(magnitude, tf.constant(mel_matrix(features), magnitude.dtype))
    return _clipped_decibel(mel, features)


def _clipped_decibel(mel: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Converts mel magnitudes [..., frames, mel_bins] to dB and clips low values."""
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
            must have a row for each band, in any order.

    Returns:
        Mean and standard deviation, float32 [mel_bins].

    Raises:
        ValueError: the file is missing, has other columns or other bands than 0 to
            `mel_bins` − 1, or a standard deviation is 0.
    """
    name = features.log_mel_stats
    path = (
        labels.asset_path("log_mel_stats.csv")
        if name == AUTHORS
        else pathlib.Path(name)
    )
    if not path.is_file():
        raise ValueError(
            f"log_mel_stats must be 'authors' or an existing CSV; received {name!r}. "
            "Compute one with `advance stats`."
        )
    rows = [row.values for row in read_table(path).rows]
    rule = f"have the columns {', '.join(STATS_COLUMNS)} with numbers"
    with reading(path, rule, "Compute it again with `advance stats`."):
        bands = [int(row["mel_bin"]) for row in rows]
        rows = [rows[place] for place in np.argsort(bands, kind="stable")]
        mean = np.array([float(row["mean_db"]) for row in rows], np.float32)
        deviation = np.array([float(row["std_db"]) for row in rows], np.float32)
    complete = sorted(bands) == list(range(features.mel_bins))
    finite = np.isfinite(mean).all() and np.isfinite(deviation).all()
    if not complete or not finite or not (deviation > 0).all():
        raise ValueError(
            f"{path} must have a finite mean and a standard deviation above 0 for "
            f"each of {features.mel_bins} bands, mel_bin 0 to {features.mel_bins - 1} "
            f"once each; received {len(mean)} rows with {len(set(bands))} bands. "
            "Compute it again with `advance stats`."
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


def store_stats(features: FeatureConfig, workdir: pathlib.Path) -> None:
    """Copies the log-mel statistics of a run to its folder, with a checksum.

    Args:
        features: `log_mel_stats` is the path of a CSV file; "authors" needs no copy.
        workdir: folder of the run; an earlier copy in it is replaced.

    Raises:
        ValueError: the file is missing or not valid.
    """
    if features.log_mel_stats == AUTHORS:
        return
    load_stats(features)
    contents = pathlib.Path(features.log_mel_stats).read_bytes()
    with replacing_checked(workdir / STORED_STATS) as temporary:
        temporary.write_bytes(contents)


def stored_stats(features: FeatureConfig, workdir: pathlib.Path) -> FeatureConfig:
    """The settings of a run with its own copy of the log-mel statistics.

    Args:
        features: settings of the run.
        workdir: folder of the run.

    Returns:
        The same settings where the folder has no copy, as of earlier versions.

    Raises:
        ValueError: the copy is damaged.
    """
    path = workdir / STORED_STATS
    if features.log_mel_stats == AUTHORS or not path.is_file():
        return features
    verify(path)
    return dataclasses.replace(features, log_mel_stats=str(path))
