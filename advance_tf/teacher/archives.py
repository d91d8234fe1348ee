"""Archives of arrays (.npz): atomic writing, validated reading, and single rows.

NumPy's archives are zip files. An array that is not compressed is one range of bytes
in the file, of which `read_rows` reads the rows that are needed.
"""

import io
import math
import pathlib
import struct
import zipfile
from collections.abc import Collection, Mapping
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.data.rows import BLOCK_ROWS, Rows, StoredRows, blocks
from advance_tf.files import reading, replacing

_RULE = "be a complete file of event knowledge"
RECOMPUTE = "Compute it again with `advance teach`."
Shape = tuple[int | None, ...]
# The header of a member of a zip file: its length, and the position in it of the
# lengths of the two fields that follow.
_HEADER_BYTES, _FIELD_LENGTHS = 30, 26


def write_arrays(
    path: pathlib.Path,
    arrays: Mapping[str, ArrayLike],
    tables: Mapping[str, Rows] | None = None,
) -> None:
    """Writes named arrays and strings; on failure the previous file is kept.

    Args:
        path: path of the `.npz` file.
        arrays: name → array or string; they are compressed.
        tables: name → rows of float32; they are written block by block and not
            compressed, for `read_rows`.
    """
    with replacing(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, value in arrays.items():
                with _open_member(archive, name, zipfile.ZIP_DEFLATED) as member:
                    array = np.asarray(value)
                    np.lib.format.write_array(member, array, allow_pickle=False)
            for name, rows in (tables or {}).items():
                with _open_member(archive, name, zipfile.ZIP_STORED) as member:
                    _write_rows(member, rows)


def _open_member(archive: zipfile.ZipFile, name: str, method: int) -> IO[bytes]:
    member = zipfile.ZipInfo(f"{name}.npy")
    member.compress_type = method
    return archive.open(member, "w", force_zip64=True)


def _write_rows(file: IO[bytes], rows: Rows) -> None:
    """Writes rows as an array in NumPy's format, block by block."""
    header = {"descr": "<f4", "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for block in blocks(rows):
        file.write(np.ascontiguousarray(block, "<f4").tobytes())


def read_arrays(
    path: pathlib.Path, shapes: Mapping[str, Shape], optional: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Reads a file of `write_arrays` and checks the shapes.

    Args:
        path: path of the `.npz` file.
        shapes: name → expected shape; None stands for any length.
        optional: names in `shapes` that a file may lack.

    Returns:
        Name → array, for the names in `shapes` that the file has.

    Raises:
        ValueError: the file is damaged, or an array is missing or has another shape.
        FileNotFoundError: the file does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.npz"
        ...     write_arrays(path, {"rows": np.ones((3, 2)), "name": "yamnet"})
        ...     arrays = read_arrays(path, {"rows": (None, 2), "name": ()})
        >>> arrays["rows"].shape, str(arrays["name"])
        ((3, 2), 'yamnet')
    """
    with reading(path, _RULE, f"Remove it. {RECOMPUTE}"):
        with np.load(path, allow_pickle=False) as archive:
            arrays = {
                name: archive[name]
                for name in shapes
                if name in archive or name not in optional
            }
        # A member without the header of an array is bytes.
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("a member is no array")
    for name, array in arrays.items():
        _check_shape(path, name, array.shape, shapes[name])
    return arrays


def _check_shape(
    path: pathlib.Path, name: str, received: tuple[int, ...], shape: Shape
) -> None:
    """Raises ValueError unless the shape of an array is the expected one."""
    if len(received) != len(shape) or any(
        expected not in (None, length)
        for expected, length in zip(shape, received, strict=True)
    ):
        raise ValueError(
            f"{path}: {name} must have the shape {shape}; received {received}. "
            f"Remove it. {RECOMPUTE}"
        )


def read_rows(path: pathlib.Path, name: str, shape: tuple[int, ...]) -> Rows:
    """Opens an array of float32 of which rows are read when they are needed.

    The values and the checksum of the array are checked once, block by block.

    Args:
        path: path of a file of `write_arrays`.
        name: name of the array.
        shape: expected shape.

    Returns:
        The rows. They are in memory if the array is compressed, as it is in files of
        version 0.1.

    Raises:
        ValueError: the file is damaged, or the array is missing, has another shape or
            contains a value that is not finite.
        FileNotFoundError: the file does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.npz"
        ...     write_arrays(path, {}, {"logits": np.float32([[1, 2], [3, 4], [5, 6]])})
        ...     read_rows(path, "logits", (3, 2))[[2, 0]].tolist()
        [[5.0, 6.0], [1.0, 2.0]]
    """
    file = path.open("rb", buffering=0)
    try:
        with reading(path, _RULE, f"Remove it. {RECOMPUTE}"):
            rows, is_finite = _open_rows(file, name, shape)
    except ValueError:
        file.close()
        raise
    _check_shape(path, name, rows.shape, shape)
    if not is_finite:
        raise ValueError(
            f"{path}: {name} must be finite; received others. Remove it. {RECOMPUTE}"
        )
    return rows


def _open_rows(file: io.FileIO, name: str, shape: tuple[int, ...]) -> tuple[Rows, bool]:
    """The rows of an array, and whether all of them are finite."""
    with zipfile.ZipFile(file) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            with archive.open(member) as contents:
                array = np.lib.format.read_array(contents, allow_pickle=False)
            return array, bool(np.isfinite(array).all())
        with archive.open(member) as contents:
            version = np.lib.format.read_magic(contents)
            received, by_columns, dtype = np.lib.format.read_array_header_1_0(contents)
            if version != (1, 0) or by_columns or dtype != np.float32:
                raise ValueError(f"rows of float32 are expected; received {dtype}")
            offset = _contents_offset(file, member) + contents.tell()
            is_finite = received != shape or _is_finite(contents, received, dtype)
    return StoredRows(file, offset, received, dtype), is_finite


def _contents_offset(file: io.FileIO, member: zipfile.ZipInfo) -> int:
    """Position of the contents of a member in a zip file."""
    position = file.tell()
    file.seek(member.header_offset + _FIELD_LENGTHS)
    lengths = struct.unpack("<HH", file.read(4))
    file.seek(position)
    return member.header_offset + _HEADER_BYTES + sum(lengths)


def _is_finite(
    contents: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[np.float32]
) -> bool:
    """Reads all rows, which checks their checksum; whether all values are finite."""
    row_bytes = dtype.itemsize * math.prod(shape[1:])
    missing, is_finite = shape[0] * row_bytes, True
    while missing:
        part = contents.read(min(missing, BLOCK_ROWS * row_bytes))
        if not part:
            raise EOFError("rows are missing")
        is_finite &= bool(np.isfinite(np.frombuffer(part, dtype)).all())
        missing -= len(part)
    # Only the end of the contents makes zipfile compare the checksum.
    if contents.read(1):
        raise ValueError("the array has more bytes than its shape states")
    return is_finite
