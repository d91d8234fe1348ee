"""The header of a WAV file, read as TensorFlow operations.

`tf.audio.decode_wav` reads 16-bit PCM only. This module reads the headers of PCM of
8, 16, 24 and 32 bits and floats of 32 and 64 bits, plain or WAVE_FORMAT_EXTENSIBLE,
and skips unknown chunks. It checks the sizes in a header against the length of the
file. A header in the usual form is read without a loop.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from advance_tf.config import MAX_RATE_HZ, MIN_RATE_HZ
from advance_tf.features.wav_sizes import UNKNOWN_SIZES

MAX_CHANNELS = 8

_PCM, FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
CODINGS = ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (FLOAT, 32), (FLOAT, 64))
_MAX_CHUNKS = 1_000
_CHUNK_HEADER_BYTES = 8
# Position of the first chunk, after "RIFF", the size of the file and "WAVE".
_FIRST_CHUNK = 12
_FMT_START = _FIRST_CHUNK + _CHUNK_HEADER_BYTES
_FMT_SIZES = (16, 18, 40)
_HEAD_BYTES = _FMT_START + max(_FMT_SIZES) + _CHUNK_HEADER_BYTES
# Chunks that writers put before or after the samples.
_CHUNK_NAMES = (
    *("data", "fmt ", "fact", "LIST", "bext", "iXML", "JUNK", "junk", "PAD ", "FLLR"),
    *("cue ", "smpl", "inst", "PEAK", "id3 ", "ID3 ", "axml", "cart", "plst", "ds64"),
)
# Numbers at fixed positions: index of the low and of the high word, and the weight of
# the high one, 0 for a number of 16 bits. The tags RIFF, WAVE and fmt; the size of the
# chunk fmt and its code, channels, rate_hz, align, bits and extensible code;
_HEAD_FIELDS = 10
_HEAD = (
    *((word, word + 1, 1 << 16) for word in (0, 4, 6, 8)),
    *((10, 0, 0), (11, 0, 0), (12, 13, 1 << 16), (16, 0, 0), (17, 0, 0), (22, 0, 0)),
    # then the tag and the size of the next chunk for each size of the fmt chunk.
    *((10 + size // 2, 11 + size // 2, 1 << 16) for size in _FMT_SIZES),
    *((12 + size // 2, 13 + size // 2, 1 << 16) for size in _FMT_SIZES),
)
# Codings of telephones and of old recorders, which `advance prepare` converts.
_COMPRESSED = {2: "MS ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM 6.10"}
# First letters of related containers, which `advance prepare` converts.
_OTHER_CONTAINERS = {
    "RF64": "an RF64",
    "BW64": "a BW64",
    "riff": "a W64",
    "RIFX": "a RIFX",
}


class WavHeader(NamedTuple):
    """The fields of a WAV header and its problem; every field is a scalar.

    Attributes:
        coding: int32, index of the sample coding; -1 for an unsupported one.
        channels: int32, number of channels.
        rate_hz: int32, sampling rate in Hz.
        data_start: int64, position of the first byte of the samples.
        data_bytes: int64, number of bytes of samples in the file.
        samples: int64, number of samples of each channel, 0 for a file with a
            problem; bytes of an incomplete sample at the end do not count.
        problem: string, why the file cannot be read; "" for a valid file.
    """

    coding: tf.Tensor
    channels: tf.Tensor
    rate_hz: tf.Tensor
    data_start: tf.Tensor
    data_bytes: tf.Tensor
    samples: tf.Tensor
    problem: tf.Tensor


def _words(contents: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
    """Reads little-endian numbers of 16 bits, int64 [count]; 0 past the end."""
    length = tf.cast(tf.maximum(tf.strings.length(contents), 0), tf.int64)
    start = tf.clip_by_value(tf.cast(start, tf.int64), 0, length)
    part = tf.strings.substr(contents, start, tf.constant(2 * count, tf.int64))
    words = tf.io.decode_raw(part, tf.uint16, fixed_length=2 * count)
    return tf.cast(words, tf.int64)


def _number(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Joins two words to a number of 32 bits."""
    return low + high * (1 << 16)


