"""Work that several processes share: parts of a table of rows, each one file.

A table is divided into parts of a fixed number of rows, whatever the number of
processes; process i of n computes the parts i, i + n, i + 2n, …. A part is done when
its file exists, which is written atomically. An interrupted process therefore
continues with the parts that are missing, and the number of processes may change.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from advance_tf.files import reading, replacing

MANIFEST = "parts.json"
_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of several processes that share work.

    Attributes:
        index: its number, 0 to `count` − 1.
        count: number of the processes.

    Example:
        >>> Shard.of("1/4")
        Shard(index=1, count=4)
    """

    index: int = 0
    count: int = 1

    @classmethod
    def of(cls, text: str) -> "Shard":
        """The shard of a text "i/n".

        Args:
            text: number of the process, from 0, and number of the processes.

        Returns:
            The shard.

        Raises:
            ValueError: the text has another form, or i is not below n.
        """
        match = _SHARD.fullmatch(text)
        if not match or int(match[1]) >= int(match[2]):
            raise ValueError(
                "shard must be i/n with 0 ≤ i < n, such as 0/4 for the first of four "
                f"processes; received {text!r}."
            )
        return cls(int(match[1]), int(match[2]))


def part_path(folder: pathlib.Path, start: int, ending: str) -> pathlib.Path:
    """The file of the rows that begin at `start`: its number in eight digits."""
    return folder / f"{start:08d}{ending}"


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of one table in a folder.

    Attributes:
        folder: folder of the parts, for this work only.
        settings: what determines the rows; the same for every process.
        rows: number of rows of the table.
        part_rows: rows in a part; the last one may have fewer.
        ending: suffix of the files, such as ".jsonl".
    """

    folder: pathlib.Path
    settings: Mapping[str, Any]
    rows: int
    part_rows: int
    ending: str

    @property
    def starts(self) -> range:
        """The first row of every part."""
        return range(0, self.rows, self.part_rows)

    def path(self, start: int) -> pathlib.Path:
        """The file of the part that begins at a row."""
        return part_path(self.folder, start, self.ending)

    def missing(self, shard: Shard | None = None) -> list[int]:
        """The first row of each part that is not done.

        Args:
            shard: consider the parts of this process only; None for all.

        Returns:
            The first rows, ascending.
        """
        own = shard or Shard()
        starts = self.starts[own.index :: own.count]
        return [start for start in starts if not self.path(start).exists()]

    def begin(self) -> None:
        """Writes parts.json, or checks the one of another process.

        Raises:
            ValueError: the folder holds the parts of other work.
        """
        path = self.folder / MANIFEST
        own = self._contents()
        if path.exists():
            way_out = "Use another folder, or remove it."
            with reading(path, "state the work of the parts beside it", way_out):
                stored = json.loads(path.read_text(encoding="utf-8"))
                differing = sorted(name for name in own if own[name] != stored[name])
            if differing:
                raise ValueError(
                    f"All processes must share the same work; {path} has "
                    + ", ".join(
                        f"{name} {json.dumps(stored[name])} instead of "
                        f"{json.dumps(own[name])}"
                        for name in differing
                    )
                    + f". {way_out}"
                )
            return
        self._write(own)

    def finish(self) -> None:
        """Adds rows, bytes and SHA-256 of every part to parts.json.

        Every part must be done. Several processes may call it: they write the same.
        """
        done = []
        for start in self.starts:
            contents = self.path(start).read_bytes()
            done.append(
                {
                    "file": self.path(start).name,
                    "rows": min(self.part_rows, self.rows - start),
                    "bytes": len(contents),
                    "sha256": hashlib.sha256(contents).hexdigest(),
                }
            )
        self._write({**self._contents(), "done": done})

    def _contents(self) -> dict[str, Any]:
        table = {"rows": self.rows, "part_rows": self.part_rows}
        contents: dict[str, Any] = json.loads(json.dumps({**self.settings, **table}))
        return contents

    def _write(self, contents: Mapping[str, Any]) -> None:
        with replacing(self.folder / MANIFEST) as temporary:
            text = json.dumps(contents, indent=2, ensure_ascii=False)
            temporary.write_text(f"{text}\n", encoding="utf-8")
