"""WAV bytes → a clip of fixed length and rate."""

import numpy as np
import tensorflow as tf

from advance_tf.config import MAX_RATE_HZ, MIN_RATE_HZ, FeatureConfig
from advance_tf.features.errors import MediaError
from advance_tf.features.resample import resample
from advance_tf.features.wav import (
    MAX_CHANNELS,
    decode_wav,
    read_header,
    read_samples,
)


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
    samples = tf.maximum(tf.size(waveform), 1)
    repeats = (clip_samples + samples - 1) // samples
    # [n · repeats], at least clip_samples.
    repeated = tf.cond(
        repeats > 1, lambda: tf.tile(waveform, [repeats]), lambda: waveform
    )
    # A repeated waveform starts at its own first sample, whatever the offset.
    slack = tf.maximum(samples - clip_samples, 0)
    position = tf.cast(offset, tf.float32) * tf.cast(slack + 1, tf.float32)
    start = tf.minimum(tf.cast(position, tf.int32), slack)
    return tf.ensure_shape(repeated[start : start + clip_samples], [clip_samples])


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
    recording = recording_from_bytes(contents, features, name)
    return fit_clip(recording, features.clip_samples, offset)


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
    raw = tf.io.decode_raw(contents, tf.uint8)
    header = read_header(raw)
    rate_hz = tf.clip_by_value(header.rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)

    def read() -> tf.Tensor:
        samples = resample(read_samples(raw, header), rate_hz, features.sample_rate_hz)
        return fit_clip(samples, features.clip_samples)

    waveform = tf.cond(
        tf.equal(header.problem, ""), read, lambda: tf.zeros([features.clip_samples])
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
        MediaError: the array has another shape or type, is empty or not finite.
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
    if not np.isfinite(samples).all():
        raise MediaError(
            "A sound array must be finite; received NaN or infinity. Replace these "
            "samples."
        )
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    return np.ascontiguousarray(mono, np.float32)
