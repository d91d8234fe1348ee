"""Rows of a table that are read or computed when a batch needs them.

A column of all pairs, such as paths or soft labels, is not copied into the graph of a
data set: `add_rows` reads the rows of a few elements at a time.
"""

import operator
import os
import pathlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import DTypeLike

from advance_tf.data.shards import is_shards, open_shards

# Elements whose rows are read in one call, and rows in a block of `blocks`.
READ_ROWS = 64
BLOCK_ROWS = 2048


class Rows(Protocol):
    """A table that is indexed by row; NumPy's arrays and memory maps are such tables.

    Attributes:
        shape: [n, …].
        dtype: type of the values; object for strings, which are given as bytes.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and the shape of a row."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, rows: Any, /) -> Any:
        """The rows of an index, a slice or an array of indices."""


class ComputedRows:
    """Rows that a function computes from their indices.

    Args:
        function: indices, int64 [m] in [0, n) → rows [m, …].
        shape: [n, …].
        dtype: type of the values.

    Example:
        >>> squares = ComputedRows(lambda rows: rows**2, (1000,), np.int64)
        >>> squares[[3, 5]].tolist(), int(squares[-1]), len(squares)
        ([9, 25], 998001, 1000)
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        shape: Sequence[int],
        dtype: DTypeLike,
    ) -> None:
        self._function = function
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """The rows of an index, a slice or an array of indices or of booleans."""
        indices = _row_indices(rows, len(self))
        found = np.asarray(self._function(indices.reshape(-1)), self.dtype)
        chosen: np.ndarray = found.reshape(indices.shape + self.shape[1:])[()]
        return chosen

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> np.ndarray:
        """All rows, for NumPy."""
        return np.asarray(self[:], dtype)


def _row_indices(rows: Any, count: int) -> np.ndarray:
    """Indices in [0, count) of an index, a slice or an array, int64."""
    if isinstance(rows, slice):
        return np.arange(*rows.indices(count))
    indices = np.asarray(rows)
    if indices.dtype == bool and indices.shape == (count,):
        return np.flatnonzero(indices)
    if indices.ndim == 0:
        indices = np.asarray(operator.index(rows))
    if indices.size and not -count <= indices.min() <= indices.max() < count:
        raise IndexError(
            f"A row must be in [0, {count}); received {indices.min()} to "
            f"{indices.max()}."
        )
    indices = indices.astype(np.int64)
    return np.where(indices < 0, indices + count, indices)


class StoredRows(ComputedRows):
    """Rows of an array in a file, of which only the requested bytes are read.

    The file stays open: replacing it by another one does not change the rows.

    Args:
        file: a file that is open for reading, without a buffer.
        offset_bytes: position of the first row.
        shape: [n, …].
        dtype: type of the values, in the file and in the rows.
    """

    def __init__(
        self, file: IO[bytes], offset_bytes: int, shape: Sequence[int], dtype: DTypeLike
    ) -> None:
        super().__init__(self._read, shape, dtype)
        self._file, self._offset_bytes = file, offset_bytes
        self._lock = threading.Lock()
        weakref.finalize(self, file.close)

    def _read(self, indices: np.ndarray) -> np.ndarray:
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        contents = rows.reshape(-1).view(np.uint8).data
        # Consecutive rows, such as those of an evaluation, are read in one call.
        starts = np.flatnonzero(np.diff(indices, prepend=-2) != 1)
        stops = np.append(starts, len(indices))[1:]
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            target = contents[start * row_bytes : stop * row_bytes]
            position = self._offset_bytes + int(indices[start]) * row_bytes
            with self._lock:
                self._file.seek(position)
                received = _read_into(self._file, target)
            if received < len(target):
                raise ValueError(
                    f"{self._file.name} must hold {len(self)} rows; it was shortened "
                    "while it was in use. Restore it."
                )
        return rows


def _read_into(file: IO[bytes], target: memoryview) -> int:
    """Fills `target` from an unbuffered file; returns the number of bytes read."""
    received = 0
    while received < len(target):
        # A system call returns at most 2 GiB.
        some = file.readinto(target[received:])  # type: ignore[attr-defined]
        if not some:
            break
        received += some
    return received


