"""WAV bytes → a clip of fixed length and rate."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from advance_tf.config import MAX_RATE_HZ, MAX_SAMPLE, MIN_RATE_HZ, FeatureConfig
from advance_tf.features.errors import MediaError
from advance_tf.features.resample import input_span, resample, resampled_length
from advance_tf.features.wav import (
    checked_header,
    decode_wav,
    read_checked,
    read_samples,
)
from advance_tf.features.wav_header import MAX_CHANNELS, WavHeader, read_header


def fit_clip(
    waveform: tf.Tensor, clip_samples: int, offset: tf.Tensor | float = 0.5
) -> tf.Tensor:
    """Repeats a shorter waveform to the length of a clip and cuts a longer one.

    >>> fit_clip(tf.constant([1.0, 2.0]), 5).numpy().tolist()
    [1.0, 2.0, 1.0, 2.0, 1.0]
    >>> fit_clip(tf.range(9.0), 5).numpy().tolist()
    [2.0, 3.0, 4.0, 5.0, 6.0]

    Args:
        waveform: float32 [n], n ≥ 1.
        clip_samples: number of samples of the clip.
        offset: position of the cut in [0, 1]: 0 is the start of the waveform, 1
            its end, 0.5 the centre.

    Returns:
        float32 [clip_samples].

    Source: §3 of the paper repeats recordings of 2 to 10 s and cuts 10 s at a
    random position; evaluation uses the centre, so that results are repeatable.
    """
    samples = tf.maximum(tf.size(waveform, out_type=tf.int64), 1)
    start = _cut_start(samples, clip_samples, offset)
    return _repeat(waveform[start : start + clip_samples], clip_samples)


def _cut_start(
    samples: tf.Tensor, clip_samples: int, offset: tf.Tensor | float
) -> tf.Tensor:
    """First sample of the cut of a waveform, int64; 0 for one that is not longer."""
    slack = tf.maximum(samples - clip_samples, 0)
    position = tf.cast(offset, tf.float32) * tf.cast(slack + 1, tf.float32)
    return tf.minimum(tf.cast(position, tf.int64), slack)


def _repeat(waveform: tf.Tensor, clip_samples: int) -> tf.Tensor:
    """Repeats a waveform that is shorter than a clip: [clip_samples]."""
    samples = tf.maximum(tf.size(waveform), 1)
    repeats = (clip_samples + samples - 1) // samples
    # [n · repeats], at least clip_samples.
    repeated = tf.cond(
        repeats > 1, lambda: tf.tile(waveform, [repeats]), lambda: waveform
    )
    return tf.ensure_shape(repeated[:clip_samples], [clip_samples])


def clip_from_samples(
    read: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    samples: tf.Tensor,
    rate_hz: tf.Tensor,
    features: FeatureConfig,
    offset: tf.Tensor | float = 0.5,
) -> tf.Tensor:
    """Reads only the part of a sound that its clip depends on, and resamples it.

    The clip is that of `fit_clip(resample(sound))`; the time does not depend on the
    length of the sound.

    >>> sound = tf.random.normal([40_000])
    >>> clip = clip_from_samples(
    ...     lambda first, count: sound[first : first + count],
    ...     tf.constant(40_000, tf.int64), 32_000, FeatureConfig(clip_seconds=0.5))
    >>> clip.shape
    TensorShape([8000])

    Args:
        read: first sample and largest number of samples, int64 → float32 [n].
        samples: int64 scalar, number of samples of the sound.
        rate_hz: int scalar, rate of the sound, 8,000 to 192,000 Hz.
        features: `sample_rate_hz` and `clip_samples` are used.
        offset: position of the cut of a longer sound, as in `fit_clip`.

    Returns:
        float32 [clip_samples] at `sample_rate_hz`.
    """
    target, clip_samples = features.sample_rate_hz, features.clip_samples
    total = resampled_length(samples, rate_hz, target)
    start = _cut_start(total, clip_samples, offset)
    count = tf.minimum(total, clip_samples)
    first, span, skip = input_span(start, count, rate_hz, target)
    # [n], n ≤ span
    part = resample(read(first, span), rate_hz, target)
    return _repeat(part[skip : skip + count], clip_samples)


def _clip_from_file(
    contents: tf.Tensor,
    header: WavHeader,
    rate_hz: tf.Tensor,
    features: FeatureConfig,
    offset: tf.Tensor | float,
) -> tf.Tensor:
    """Reads the clip of a file whose header has no problem: [clip_samples]."""

    def read(first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        return read_samples(contents, header, first, count)

    return clip_from_samples(read, header.samples, rate_hz, features, offset)


def recording_from_bytes(
    contents: tf.Tensor, features: FeatureConfig, name: tf.Tensor | str = ""
) -> tf.Tensor:
    """Decodes a WAV file at its full length and resamples it.

    Args:
        contents: string scalar, the bytes of the file.
        features: `sample_rate_hz` is used.
        name: name of the file, for the error.

    Returns:
        float32 [n] at `sample_rate_hz`.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be read; it is named.
    """
    waveform, rate_hz = decode_wav(contents, name)
    return resample(waveform, rate_hz, features.sample_rate_hz)


def waveform_from_bytes(
    contents: tf.Tensor,
    features: FeatureConfig,
    offset: tf.Tensor | float = 0.5,
    name: tf.Tensor | str = "",
) -> tf.Tensor:
    """Decodes a WAV file, resamples it and fits it to the length of a clip.

    Args:
        contents: string scalar, the bytes of the file.
        features: `sample_rate_hz` and `clip_samples` are used.
        offset: position of the cut of a longer sound, as in `fit_clip`.
        name: name of the file, for the error.

    Returns:
        float32 [clip_samples] at `sample_rate_hz`.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be read; it is named.
    """
    header = checked_header(contents, name)
    return _clip_from_file(contents, header, header.rate_hz, features, offset)


def is_longer_than_clip(contents: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Whether a WAV file is longer than a clip, from its header.

    Args:
        contents: string scalar, the bytes of the file.
        features: `sample_rate_hz` and `clip_samples` are used.

    Returns:
        bool scalar; False for a file that cannot be read.
    """
    header = read_header(contents)
    rate_hz = tf.clip_by_value(header.rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)
    total = resampled_length(header.samples, rate_hz, features.sample_rate_hz)
    return total > features.clip_samples


