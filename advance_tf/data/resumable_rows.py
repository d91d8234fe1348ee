"""Rows that are computed in order and written chunk by chunk, with resumption."""

import pathlib
import shutil

import numpy as np

from advance_tf.data.rows import ComputedRows, Rows, blocks
from advance_tf.files import DAMAGED_FILE_ERRORS, replacing
from advance_tf.parts import part_path

# Least number of rows in a chunk but the last; an interruption loses no more.
CHUNK_ROWS = 256


class ResumableRows:
    """Rows of float32 that are appended in order and written chunk by chunk.

    With a folder only the rows of the next chunk are in memory.

    Args:
        folder: folder of the chunks, each named by its first row; existing chunks
            are read and continued. None keeps the rows in memory only.
        total: number of rows when complete.
        columns: number of columns.
        content: what the rows are, for errors.
        remedy: what to do about damaged chunks, a sentence for errors.

    Raises:
        ValueError: the folder contains chunks of other rows, or damaged ones.

    Example:
        >>> rows = ResumableRows(None, total=3, columns=2)
        >>> rows.append(np.zeros((2, 2), np.float32))
        >>> len(rows), rows.array().shape
        (2, (2, 2))
    """

    def __init__(
        self,
        folder: str | pathlib.Path | None,
        total: int,
        columns: int,
        *,
        content: str = "rows of an interrupted computation",
        remedy: str = "Remove its folder.",
    ) -> None:
        self._folder = pathlib.Path(folder) if folder else None
        self._content, self._remedy = content, remedy
        self._columns = columns
        self._total = total
        # The first row of each chunk and the number of rows in all of them.
        self._starts: list[int] = []
        self._written = 0
        # Chunks are in memory only without a folder.
        self._chunks: list[np.ndarray] = []
        self._pending: list[np.ndarray] = []
        self._pending_rows = 0
        if self._folder:
            self._find_chunks(self._folder)

    def __len__(self) -> int:
        return self._written + self._pending_rows

    def append(self, rows: np.ndarray) -> None:
        """Appends rows; writes a chunk once it is large enough or all rows are there.

        Args:
            rows: float32 [n, columns].
        """
        self._pending.append(rows)
        self._pending_rows += len(rows)
        if self._pending_rows < CHUNK_ROWS and len(self) < self._total:
            return
        chunk = np.concatenate(self._pending)
        if self._folder:
            path = part_path(self._folder, self._written, ".npy")
            with replacing(path) as temporary:
                np.save(temporary, chunk)
        else:
            self._chunks.append(chunk)
        self._add_chunk(len(chunk))
        self._pending, self._pending_rows = [], 0

    def array(self) -> np.ndarray:
        """All rows appended so far, float32 [rows, columns]."""
        written = blocks(self.written()) if self._folder else self._chunks
        empty = np.empty((0, self._columns), np.float32)
        return np.concatenate([empty, *written, *self._pending])

    def written(self) -> Rows:
        """The rows in the chunks of the folder, which are read when needed.

        Returns:
            float32 [rows, columns], all rows once the last one is appended.
        """
        shape = (self._written, self._columns)
        return ComputedRows(self._read, shape, np.float32)

    def _add_chunk(self, rows: int) -> None:
        self._starts.append(self._written)
        self._written += rows

    def _read(self, indices: np.ndarray) -> np.ndarray:
        """Rows of the chunks in the folder."""
        assert self._folder is not None
        rows = np.empty((len(indices), self._columns), np.float32)
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(numbers):
            start, chosen = self._starts[number], numbers == number
            path = part_path(self._folder, start, ".npy")
            chunk = np.load(path, allow_pickle=False)
            rows[chosen] = chunk[indices[chosen] - start]
        return rows

    def _find_chunks(self, folder: pathlib.Path) -> None:
        """Finds and validates the chunks of a folder, in order."""
        while (path := part_path(folder, self._written, ".npy")).exists():
            try:
                # The map checks the size of the file and reads only its header.
                chunk = np.load(path, mmap_mode="r", allow_pickle=False)
            except (*DAMAGED_FILE_ERRORS, OSError) as error:
                raise ValueError(self._error(path, str(error))) from error
            if chunk.dtype != np.float32 or chunk.shape[1:] != (self._columns,):
                received = f"received {chunk.dtype} of shape {chunk.shape}"
                raise ValueError(self._error(path, received))
            if not len(chunk):
                raise ValueError(self._error(path, "received no row"))
            self._add_chunk(len(chunk))
        if self._written > self._total:
            message = f"received more than {self._total} rows"
            raise ValueError(self._error(folder, message))

    def _error(self, path: pathlib.Path, reason: str) -> str:
        return f"{path} must contain {self._content}; {reason}. {self._remedy}"


def remove_chunks(folder: str | pathlib.Path) -> None:
    """Removes the chunks of `ResumableRows`, if the folder exists."""
    if pathlib.Path(folder).is_dir():
        shutil.rmtree(folder)
