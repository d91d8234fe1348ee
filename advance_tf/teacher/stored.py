"""Files of arrays that are checked before they are believed."""

import pathlib
import struct
import zipfile
import zlib
from collections.abc import Mapping

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
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary, **{name: np.asarray(value) for name, value in arrays.items()}
        )


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
        if not np.array_equal(arrays[name], np.asarray(value)):
            received, expected = arrays[name].ravel(), np.asarray(value).ravel()
            if len(received) == len(expected):
                at = int(np.argmax(received != expected))
                received, expected = received[at], expected[at]
            else:
                received, expected = len(received), len(expected)
            raise ValueError(
                f"{path} must hold the {name} in use; it has {received} where there "
                f"is {expected}. {why}"
            )
