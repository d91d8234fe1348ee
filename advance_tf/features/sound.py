"""Encoded sound → clip, as training, evaluation and serving all hear it."""

import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features.clip import fit_clip
from advance_tf.features.resample import resample
from advance_tf.features.wav import (
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    decode_wav,
    read_header,
    read_samples,
)


def recording_from_bytes(
    contents: tf.Tensor, features: FeatureConfig, name=""
) -> tf.Tensor:
    """The whole recording of a WAV file at the features' rate.

    Args:
        contents: string scalar, the bytes of the file.
        features: sample_rate_hz is read.
        name: of the file, for the error.

    Returns:
        float32 [n].

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be read; it is named.
    """
    waveform, rate_hz = decode_wav(contents, name)
    return resample(waveform, rate_hz, features.sample_rate_hz)


def waveform_from_bytes(
    contents: tf.Tensor, features: FeatureConfig, offset=0.5, name=""
) -> tf.Tensor:
    """The clip of a WAV file at the features' rate.

    Args:
        contents: string scalar, the bytes of the file.
        features: sample_rate_hz and clip_samples are read.
        offset: where to cut a longer sound, in [0, 1] of the slack.
        name: of the file, for the error.

    Returns:
        float32 [clip_samples].

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be read; it is named.
    """
    recording = recording_from_bytes(contents, features, name)
    return fit_clip(recording, features.clip_samples, offset)


def waveform_or_problem(
    contents: tf.Tensor, features: FeatureConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """The clip of a WAV file, or what is wrong with the file.

    Args:
        contents: string scalar, the bytes of the file.
        features: sample_rate_hz and clip_samples are read.

    Returns:
        float32 [clip_samples], cut in the centre, zeros if it cannot be read;
        and the problem, a string scalar, "" if it can.
    """
    raw = tf.io.decode_raw(contents, tf.uint8)
    header = read_header(raw)
    rate_hz = tf.clip_by_value(header.rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)

    def read():
        samples = resample(read_samples(raw, header), rate_hz, features.sample_rate_hz)
        return fit_clip(samples, features.clip_samples)

    waveform = tf.cond(
        tf.equal(header.problem, ""), read, lambda: tf.zeros([features.clip_samples])
    )
    return waveform, header.problem