def select_rows(
    rows: Rows,
    indices: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray] | None = None,
) -> ComputedRows:
    """Some rows of a table, in the order of `indices`, without a copy.

    Args:
        rows: [n, …].
        indices: int [m] in [0, n).
        function: applied to the rows that are read; keeps their shape and type.

    Returns:
        [m, …].

    Example:
        >>> table = np.arange(10.0)
        >>> select_rows(table, np.array([7, 2, 5]), np.negative)[1:].tolist()
        [-2.0, -5.0]
    """

    def read(own: np.ndarray) -> np.ndarray:
        found: np.ndarray = rows[indices[own]]
        return found if function is None else function(found)

    return ComputedRows(read, (len(indices), *rows.shape[1:]), rows.dtype)


def blocks(rows: Rows, block_rows: int = BLOCK_ROWS) -> Iterator[np.ndarray]:
    """Consecutive blocks of rows.

    Args:
        rows: [n, …].
        block_rows: rows in a block; the last one may have fewer.

    Yields:
        Arrays [m, …] with m ≤ `block_rows`.
    """
    for start in range(0, len(rows), block_rows):
        yield rows[start : start + block_rows]


def path_rows(
    items: Sequence[object], folder: str | pathlib.Path, key: str | int
) -> ComputedRows:
    """Paths of the files of items, such as the images of pairs.

    Args:
        items: n items with a path relative to the folder.
        folder: the folder, or that of its shards.
        key: attribute with the path, such as "image", or its position in a tuple.

    Returns:
        object [n], each the bytes of a path.

    Example:
        >>> path_rows([("1.jpg", 0), ("2.jpg", 1)], "AID", 0)[1]
        b'AID/2.jpg'
    """
    prefix = str(pathlib.Path(folder, "x"))[:-1]
    address = open_shards(folder).address if is_shards(folder) else prefix.__add__
    getter: Callable[[Any], str] = (
        operator.attrgetter(key) if isinstance(key, str) else operator.itemgetter(key)
    )

    def read(rows: np.ndarray) -> np.ndarray:
        paths = [os.fsencode(address(getter(items[row]))) for row in rows.tolist()]
        return np.array(paths, object)

    return ComputedRows(read, (len(items),), object)


def add_rows(
    indices: tf.data.Dataset, columns: Mapping[str, Rows], count: int
) -> tf.data.Dataset:
    """Adds the rows of a table to a data set of indices.

    The rows are read in Python, for `READ_ROWS` elements in a call: the graph holds no
    copy of the table.

    Args:
        indices: data set of tuples of scalars; the last one is the index of a row,
            int64.
        columns: name → rows.
        count: number of elements of `indices`.

    Returns:
        The same tuples with one more entry, a dictionary of name → row.

    Example:
        >>> indices = tf.data.Dataset.range(3).map(lambda index: (index,))
        >>> columns = {"square": np.arange(3.0) ** 2}
        >>> rows = add_rows(indices, columns, 3).as_numpy_iterator()
        >>> [(int(index), float(row["square"])) for index, row in rows]
        [(0, 0.0), (1, 1.0), (2, 4.0)]
    """
    names = tuple(columns)
    kinds = [
        tf.string if rows.dtype == object else tf.as_dtype(rows.dtype)
        for rows in columns.values()
    ]

    def read(chosen: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(columns[name][chosen]) for name in names]

    def add(*element: tf.Tensor) -> tuple[Any, ...]:
        found = tf.numpy_function(read, [element[-1]], kinds, stateful=False)
        for tensor, rows in zip(found, columns.values(), strict=True):
            tensor.set_shape([None, *rows.shape[1:]])
        return (*element, dict(zip(names, found, strict=True)))

    read_ahead = (
        indices.batch(READ_ROWS)
        .map(tf.autograph.experimental.do_not_convert(add))
        .prefetch(1)
        .unbatch()
    )
    return read_ahead.apply(tf.data.experimental.assert_cardinality(count))


def number_rows(count: int) -> tf.data.Dataset:
    """The data set of the tuples (0,), (1,), … (count − 1,), int64, for `add_rows`."""
    return tf.data.Dataset.zip((tf.data.Dataset.range(count),))
