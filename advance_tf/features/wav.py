"""Decoding of WAV files as TensorFlow operations.

`tf.audio.decode_wav` reads 16-bit PCM only. This module reads PCM of 8, 16, 24 and
32 bits and floats of 32 and 64 bits, plain or WAVE_FORMAT_EXTENSIBLE, and skips
unknown chunks. It checks the sizes in a header against the length of the file
before it allocates memory.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from advance_tf.config import MAX_RATE_HZ, MIN_RATE_HZ

MAX_CHANNELS = 8

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CODINGS = ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64))
# Encoders that write to a pipe do not know the size and write one of these.
_UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000)
_MAX_CHUNKS = 1_000
_CHUNK_HEADER_BYTES = 8


class WavHeader(NamedTuple):
    """The fields of a WAV header and its problem; every field is a scalar.

    Attributes:
        coding: int32, index of the sample coding; -1 for an unsupported one.
        channels: int32, number of channels.
        rate_hz: int32, sampling rate in Hz.
        data_start: int32, position of the first byte of the samples.
        data_bytes: int32, number of bytes of samples in the file.
        problem: string, why the file cannot be read; "" for a valid file.
    """

    coding: tf.Tensor
    channels: tf.Tensor
    rate_hz: tf.Tensor
    data_start: tf.Tensor
    data_bytes: tf.Tensor
    problem: tf.Tensor


def _unsigned(raw: tf.Tensor, start: tf.Tensor | int, width: int) -> tf.Tensor:
    """Reads a little-endian number of `width` bytes, int64; 0 past the end."""
    start = tf.cast(start, tf.int32)
    found = raw[tf.maximum(start, 0) : tf.maximum(start, 0) + width]
    inside = (start >= 0) & tf.equal(tf.size(found), width)
    weights = tf.constant([256**place for place in range(width)], tf.int64)
    # A slice at the end of the file is shorter, and so are its weights.
    digits = tf.cast(found, tf.int64) * weights[: tf.size(found)]
    return tf.where(inside, tf.reduce_sum(digits), tf.constant(0, tf.int64))


def _tag(text: str) -> int:
    """The four letters of a chunk's name as a number."""
    return int.from_bytes(text.encode(), "little")


