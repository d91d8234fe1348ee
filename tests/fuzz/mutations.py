"""Seeded mutations of the bytes of a file."""

from collections.abc import Callable, Sequence

import numpy as np

# Values that decoders take for sizes, counts and offsets.
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_WORDS = (b"NaN", b"inf", b"-1", b"1e20", b'"', b",", b";", b"\n", b"\0", b"\xff\xfe")
_LARGEST_BLOCK = 64
_MOST_MUTATIONS = 4


def _place(data: bytearray, rng: np.random.Generator) -> int:
    # Half of the places are in the header.
    end = min(len(data), 128) if rng.random() < 0.5 else len(data)
    return int(rng.integers(0, end + 1))


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    place, bit = _place(data, rng), 1 << int(rng.integers(8))
    data[place : place + 1] = bytes(byte ^ bit for byte in data[place : place + 1])


def _byte(data: bytearray, rng: np.random.Generator) -> None:
    place = _place(data, rng)
    data[place : place + 1] = bytes([int(rng.integers(256))])


def _number(data: bytearray, rng: np.random.Generator) -> None:
    place, size = _place(data, rng), int(rng.choice([1, 2, 4, 8]))
    value = int(rng.choice(_NUMBERS)) % (1 << 8 * size)
    order = "little" if rng.random() < 0.5 else "big"
    data[place : place + size] = value.to_bytes(size, order)


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, rng: np.random.Generator) -> None:
    place = _place(data, rng)
    del data[place : place + int(rng.integers(1, _LARGEST_BLOCK))]


def _repeat(data: bytearray, rng: np.random.Generator) -> None:
    first, second = _place(data, rng), _place(data, rng)
    block = data[first : first + int(rng.integers(1, _LARGEST_BLOCK))]
    data[second:second] = block


def _insert(data: bytearray, rng: np.random.Generator) -> None:
    place = _place(data, rng)
    data[place:place] = rng.bytes(int(rng.integers(1, _LARGEST_BLOCK)))


def _word(data: bytearray, rng: np.random.Generator) -> None:
    place = _place(data, rng)
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    width = len(word) if rng.random() < 0.5 else 0
    data[place : place + width] = word


def _zeros(data: bytearray, rng: np.random.Generator) -> None:
    place = _place(data, rng)
    size = min(int(rng.integers(1, _LARGEST_BLOCK)), len(data) - place)
    data[place : place + size] = bytes(size)


_MUTATIONS: Sequence[Callable[[bytearray, np.random.Generator], None]] = (
    *(_flip, _byte, _number, _number, _cut, _remove, _repeat, _insert, _word, _zeros),
)


def mutant(contents: bytes, rng: np.random.Generator) -> bytes:
    """A copy of a file with one to four random changes."""
    data = bytearray(contents)
    for _ in range(int(rng.integers(1, _MOST_MUTATIONS + 1))):
        _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](data, rng)
    return bytes(data)
