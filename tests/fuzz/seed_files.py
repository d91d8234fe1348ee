"""A reader with valid files to mutate, and the contents of such files."""

import csv
import dataclasses
import io
import json
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader of files.

    Attributes:
        file: name of the file to read.
        seeds: valid files.
        read: path of a file → numbers that must be finite, or None; it raises
            ValueError with the path for a damaged file.
    """

    file: str
    seeds: Sequence[bytes]
    read: Callable[[pathlib.Path], object]


def csv_file(*rows: Sequence[object]) -> bytes:
    """The bytes of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def json_file(values: object) -> bytes:
    """The bytes of a JSON file."""
    return json.dumps(values, indent=1).encode()


def npz_file(**arrays: np.ndarray) -> bytes:
    """The bytes of an archive of arrays."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def written(write: Callable[[pathlib.Path], object], name: str) -> bytes:
    """The bytes of a file that a function writes into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder))
        return (pathlib.Path(folder) / name).read_bytes()
