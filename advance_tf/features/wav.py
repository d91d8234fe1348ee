"""Decoding of the samples of WAV files as TensorFlow operations.

The header is that of `wav_header`; only the samples that are asked for are copied.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from advance_tf.config import MAX_RATE_HZ, MAX_SAMPLE, MIN_RATE_HZ
from advance_tf.features.wav_header import CODINGS, FLOAT, WavHeader, read_header

_BAD_SAMPLE = f"it has a sample that is NaN, infinite or beyond ±{MAX_SAMPLE:.0f}"
# Samples that are checked at once.
_CHECKED_BYTES = 1 << 22


def _reader(code: int, bits: int, body: tf.Tensor) -> tf.Tensor:
    """Converts the bytes of samples, a string scalar, to float32 [n]."""
    if bits == 8:
        return (tf.cast(tf.io.decode_raw(body, tf.uint8), tf.float32) - 128.0) / 128.0
    if code == FLOAT:
        kind = {32: tf.float32, 64: tf.float64}[bits]
        return tf.cast(tf.io.decode_raw(body, kind), tf.float32)
    if bits == 24:
        rows = tf.reshape(tf.io.decode_raw(body, tf.uint8), [-1, 3])
        # As the upper three bytes of 32 bits, a sample keeps its sign.
        levels = tf.bitcast(tf.pad(rows, [[0, 0], [1, 0]]), tf.int32)
        return tf.cast(levels, tf.float32) * np.float32(2.0**-31)
    kind = {16: tf.int16, 32: tf.int32}[bits]
    levels = tf.io.decode_raw(body, kind)
    # The scale is a power of two: multiplication is as exact as division.
    return tf.cast(levels, tf.float32) * np.float32(2.0 ** (1 - bits))


def read_samples(
    contents: tf.Tensor,
    header: WavHeader,
    first: tf.Tensor | int = 0,
    count: tf.Tensor | None = None,
) -> tf.Tensor:
    """Reads samples of a file whose header has no problem.

    Args:
        contents: string scalar, the bytes of the complete file.
        header: result of `read_header`.
        first: int64 scalar, the first sample to read.
        count: int64 scalar, the largest number of samples to read; None for all.

    Returns:
        float32 [n], the mean over the channels; in [-1, 1] for PCM.
    """
    widths = tf.constant([bits // 8 for _, bits in CODINGS], tf.int64)
    coding = tf.maximum(header.coding, 0)
    channels = tf.maximum(header.channels, 1)
    frame_bytes = tf.gather(widths, coding) * tf.cast(channels, tf.int64)
    first = tf.minimum(tf.cast(first, tf.int64), header.samples)
    remaining = header.samples - first
    count = remaining if count is None else tf.clip_by_value(count, 0, remaining)
    body = tf.strings.substr(
        contents, header.data_start + first * frame_bytes, count * frame_bytes
    )
    branches: list[Callable[[], tf.Tensor]] = [
        functools.partial(_reader, code, bits, body) for code, bits in CODINGS
    ]
    samples = tf.switch_case(coding, branches)

    def mean() -> tf.Tensor:
        # [n, channels]
        return tf.reduce_mean(tf.reshape(samples, tf.stack([-1, channels])), axis=1)

    return tf.cond(channels == 1, lambda: samples, mean)


def _has_bad_samples(contents: tf.Tensor, header: WavHeader) -> tf.Tensor:
    """Whether a sample of a file of floats is outside the limit, bool scalar.

    The complete file is read, in blocks: training cuts it at random.
    """
    is_double = tf.equal(header.coding, len(CODINGS) - 1)
    width = tf.where(is_double, 8, 4)
    total = header.samples * tf.cast(width * header.channels, tf.int64)

    def within(body: tf.Tensor, kind: tf.DType) -> tf.Tensor:
        # Comparisons with NaN are False.
        return tf.reduce_all(tf.abs(tf.io.decode_raw(body, kind)) <= MAX_SAMPLE)

    def step(position: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.minimum(total - position, _CHECKED_BYTES)
        body = tf.strings.substr(contents, header.data_start + position, size)
        good = tf.cond(
            is_double,
            lambda: within(body, tf.float64),
            lambda: within(body, tf.float32),
        )
        return position + size, good

    _, good = tf.while_loop(
        lambda position, good: good & (position < total),
        step,
        (tf.constant(0, tf.int64), tf.constant(True)),
        parallel_iterations=1,
    )
    return ~good


def read_checked(contents: tf.Tensor) -> WavHeader:
    """Reads the header of a WAV file, and checks the samples of one of floats.

    Args:
        contents: string scalar, the bytes of the complete file.

    Returns:
        The header; a file with a sample that is not finite, or beyond ±65,536, has a
        `problem`.
    """
    header = read_header(contents)
    is_float = header.coding >= len(CODINGS) - 2
    # PCM is always finite.
    is_bad = tf.cond(
        is_float & tf.equal(header.problem, ""),
        lambda: _has_bad_samples(contents, header),
        lambda: tf.constant(False),
    )
    return header._replace(
        problem=tf.where(is_bad, _BAD_SAMPLE, header.problem),
        samples=tf.where(is_bad, tf.zeros_like(header.samples), header.samples),
    )


def checked_header(contents: tf.Tensor, name: tf.Tensor | str = "") -> WavHeader:
    """Reads a header as `read_checked`; a file with a problem raises an error.

    Args:
        contents: string scalar, the bytes of the complete file.
        name: name of the file, for the error.

    Returns:
        The header; its rate is 8,000 to 192,000 Hz.

    Raises:
        tf.errors.InvalidArgumentError: the file has a problem.
    """
    header = read_checked(contents)
    message = tf.strings.join(
        ["The sound ", name, " must be a valid WAV file; ", header.problem, "."]
    )
    readable = tf.equal(header.problem, "")
    with tf.control_dependencies([tf.debugging.Assert(readable, [message])]):
        # An invalid rate must fail this check before it fails a later operator.
        rate_hz = tf.clip_by_value(header.rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)
        samples = tf.identity(header.samples)
    return header._replace(rate_hz=rate_hz, samples=samples)


def decode_wav(
    contents: tf.Tensor, name: tf.Tensor | str = ""
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a WAV file.

    >>> wav = tf.audio.encode_wav([[0.0], [0.5], [-0.5]], 16_000)
    >>> waveform, rate_hz = decode_wav(wav)
    >>> waveform.shape, int(rate_hz)
    (TensorShape([3]), 16000)

    Args:
        contents: string scalar, the bytes of the file.
        name: name of the file, for the error.

    Returns:
        The waveform, float32 [n], mean over 1 to 8 channels, in [-1, 1] for
        PCM; and its rate in Hz, int32, 8,000 to 192,000.

    Raises:
        tf.errors.InvalidArgumentError: the file is empty, truncated, in another
            format, has an invalid header or a sample that is not finite; the
            message names it.
    """
    header = checked_header(contents, name)
    return read_samples(contents, header), header.rate_hz
