"""Finds recordings that end before their header states, as broken downloads do.

libsndfile reads such files as shorter recordings. The length that a header states is
compared with the bytes of the file for RIFF, RF64, W64, AIFF and AU; an Ogg stream
must end with the page that is marked as its last. FLAC states its number of samples,
which decoding checks; MP3 without a header frame states nothing.
"""

import os
import pathlib
import struct
from typing import BinaryIO

from advance_tf.features.wav_sizes import UNKNOWN_SIZES

_MAX_CHUNKS = 1_000
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
# The header of an Ogg page, and the largest page.
_OGG_HEADER = struct.Struct("<4sBBqIIIB")
_OGG_PAGE_BYTES = 65_307
_OGG_LAST = 4


def missing_end(path: str | pathlib.Path) -> str:
    r"""States what is missing at the end of a recording.

    Args:
        path: a file in any format.

    Returns:
        "its header states … bytes of samples, the file has …", or that the last page
        of an Ogg stream is missing; "" for a complete recording and for a format
        that does not state its length.

    Raises:
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import soundfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.wav"
        ...     soundfile.write(path, np.zeros(1000), 16_000)
        ...     complete = missing_end(path)
        ...     _ = path.write_bytes(path.read_bytes()[:1044])
        ...     complete, missing_end(path)
        ('', 'its header states 2000 bytes of samples, the file has 1000')
    """
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        start = file.read(16)
        if start[:4] in (b"RIFF", b"RIFX"):
            order = "<" if start[:4] == b"RIFF" else ">"
            return _chunk_problem(file, size, b"data", f"{order}I")
        if start[:4] == b"RF64":
            return _rf64_problem(file, size)
        if start[:4] == b"FORM":
            return _chunk_problem(file, size, b"SSND", ">I")
        if start == _W64_RIFF:
            return _w64_problem(file, size)
        if start[:4] == b".snd" and len(start) >= 12:
            offset, stated = struct.unpack(">II", start[4:12])
            return _problem(stated, size - offset)
        if start[:4] == b"OggS":
            return _ogg_problem(file, size)
    return ""


def _problem(stated: int, present: int) -> str:
    # A size of 0 is one that the encoder has not written.
    if stated in (0, *UNKNOWN_SIZES) or stated <= present:
        return ""
    return (
        f"its header states {stated} bytes of samples, the file has {max(present, 0)}"
    )


def _find_chunk(file: BinaryIO, tag: bytes, number: str) -> tuple[int, int] | None:
    """Position and stated size of the body of a chunk, in RIFF, RF64 and AIFF."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return None
        stated = struct.unpack(number, header[4:])[0]
        position += 8
        if header[:4] == tag:
            return position, stated
        position += stated + stated % 2
    return None


def _chunk_problem(file: BinaryIO, size: int, tag: bytes, number: str) -> str:
    """Compares the chunk of samples with the file, in RIFF and AIFF."""
    chunk = _find_chunk(file, tag, number)
    return _problem(chunk[1], size - chunk[0]) if chunk else ""


def _rf64_problem(file: BinaryIO, size: int) -> str:
    """The size of the samples is in the first chunk, ds64."""
    file.seek(12)
    header = file.read(24)
    chunk = _find_chunk(file, b"data", "<I")
    if len(header) < 24 or header[:4] != b"ds64" or not chunk:
        return ""
    return _problem(struct.unpack("<Q", header[16:24])[0], size - chunk[0])


def _w64_problem(file: BinaryIO, size: int) -> str:
    """Sizes of W64 have 64 bits and include the header of 24 bytes."""
    position = 40
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        header = file.read(24)
        if len(header) < 24:
            return ""
        stated = struct.unpack("<Q", header[16:])[0]
        if header[:16] == _W64_DATA:
            return _problem(stated - 24, size - position - 24)
        position += max(stated + -stated % 8, 24)
    return ""


def _ogg_problem(file: BinaryIO, size: int) -> str:
    """Every page states its length; the last page of a stream is marked."""
    file.seek(max(0, size - _OGG_PAGE_BYTES))
    end = file.read()
    place = end.rfind(b"OggS")
    header = end[place : place + _OGG_HEADER.size]
    if place < 0 or len(header) < _OGG_HEADER.size:
        return "its last Ogg page is cut off"
    _, _, kind, *_, segments = _OGG_HEADER.unpack(header)
    table = end[place + _OGG_HEADER.size :][:segments]
    length = _OGG_HEADER.size + segments + sum(table)
    if len(table) < segments or place + length > len(end):
        return "its last Ogg page is cut off"
    return "" if kind & _OGG_LAST else "the last page of its Ogg stream is missing"