def _tag(text: str) -> int:
    """The four letters of a chunk's name as a number."""
    return int.from_bytes(text.encode(), "little")


def _is_chunk_name(tag: tf.Tensor) -> tf.Tensor:
    names = tf.constant([_tag(name) for name in _CHUNK_NAMES], tf.int64)
    return tf.reduce_any(names == tag)


def _next_chunk(contents: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """The start of the chunk behind one whose body ends at `end`.

    Chunks begin at even positions. Some writers leave out the byte that pads an odd
    size; then a known name follows the body at once, and none one byte later.
    """

    def after_odd_size() -> tf.Tensor:
        tags = []
        for start in (end, end + 1):
            words = _words(contents, start, 2)
            tags.append(_number(words[0], words[1]))
        unpadded = _is_chunk_name(tags[0]) & ~_is_chunk_name(tags[1])
        return tf.where(unpadded, end, end + 1)

    return tf.cond(end % 2 > 0, after_odd_size, lambda: end)


_Chunks = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


def _search_chunks(contents: tf.Tensor, length: tf.Tensor) -> _Chunks:
    """Finds the chunks `fmt ` and `data` of any file, one chunk after another."""
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
        words = tf.unstack(_words(contents, position, 4))
        tag, size = _number(words[0], words[1]), _number(words[2], words[3])
        body = position + _CHUNK_HEADER_BYTES
        is_fmt, is_data = tag == _tag("fmt "), tag == _tag("data")
        return (
            tf.minimum(_next_chunk(contents, body + size), length),
            count + 1,
            tf.where(is_fmt, body, fmt),
            tf.where(is_fmt, size, fmt_size),
            tf.where(is_data, body, data),
            tf.where(is_data, size, data_size),
        )

    start = (tf.constant(_FIRST_CHUNK, tf.int64), tf.constant(0), *[absent] * 4)
    found = tf.while_loop(searching, step, start)
    return found[2], found[3], found[4], found[5]


class _Fields(NamedTuple):
    """The numbers of a header, int64 scalars; positions are -1 for absent chunks."""

    fmt: tf.Tensor
    fmt_size: tf.Tensor
    data: tf.Tensor
    data_size: tf.Tensor
    code: tf.Tensor
    channels: tf.Tensor
    rate_hz: tf.Tensor
    align: tf.Tensor
    bits: tf.Tensor


def _head_numbers(contents: tf.Tensor) -> tf.Tensor:
    """Reads the numbers at the fixed positions of `_HEAD`, int64 [len(_HEAD)]."""
    words = tf.io.decode_raw(contents, tf.uint16, fixed_length=_HEAD_BYTES)
    low, high, weight = (np.array(column) for column in zip(*_HEAD, strict=True))
    words = tf.cast(words, tf.int64)
    return tf.gather(words, low) + tf.gather(words, high) * tf.constant(weight)


def _canonical_fields(numbers: tf.Tensor) -> tf.Tensor:
    """The fields of a file whose first two chunks are `fmt ` and `data`."""
    sizes = tf.constant(_FMT_SIZES, tf.int64)
    _, _, _, fmt_size, code, channels, rate_hz, align, bits, subcode = tf.unstack(
        numbers[:_HEAD_FIELDS]
    )
    data_size = tf.reduce_sum(
        tf.where(sizes == fmt_size, numbers[-len(_FMT_SIZES) :], 0)
    )
    code = tf.where((code == _EXTENSIBLE) & (fmt_size >= 40), subcode, code)
    data = fmt_size + (_FMT_START + _CHUNK_HEADER_BYTES)
    fmt = tf.constant(_FMT_START, tf.int64)
    return tf.stack(
        _Fields(fmt, fmt_size, data, data_size, code, channels, rate_hz, align, bits)
    )


def _searched_fields(contents: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """The fields of any file, whose chunks are read one after another."""
    fmt, fmt_size, data, data_size = _search_chunks(contents, length)
    words = tf.unstack(_words(contents, fmt, 13))
    code = tf.where((words[0] == _EXTENSIBLE) & (fmt_size >= 40), words[12], words[0])
    rate_hz = _number(words[2], words[3])
    return tf.stack(
        _Fields(
            *(fmt, fmt_size, data, data_size, code),
            *(words[1], rate_hz, words[6], words[7]),
        )
    )


def _first_problem(*checks: tuple[tf.Tensor, tf.Tensor | str]) -> tf.Tensor:
    """Returns the message of the first failed check, or ""."""
    failed = tf.stack([failed for failed, _ in checks] + [tf.constant(True)])
    messages = tf.stack([message for _, message in checks] + [tf.constant("")])
    return tf.gather(messages, tf.argmax(tf.cast(failed, tf.int32)))


def _coding_problem(code: tf.Tensor) -> tf.Tensor:
    """The problem of a file with a coding that is not read."""
    problem = tf.constant(
        "its coding is not PCM of 8, 16, 24 or 32 bits or float of 32 or 64"
    )
    for compressed, name in _COMPRESSED.items():
        message = f"its coding is {name}, which `advance prepare` converts"
        problem = tf.where(code == compressed, tf.constant(message), problem)
    return problem


def _container_problem(tag: tf.Tensor) -> tf.Tensor:
    """The problem of a file that does not begin as a RIFF/WAVE file."""
    problem = tf.constant("it is not a RIFF/WAVE file")
    for start, kind in _OTHER_CONTAINERS.items():
        message = f"it is {kind} file, which `advance prepare` converts"
        problem = tf.where(tag == _tag(start), tf.constant(message), problem)
    return problem


def _available_size(
    contents: tf.Tensor, data: tf.Tensor, stated: tf.Tensor, available: tf.Tensor
) -> tf.Tensor:
    """The size of the samples in bytes: as stated, or to the end if it is unknown.

    A recorder that loses its power leaves the size 0 before the samples. It is
    really 0 where another chunk follows.
    """

    def without_size() -> tf.Tensor:
        words = _words(contents, data, 4)
        end = _number(words[2], words[3]) + _CHUNK_HEADER_BYTES
        is_chunk = _is_chunk_name(_number(words[0], words[1])) & (end <= available)
        return tf.where(is_chunk, tf.zeros_like(available), available)

    unknown = tf.reduce_any(stated == tf.constant(UNKNOWN_SIZES, tf.int64))
    size = tf.where(unknown, available, stated)
    return tf.cond(stated == 0, without_size, lambda: size)


def read_header(contents: tf.Tensor) -> WavHeader:
    """Reads and checks the header of a WAV file.

    In nearly every file `fmt ` and `data` are the first two chunks. Their fields have
    fixed positions, which are read without the loop over the chunks of other files.

    Args:
        contents: string scalar, the bytes of the complete file.

    Returns:
        The header. An invalid file has a `problem` instead of raising an
        exception, so that one invalid clip does not fail a batch.
    """
    # int32: of 2 GiB and more it is negative.
    stored = tf.strings.length(contents)
    length = tf.cast(tf.maximum(stored, 0), tf.int64)
    numbers = _head_numbers(contents)
    names = [_tag(name) for name in ("RIFF", "WAVE", "fmt ")]
    tags = numbers[:3] == tf.constant(names, tf.int64)
    sizes = numbers[3] == tf.constant(_FMT_SIZES, tf.int64)
    data_tags = numbers[_HEAD_FIELDS : -len(_FMT_SIZES)] == _tag("data")
    complete = length >= numbers[3] + (_FMT_START + _CHUNK_HEADER_BYTES)
    canonical = tf.reduce_all(tags) & tf.reduce_any(sizes & data_tags & complete)
    found = tf.cond(
        canonical,
        lambda: _canonical_fields(numbers),
        lambda: _searched_fields(contents, length),
    )
    fields = _Fields(*tf.unstack(found, num=len(_Fields._fields)))
    # [codings]
    codings = tf.constant(CODINGS, tf.int64)
    matches = tf.reduce_all(codings == tf.stack([fields.code, fields.bits]), axis=1)
    # One more place after the codings is that of an unsupported one.
    place = tf.argmax(tf.concat([matches, [True]], 0), output_type=tf.int32)
    coding = tf.where(place < len(CODINGS), place, -1)
    available = tf.maximum(length - fields.data, 0)
    size = _available_size(contents, fields.data, fields.data_size, available)
    smallest = tf.maximum(fields.align, 1)
    problem = _problem(stored, numbers, fields, coding, size, available)
    samples = tf.where(tf.equal(problem, ""), size // smallest, 0)
    return WavHeader(
        coding,
        tf.cast(fields.channels, tf.int32),
        tf.cast(fields.rate_hz, tf.int32),
        tf.maximum(fields.data, 0),
        tf.minimum(size, available),
        samples,
        problem,
    )


def _problem(
    stored: tf.Tensor,
    numbers: tf.Tensor,
    fields: _Fields,
    coding: tf.Tensor,
    size: tf.Tensor,
    available: tf.Tensor,
) -> tf.Tensor:
    """Why a file with these fields cannot be read, "" for a valid file."""
    is_riff = tf.reduce_all(
        numbers[:2] == tf.constant([_tag("RIFF"), _tag("WAVE")], tf.int64)
    )
    smallest = tf.maximum(fields.align, 1)
    unaligned = fields.align - fields.channels * fields.bits // 8
    checked = {
        "length": (tf.cast(stored, tf.int64), 1, 2**31 - 1),
        "fmt": (fields.fmt, 0, 2**31 - 1),
        "fmt_size": (fields.fmt_size, 16, 2**32),
        "data": (fields.data, 0, 2**31 - 1),
        "coding": (tf.cast(coding, tf.int64), 0, len(CODINGS)),
        "channels": (fields.channels, 1, MAX_CHANNELS),
        "rate_hz": (fields.rate_hz, MIN_RATE_HZ, MAX_RATE_HZ),
        "align": (unaligned, 0, 0),
        "truncated": (available - size, 0, 2**32),
        "samples": (size - smallest, 0, 2**32),
    }
    # All limits at once: each operation of a graph takes about as long as one number.
    values, lowest, highest = zip(*checked.values(), strict=True)
    found = tf.stack(values)
    within = (found >= np.array(lowest)) & (found <= np.array(highest))
    valid = is_riff & tf.reduce_all(within)

    def reason() -> tf.Tensor:
        outside = dict(zip(checked, tf.unstack(~within), strict=True))
        return _first_problem(
            (stored < 0, "it is larger than 2 GiB"),
            (stored == 0, "the file is empty"),
            (~is_riff, _container_problem(numbers[0])),
            (
                outside["fmt"]
                | outside["fmt_size"]
                | (fields.fmt + 16 > tf.cast(stored, tf.int64)),
                "it has no complete fmt chunk before its data",
            ),
            (outside["data"], "it has no data chunk"),
            (outside["coding"], _coding_problem(fields.code)),
            (
                outside["channels"],
                f"its number of channels is not 1 to {MAX_CHANNELS}",
            ),
            (
                outside["rate_hz"],
                f"its rate is not {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz",
            ),
            (outside["align"], "its block size contradicts its coding"),
            (
                outside["truncated"],
                "it is truncated: it has fewer bytes than its header states",
            ),
            (outside["samples"], "it has no sample"),
        )

    return tf.cond(valid, lambda: tf.constant(""), reason)
