"""Reads the CSV files of users: encodings, separators and rows are checked.

Spreadsheets write byte-order marks, UTF-16, semicolons and blank lines. What is
unambiguous is read; everything else is an error with the file, the line and the rule.
"""

import codecs
import csv
import io
import pathlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t")


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        line: number of its last line in the file, from 1.
        values: column → cell, without surrounding blanks.
    """

    line: int
    values: Mapping[str, str]


class Table(NamedTuple):
    """The contents of a CSV file.

    Attributes:
        columns: the names in the header; empty for an empty file.
        rows: the rows that are not blank.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_cells(path: str | pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    r"""Reads the rows of a CSV file without a fixed header.

    The file is UTF-8, or UTF-16 with a byte-order mark. Cells are separated by
    commas; by semicolons or tabs where the first line has one of them and no comma.
    Blank rows are left out.

    Args:
        path: path of the file.

    Yields:
        The number of the row's last line, from 1, and its cells, without
        surrounding blanks.

    Raises:
        ValueError: the file has another encoding or is not CSV; the message states
            the line.
        FileNotFoundError: the file does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.csv"
        ...     _ = path.write_bytes(b"\xef\xbb\xbfsite;year\r\n00017;2020\r\n;\r\n")
        ...     list(read_cells(path))
        [(1, ['site', 'year']), (2, ['00017', '2020'])]
    """
    path = pathlib.Path(path)
    text = _decode(path, path.read_bytes())
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((mark for mark in _DELIMITERS if mark in first), ",")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True
    )
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: the file must be CSV; reading it "
            f"failed: {error}. Save it as CSV again."
        ) from error


def _decode(path: pathlib.Path, contents: bytes) -> str:
    """The text of a file; raises ValueError for another encoding than Unicode."""
    encoding = "utf-8"
    for mark, name in _MARKS:
        if contents.startswith(mark):
            encoding = name
    try:
        text = contents.decode(encoding)
    except UnicodeDecodeError as error:
        line = contents.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: a CSV file must be encoded as UTF-8; it has the "
            f"byte 0x{contents[error.start]:02x} there, which is not. Save it as "
            "'CSV UTF-8'."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f"{path}, line {line}: a CSV file must be text; it has a zero byte there. "
            "Save it as 'CSV UTF-8'."
        )
    return text


def read_table(path: str | pathlib.Path) -> Table:
    """Reads a CSV file whose first row names the columns.

    Args:
        path: path of the file, see `read_cells`.

    Returns:
        Columns and rows.

    Raises:
        ValueError: the file cannot be read, a column is named twice, or a row has
            another number of cells than the header; the message states the line.
        FileNotFoundError: the file does not exist.
    """
    rows: list[Row] = []
    columns: list[str] = []
    for line, cells in read_cells(path):
        if not columns:
            columns = cells
            double = sorted({name for name in columns if columns.count(name) > 1})
            if double:
                raise ValueError(
                    f"{path}, line {line}: a column may be named once; received "
                    f"{', '.join(map(repr, double))} again. Rename one."
                )
            continue
        if len(cells) != len(columns):
            raise ValueError(
                f"{path}, line {line}: a row must have {len(columns)} values, as many "
                f"as the header ({', '.join(columns)}); received {len(cells)}. "
                "Complete the row, and put values with commas in quotation marks."
            )
        rows.append(Row(line, dict(zip(columns, cells, strict=True))))
    return Table(tuple(columns), tuple(rows))
