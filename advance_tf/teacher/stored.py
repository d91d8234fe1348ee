"""Files of arrays that are checked before they are believed."""

import pathlib
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.files import replacing

# What NumPy and zipfile raise on files that are cut off or altered.
_DAMAGED = (
    AttributeError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

AGAIN = "Make it again with `python -m advance_tf.teach`."


def write_arrays(path: pathlib.Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Writes named arrays and texts, or leaves the old file.

    Args:
        path: of the `.npz` file.
        arrays: name → array or text.
    """
    converted: dict[str, Any] = {
        name: np.asarray(value) for name, value in arrays.items()
    }
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **converted)


def read_arrays(
    path: pathlib.Path, shapes: Mapping[str, tuple[int | None, ...]]
) -> dict[str, np.ndarray]:
    """Reads and checks a file of `write_arrays`.

    Args:
        path: of the `.npz` file.
        shapes: name → shape of what must be there; None for any length.

    Returns:
        Name → array.

    Raises:
        ValueError: the file is damaged, or an array is missing or of another
            shape.
        FileNotFoundError: there is no file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in shapes}
    except _DAMAGED as error:
        raise ValueError(
            f"{path} must be a whole file of event knowledge; reading it failed: "
            f"{error}. Remove it. {AGAIN}"
        ) from error
    for name, shape in shapes.items():
        received = arrays[name].shape
        if len(received) != len(shape) or any(
            wanted not in (None, length)
            for wanted, length in zip(shape, received, strict=True)
        ):
            raise ValueError(
                f"{path}: {name} must have the shape {shape}; received {received}. "
                f"Remove it. {AGAIN}"
            )
    return arrays


def check_equal(path: pathlib.Path, arrays: Mapping, wanted: Mapping, why: str) -> None:
    """Refuses a file that was made for something else.

    Args:
        path: of the file, for the error.
        arrays: as read.
        wanted: name → the array or text that must be there.
        why: the way out.

    Raises:
        ValueError: one of them differs.
    """
    for name, value in wanted.items():
        received, expected = arrays[name].ravel(), np.asarray(value).ravel()
        if np.array_equal(received, expected):
            continue
        where = f"it has {len(received)} of them, not {len(expected)}"
        if len(received) == len(expected):
            at = int(np.argmax(received != expected))
            where = f"it has {received[at]} where {expected[at]} is wanted"
        raise ValueError(f"{path} must hold the {name} in use; {where}. {why}")
