"""RIFF/WAVE bytes → waveform, in graph.

`tf.audio.decode_wav` reads 16-bit PCM only; this reads PCM of 8, 16, 24 and 32
bits and floats of 32 and 64, plain or WAVE_FORMAT_EXTENSIBLE, and skips chunks
that it does not know. Sizes in a header are checked against the bytes that are
there before anything is allocated.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000
MAX_CHANNELS = 8

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CODINGS = ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64))
# Encoders that write to a pipe cannot know the size and leave these.
_UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000)
_MAX_CHUNKS = 1_000
_CHUNK_HEADER_BYTES = 8


class WavHeader(NamedTuple):
    """What a header says, and what is wrong with it.

    Attributes:
        coding: index into the known codings, int32; -1 for none of them.
        channels: int32.
        rate_hz: int32.
        data_start: first byte of the samples, int32.
        data_bytes: bytes of the samples that are there, int32.
        problem: string; "" when the file can be read.
    """

    coding: tf.Tensor
    channels: tf.Tensor
    rate_hz: tf.Tensor
    data_start: tf.Tensor
    data_bytes: tf.Tensor
    problem: tf.Tensor


def _unsigned(raw: tf.Tensor, start, width: int) -> tf.Tensor:
    """Little-endian number of `width` bytes at `start`, int64; 0 past the end."""
    start = tf.cast(start, tf.int32)
    found = raw[tf.maximum(start, 0) : tf.maximum(start, 0) + width]
    whole = (start >= 0) & tf.equal(tf.size(found), width)
    weights = tf.constant([256**place for place in range(width)], tf.int64)
    # A slice at the end of the file is shorter; the weights follow it.
    digits = tf.cast(found, tf.int64) * weights[: tf.size(found)]
    return tf.where(whole, tf.reduce_sum(digits), tf.constant(0, tf.int64))


def _tag(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


def _find_chunks(raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Starts and sizes (as stated) of the `fmt ` and `data` chunks; -1 for none."""
    length = tf.size(raw, out_type=tf.int64)
    none = tf.constant(-1, tf.int64)

    def looking(position, count, fmt, fmt_size, data, data_size):
        del fmt, fmt_size, data_size
        return (
            (position + _CHUNK_HEADER_BYTES <= length)
            & (data < 0)
            & (count < _MAX_CHUNKS)
        )

    def step(position, count, fmt, fmt_size, data, data_size):
        tag = _unsigned(raw, position, 4)
        size = _unsigned(raw, position + 4, 4)
        body = position + _CHUNK_HEADER_BYTES
        is_fmt, is_data = tag == _tag("fmt "), tag == _tag("data")
        return (
            # Chunks begin at even places.
            tf.minimum(body + size + size % 2, length),
            count + 1,
            tf.where(is_fmt, body, fmt),
            tf.where(is_fmt, size, fmt_size),
            tf.where(is_data, body, data),
            tf.where(is_data, size, data_size),
        )

    start = (tf.constant(12, tf.int64), tf.constant(0), none, none, none, none)
    found = tf.while_loop(looking, step, start)
    return found[2], found[3], found[4], found[5]


def _first_problem(*checks: tuple[tf.Tensor, str]) -> tf.Tensor:
    problem = tf.constant("")
    for failed, message in reversed(checks):
        problem = tf.where(failed, tf.constant(message), problem)
    return problem


def read_header(raw: tf.Tensor) -> WavHeader:
    """Reads and checks the header of a WAV file.

    Args:
        raw: uint8 [bytes], the whole file.

    Returns:
        The header; a file that cannot be read has a `problem`, no exception, so
        that one bad clip need not fail a batch.
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
        (~is_riff, "it is no RIFF/WAVE file"),
        (
            (fmt < 0) | (fmt_size < 16) | (fmt + 16 > length),
            "it has no whole fmt chunk before its data",
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
        (size > available, "it is truncated: fewer bytes than its header says"),
        (size < tf.maximum(align, 1), "it holds no sample"),
    )
    return WavHeader(
        coding,
        tf.cast(channels, tf.int32),
        tf.cast(rate_hz, tf.int32),
        tf.cast(tf.maximum(data, 0), tf.int32),
        tf.cast(tf.minimum(size, available), tf.int32),
        problem,
    )


def _reader(code: int, bits: int):
    """A function from the bytes of samples, uint8 [n], to float32 in [-1, 1]."""

    def read(body: tf.Tensor) -> tf.Tensor:
        if bits == 8:
            return (tf.cast(body, tf.float32) - 128.0) / 128.0
        rows = tf.reshape(body, [-1, bits // 8])
        if bits == 24:
            # As the upper three bytes of 32 bits it keeps its sign.
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
    """The samples of a file whose header has no problem.

    Args:
        raw: uint8 [bytes], the whole file.
        header: of `read_header`.

    Returns:
        float32 [n], the mean over the channels; in [-1, 1] for PCM. A sample
        that is not finite becomes 0.
    """
    widths = tf.constant([bits // 8 for _, bits in _CODINGS])
    coding = tf.maximum(header.coding, 0)
    frame_bytes = tf.gather(widths, coding) * tf.maximum(header.channels, 1)
    whole = header.data_bytes // frame_bytes * frame_bytes
    body = raw[header.data_start : header.data_start + whole]
    branches = [functools.partial(_reader(*coded), body) for coded in _CODINGS]
    samples = tf.switch_case(coding, branches)
    frames = tf.reshape(samples, tf.stack([-1, tf.maximum(header.channels, 1)]))
    waveform = tf.cond(
        header.channels == 1,
        lambda: frames[:, 0],
        lambda: tf.reduce_mean(frames, axis=1),
    )
    return tf.where(tf.math.is_finite(waveform), waveform, tf.zeros_like(waveform))


def decode_wav(contents: tf.Tensor, name="") -> tuple[tf.Tensor, tf.Tensor]:
    """The waveform of a WAV file.

    Args:
        contents: string scalar, the bytes of the file.
        name: of the file, for the error.

    Returns:
        The waveform, float32 [n], mean over 1 to 8 channels, in [-1, 1] for
        PCM; and its rate in Hz, int32, 8,000 to 192,000.

    Raises:
        tf.errors.InvalidArgumentError: the file is empty, truncated, of another
            format or has an absurd header; the message names it.
    """
    raw = tf.io.decode_raw(contents, tf.uint8)
    header = read_header(raw)
    message = tf.strings.join(
        ["The sound ", name, " must be a whole WAV file; ", header.problem, "."]
    )
    readable = tf.equal(header.problem, "")
    with tf.control_dependencies([tf.debugging.Assert(readable, [message])]):
        raw = tf.identity(raw)
        # What follows must not fail on an absurd rate before this check does.
        rate_hz = tf.clip_by_value(header.rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)
    return read_samples(raw, header), rate_hz
