"""Rows of a long computation, kept on disk in parts until all are there."""

import pathlib
import shutil

import numpy as np

from advance_tf.files import replacing


class Parts:
    """Rows of float32 in order, written part by part.

    Args:
        folder: of the parts, named by their first row; those that are there are
            gone on from. None keeps the rows in memory only.
        total: rows when all are there.
        columns: of a row.

    Raises:
        ValueError: the folder holds what are no parts of such rows.
    """

    def __init__(self, folder: str | pathlib.Path | None, total: int, columns: int):
        self._folder = pathlib.Path(folder) if folder else None
        self._columns = columns
        self._done: list[np.ndarray] = []
        self._pending: list[np.ndarray] = []
        self._total = total
        if self._folder:
            self._done = self._read(self._folder)

    @property
    def rows(self) -> int:
        """Number of rows that are there, on disk or not."""
        return sum(len(part) for part in (*self._done, *self._pending))

    def add(self, rows: np.ndarray, part_rows: int) -> None:
        """Adds rows, and writes a part when as many are pending or all are there.

        Args:
            rows: float32 [n, columns].
            part_rows: rows of a part at least.
        """
        self._pending.append(rows)
        pending = sum(map(len, self._pending))
        if pending < part_rows and self.rows < self._total:
            return
        part = np.concatenate(self._pending)
        if self._folder:
            first = sum(map(len, self._done))
            with replacing(self._folder / f"{first:08d}.npy") as temporary:
                np.save(temporary, part)
        self._done.append(part)
        self._pending = []

    def all(self) -> np.ndarray:
        """Every row that is there, float32 [rows, columns]."""
        empty = np.empty((0, self._columns), np.float32)
        return np.concatenate([empty, *self._done, *self._pending])

    def _read(self, folder: pathlib.Path) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        while (path := folder / f"{sum(map(len, found)):08d}.npy").exists():
            try:
                part = np.load(path, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise ValueError(_refusal(path, str(error))) from error
            if part.dtype != np.float32 or part.shape[1:] != (self._columns,):
                raise ValueError(_refusal(path, f"it is {part.dtype}{part.shape}"))
            if not len(part):
                raise ValueError(_refusal(path, "it has no row"))
            found.append(part)
        if sum(map(len, found)) > self._total:
            raise ValueError(_refusal(folder, f"more than {self._total} rows"))
        return found


def _refusal(path: pathlib.Path, reason: str) -> str:
    return (
        f"{path} must be a part of an interrupted hearing of these pairs; {reason}. "
        "Remove the folder that it is in and teach again."
    )


def remove_parts(folder: str | pathlib.Path) -> None:
    """Removes the folder of parts, if it is there."""
    if pathlib.Path(folder).is_dir():
        shutil.rmtree(folder)