def waveform_or_problem(
    contents: tf.Tensor, features: FeatureConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes the central clip of a WAV file without raising an error.

    Args:
        contents: string scalar, the bytes of the file.
        features: `sample_rate_hz` and `clip_samples` are used.

    Returns:
        float32 [clip_samples], zeros for an invalid file; and the problem of the
        file, a string scalar, "" for a valid file.
    """
    header = read_checked(contents)
    rate_hz = tf.clip_by_value(header.rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)
    waveform = tf.cond(
        tf.equal(header.problem, ""),
        lambda: _clip_from_file(contents, header, rate_hz, features, 0.5),
        lambda: tf.zeros([features.clip_samples]),
    )
    return waveform, header.problem


def check_rate(rate_hz: object) -> int:
    """Validates the sampling rate of a sound array.

    >>> check_rate(22_050.0)
    22050

    Args:
        rate_hz: sampling rate in Hz, an integral number from 8,000 to 192,000.

    Returns:
        The rate as an int.

    Raises:
        MediaError: the rate is missing, not an integral number or out of range.
    """
    if (
        not isinstance(rate_hz, int | float | np.integer | np.floating)
        # The comparisons are False for NaN.
        or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ
        or int(rate_hz) != rate_hz
    ):
        raise MediaError(
            f"`rate_hz` of a sound array must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, "
            f"an integral number; received {rate_hz!r}. Pass the sampling rate of "
            "the array."
        )
    return int(rate_hz)


def mono_waveform(samples: np.ndarray) -> np.ndarray:
    """Validates a sound array and averages its channels.

    >>> mono_waveform(np.array([[0.5, 0.0], [1.0, 0.0]])).tolist()
    [0.25, 0.5]

    Args:
        samples: float [n] or [n, channels], 1 to 8 channels, in [-1, 1].

    Returns:
        float32 [n].

    Raises:
        MediaError: the array has another shape or type, is empty, not finite or
            beyond ±65,536.
    """
    valid_shape = samples.ndim == 1 or (
        samples.ndim == 2 and 1 <= samples.shape[1] <= MAX_CHANNELS
    )
    if samples.dtype.kind != "f" or not valid_shape or not samples.size:
        raise MediaError(
            "A sound array must be float [n] or [n, channels] with 1 to "
            f"{MAX_CHANNELS} channels and at least one sample in [-1, 1]; received "
            f"{samples.dtype} {list(samples.shape)}. Divide int16 by 32,768 and "
            "put time first."
        )
    # Comparisons with NaN are False. A Python number would become infinity in float16.
    if not (np.abs(samples) <= np.float32(MAX_SAMPLE)).all():
        raise MediaError(
            "The samples of a sound array must be finite and within "
            f"±{MAX_SAMPLE:.0f}; received NaN, infinity or a larger sample. Replace "
            "it, and scale the array to [-1, 1]."
        )
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    return np.ascontiguousarray(mono, np.float32)
