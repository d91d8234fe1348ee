"""Checksums of the files of a folder, so that damage to a file is noticed.

`checksums.json` holds the SHA-256 of each file that was written with
`replacing_checked`. HDF5 and uncompressed archives are read without an error when
bytes in the middle of an array change.
"""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator

from advance_tf.files import DAMAGED_FILE_ERRORS, replacing

CHECKSUMS = "checksums.json"


def file_sha256(path: str | pathlib.Path, size: int | None = None) -> str:
    """SHA-256 of a file, or of its first `size` bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        left = os.fstat(file.fileno()).st_size if size is None else size
        while block := file.read(min(left, 1 << 20)):
            digest.update(block)
            left -= len(block)
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
    if _recorded(path.parent).get(path.name):
        verified_sha256(path)


def verified_sha256(path: pathlib.Path) -> str:
    """SHA-256 of a file, which is checked against its recorded checksum.

    Args:
        path: as for `verify`.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: the file differs from what was written.
    """
    valid = _recorded(path.parent).get(path.name)
    digest = file_sha256(path)
    if valid and digest not in valid:
        # Another process may have replaced the file and its record in the meantime.
        _check(path, digest, _recorded(path.parent).get(path.name))
    return digest


def _check(path: pathlib.Path, digest: str, valid: list[str] | None) -> None:
    if valid and digest not in valid:
        raise ValueError(
            f"{path} is damaged: its SHA-256 differs from the one in {CHECKSUMS}. "
            "Restore it from a copy, or remove it and write it again. If you changed "
            f"it yourself, remove its entry from {CHECKSUMS}."
        )


def record_folder(folder: pathlib.Path) -> None:
    """Records the checksums of the files of a folder, at any depth.

    Args:
        folder: folder that is complete; its `checksums.json` is replaced.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    records = {
        name: [file_sha256(path)]
        for name, path in files.items()
        if path.is_file() and name != CHECKSUMS
    }
    _write(folder, records)


def verify_folder(folder: pathlib.Path) -> None:
    """Checks the files of a folder against the checksums of `record_folder`.

    Args:
        folder: an existing folder; one without records, such as one of an earlier
            version, is not checked, and neither are further files in it.

    Raises:
        ValueError: a file is missing, or differs from what was written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "assets", "a.txt")
        ...     path.parent.mkdir()
        ...     _ = path.write_text("complete")
        ...     record_folder(pathlib.Path(folder))
        ...     verify_folder(pathlib.Path(folder))
        ...     path.unlink()
        ...     verify_folder(pathlib.Path(folder))
        Traceback (most recent call last):
        ValueError: ...a.txt must exist: it is in checksums.json. ...
    """
    for name, valid in _recorded(folder).items():
        path = folder / name
        if not path.is_file():
            raise ValueError(
                f"{path} must exist: it is in {CHECKSUMS}. Restore it from a copy, or "
                "write the folder again."
            )
        _check(path, file_sha256(path), valid)


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
    _write(path.parent, _recorded(path.parent) | {path.name: valid})


def _write(folder: pathlib.Path, records: dict[str, list[str]]) -> None:
    text = json.dumps(records, indent=2, sort_keys=True) + "\n"
    with replacing(folder / CHECKSUMS) as temporary:
        temporary.write_text(text, encoding="utf-8")