def _find_chunks(raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Finds start and stated size of the chunks `fmt ` and `data`; -1 if absent."""
    length = tf.size(raw, out_type=tf.int64)
    absent = tf.constant(-1, tf.int64)

    def searching(
        position: tf.Tensor, count: tf.Tensor, *chunks: tf.Tensor
    ) -> tf.Tensor:
        data = chunks[2]
        return (
            (position + _CHUNK_HEADER_BYTES <= length)
            & (data < 0)
            & (count < _MAX_CHUNKS)
        )

    def step(
        position: tf.Tensor,
        count: tf.Tensor,
        fmt: tf.Tensor,
        fmt_size: tf.Tensor,
        data: tf.Tensor,
        data_size: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        tag = _unsigned(raw, position, 4)
        size = _unsigned(raw, position + 4, 4)
        body = position + _CHUNK_HEADER_BYTES
        is_fmt, is_data = tag == _tag("fmt "), tag == _tag("data")
        return (
            # Chunks begin at even positions.
            tf.minimum(body + size + size % 2, length),
            count + 1,
            tf.where(is_fmt, body, fmt),
            tf.where(is_fmt, size, fmt_size),
            tf.where(is_data, body, data),
            tf.where(is_data, size, data_size),
        )

    # The first chunk follows "RIFF", the size of the file and "WAVE".
    start = (tf.constant(12, tf.int64), tf.constant(0), *[absent] * 4)
    found = tf.while_loop(searching, step, start)
    return found[2], found[3], found[4], found[5]


def _first_problem(*checks: tuple[tf.Tensor, str]) -> tf.Tensor:
    """Returns the message of the first failed check, or ""."""
    problem = tf.constant("")
    for failed, message in reversed(checks):
        problem = tf.where(failed, tf.constant(message), problem)
    return problem


def read_header(raw: tf.Tensor) -> WavHeader:
    """Reads and checks the header of a WAV file.

    Args:
        raw: uint8 [bytes], the complete file.

    Returns:
        The header. An invalid file has a `problem` instead of raising an
        exception, so that one invalid clip does not fail a batch.
    """
    length = tf.size(raw, out_type=tf.int64)
    fmt, fmt_size, data, stated = _find_chunks(raw)
    code = _unsigned(raw, fmt, 2)
    channels = _unsigned(raw, fmt + 2, 2)
    rate_hz = _unsigned(raw, fmt + 4, 4)
    align = _unsigned(raw, fmt + 12, 2)
    bits = _unsigned(raw, fmt + 14, 2)
    extended = (code == _EXTENSIBLE) & (fmt_size >= 40)
    code = tf.where(extended, _unsigned(raw, fmt + 24, 2), code)
    coding = tf.constant(-1)
    for index, (known_code, known_bits) in enumerate(_CODINGS):
        match = (code == known_code) & (bits == known_bits)
        coding = tf.where(match, index, coding)
    available = tf.maximum(length - data, 0)
    unknown_size = tf.reduce_any(stated == tf.constant(_UNKNOWN_SIZES, tf.int64))
    size = tf.where(unknown_size, available, stated)
    is_riff = (_unsigned(raw, 0, 4) == _tag("RIFF")) & (
        _unsigned(raw, 8, 4) == _tag("WAVE")
    )
    problem = _first_problem(
        (length == 0, "the file is empty"),
        (~is_riff, "it is not a RIFF/WAVE file"),
        (
            (fmt < 0) | (fmt_size < 16) | (fmt + 16 > length),
            "it has no complete fmt chunk before its data",
        ),
        (data < 0, "it has no data chunk"),
        (
            coding < 0,
            "its coding is not PCM of 8, 16, 24 or 32 bits or float of 32 or 64",
        ),
        (
            (channels < 1) | (channels > MAX_CHANNELS),
            f"its number of channels is not 1 to {MAX_CHANNELS}",
        ),
        (
            (rate_hz < MIN_RATE_HZ) | (rate_hz > MAX_RATE_HZ),
            f"its rate is not {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz",
        ),
        (align != channels * bits // 8, "its block size contradicts its coding"),
        (
            size > available,
            "it is truncated: it has fewer bytes than its header states",
        ),
        (size < tf.maximum(align, 1), "it has no sample"),
    )
    return WavHeader(
        coding,
        tf.cast(channels, tf.int32),
        tf.cast(rate_hz, tf.int32),
        tf.cast(tf.maximum(data, 0), tf.int32),
        tf.cast(tf.minimum(size, available), tf.int32),
        problem,
    )


def _reader(code: int, bits: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from the bytes of samples, uint8 [n], to float32 values."""

    def read(body: tf.Tensor) -> tf.Tensor:
        if bits == 8:
            return (tf.cast(body, tf.float32) - 128.0) / 128.0
        rows = tf.reshape(body, [-1, bits // 8])
        if bits == 24:
            # As the upper three bytes of 32 bits, a sample keeps its sign.
            rows = tf.pad(rows, [[0, 0], [1, 0]])
        kinds = {
            (_PCM, 16): tf.int16,
            (_PCM, 24): tf.int32,
            (_PCM, 32): tf.int32,
            (_FLOAT, 32): tf.float32,
            (_FLOAT, 64): tf.float64,
        }
        kind = kinds[code, bits]
        samples = tf.cast(tf.bitcast(rows, kind), tf.float32)
        return samples if code == _FLOAT else samples / -float(kind.min)

    return read


def read_samples(raw: tf.Tensor, header: WavHeader) -> tf.Tensor:
    """Reads the samples of a file whose header has no problem.

    Args:
        raw: uint8 [bytes], the complete file.
        header: result of `read_header`.

    Returns:
        float32 [n], the mean over the channels; in [-1, 1] for PCM. A sample
        that is not finite becomes 0.
    """
    widths = tf.constant([bits // 8 for _, bits in _CODINGS])
    coding = tf.maximum(header.coding, 0)
    frame_bytes = tf.gather(widths, coding) * tf.maximum(header.channels, 1)
    # Bytes of an incomplete frame at the end are ignored.
    length = header.data_bytes // frame_bytes * frame_bytes
    body = raw[header.data_start : header.data_start + length]
    branches = [functools.partial(_reader(*coded), body) for coded in _CODINGS]
    samples = tf.switch_case(coding, branches)
    # [n, channels]
    frames = tf.reshape(samples, tf.stack([-1, tf.maximum(header.channels, 1)]))
    waveform = tf.cond(
        header.channels == 1,
        lambda: frames[:, 0],
        lambda: tf.reduce_mean(frames, axis=1),
    )
    return tf.where(tf.math.is_finite(waveform), waveform, tf.zeros_like(waveform))


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
            format or has an invalid header; the message names it.
    """
    raw = tf.io.decode_raw(contents, tf.uint8)
    header = read_header(raw)
    message = tf.strings.join(
        ["The sound ", name, " must be a valid WAV file; ", header.problem, "."]
    )
    readable = tf.equal(header.problem, "")
    with tf.control_dependencies([tf.debugging.Assert(readable, [message])]):
        raw = tf.identity(raw)
        # An invalid rate must fail this check before it fails a later operator.
        rate_hz = tf.clip_by_value(header.rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)
    return read_samples(raw, header), rate_hz
