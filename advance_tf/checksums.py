"""Checksums of the files of a folder, so that damage to a file is noticed.

`checksums.json` holds the SHA-256 of each file that was written with
`replacing_checked`. HDF5 and uncompressed archives are read without an error when
bytes in the middle of an array change.
"""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Iterator

from advance_tf.files import DAMAGED_FILE_ERRORS, replacing

CHECKSUMS = "checksums.json"


def file_sha256(path: str | pathlib.Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def path_sha256(path: str | pathlib.Path) -> str:
    """SHA-256 of a file, or of the names and contents of the files of a folder."""
    path = pathlib.Path(path)
    if not path.is_dir():
        return file_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\n".encode())
        digest.update(file_sha256(file).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def replacing_checked(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Writes a file atomically and records its checksum.

    Between the new file and its final record, the checksums of both the previous and
    the new file are valid, so that a process may be killed at any time.

    Args:
        path: the file to write; its folder is created if it does not exist.

    Yields:
        A temporary path, see `files.replacing`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.txt"
        ...     with replacing_checked(path) as temporary:
        ...         _ = temporary.write_text("complete")
        ...     verify(path)
        ...     _ = path.write_text("damaged")
        ...     verify(path)
        Traceback (most recent call last):
        ValueError: ...a.txt is damaged: ...
    """
    path = pathlib.Path(path)
    with replacing(path) as temporary:
        yield temporary
        digest = file_sha256(temporary)
        _record(path, [*_recorded(path.parent).get(path.name, []), digest])
    _record(path, [digest])


def verify(path: pathlib.Path) -> None:
    """Checks a file against its recorded checksum.

    Args:
        path: an existing file; one without a record, such as one of an earlier
            version, is not checked.

    Raises:
        ValueError: the file differs from what was written.
    """
    valid = _recorded(path.parent).get(path.name)
    if valid and file_sha256(path) not in valid:
        raise ValueError(
            f"{path} is damaged: its SHA-256 differs from the one in {CHECKSUMS}. "
            "Restore it from a copy, or remove it and write it again. If you changed "
            f"it yourself, remove its entry from {CHECKSUMS}."
        )


def _recorded(folder: pathlib.Path) -> dict[str, list[str]]:
    path = folder / CHECKSUMS
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): [str(one) for one in valid] for name, valid in contents.items()
        }
    except FileNotFoundError:
        return {}
    except DAMAGED_FILE_ERRORS as error:
        raise ValueError(
            f"{path} must hold the checksums of the files beside it; reading it "
            f"failed: {error}. Remove it to work without checksums."
        ) from error


def _record(path: pathlib.Path, valid: list[str]) -> None:
    records = _recorded(path.parent) | {path.name: valid}
    text = json.dumps(records, indent=2, sort_keys=True) + "\n"
    with replacing(path.parent / CHECKSUMS) as temporary:
        temporary.write_text(text, encoding="utf-8")
