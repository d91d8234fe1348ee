"""Output paths, atomic replacement of files, foreign entries, names in messages."""

import contextlib
import csv
import errno
import os
import pathlib
import re
import secrets
import shutil
import struct
import time
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence

# What json, csv, NumPy, zipfile and h5py raise on truncated or altered files.
DAMAGED_FILE_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    csv.Error,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
# Errors that concern every file that is written: a command ends with them.
DISK_ERRORS = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)


def check_output(path: pathlib.Path, ending: str = "") -> None:
    """Checks that a path is usable as the `output` of a command.

    Args:
        path: path of the file to write.
        ending: required suffix, such as ".png"; "" allows any.

    Raises:
        ValueError: the path is a folder or has another suffix.
    """
    if path.is_dir():
        raise ValueError(
            f"output must be a file; received the folder {path}. Give a file in it, "
            f"such as {path / ('output' + ending)}."
        )
    if path.suffix.lower() != ending and ending:
        raise ValueError(
            f"output must end in {ending}; received {path}. Use "
            f"{path.with_suffix(ending)}."
        )


def check_output_folder(path: str | pathlib.Path | None) -> None:
    """Checks that a path is usable as the `output_dir` of a command.

    Args:
        path: path of the folder to write; None or "" for none.

    Raises:
        ValueError: the path is a file.
    """
    if path and pathlib.Path(path).is_file():
        raise ValueError(
            f"output_dir must be a folder; received the file {path}. Give another one, "
            "which is created if it does not exist."
        )


@contextlib.contextmanager
def reading(path: str | pathlib.Path, rule: str, way_out: str) -> Iterator[None]:
    """Turns the errors of a damaged file into one with file, rule and way out.

    >>> with reading("a.json", "hold the settings of a run", "Restore it."):
    ...     {}["config"]
    Traceback (most recent call last):
    ValueError: a.json must hold the settings of a run; reading it failed: the entry
    'config' is missing. Restore it.

    Args:
        path: path of the file.
        rule: what it must be, after "must".
        way_out: sentences about what to do.

    Yields:
        None, while the file is read.

    Raises:
        ValueError: reading it failed with one of `DAMAGED_FILE_ERRORS`.
    """
    try:
        yield
    except (*DAMAGED_FILE_ERRORS, OSError) as error:
        # A wrong offset in an archive; other errors of the disk name their file.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        reason = f"the entry {error} is missing" if type(error) is KeyError else error
        raise ValueError(
            f"{path} must {rule}; reading it failed: {str(reason).rstrip('.')}. "
            f"{way_out}"
        ) from error


def unique_number() -> str:
    """Digits for a temporary name that no other process or thread uses.

    The number of the process is not enough: in every container the first is 1.
    """
    return f"{os.getpid()}{secrets.randbelow(10**12):012d}"


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Writes a file atomically: a failure leaves the previous file unchanged.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "a.txt"
    ...     with replacing(path) as temporary:
    ...         _ = temporary.write_text("new")
    ...     path.read_text()
    'new'

    Args:
        path: the file to write; its folder is created if it does not exist.

    Yields:
        A temporary path in the same folder with the same suffix. It replaces
        `path` when the block succeeds and is removed when the block fails.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keras chooses the format by the suffix, so the temporary path has the same one.
    name, dot, ending = path.name.partition(".")
    temporary = path.with_name(f"{name}-{unique_number()}-partial{dot}{ending}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


# In a folder that several processes write to, a temporary file that is older was left
# by a killed process.
PARTIAL_SECONDS = 24 * 3600.0
# The end of a temporary name of `replacing`.
_PARTIAL = re.compile(r"-[0-9]+-partial(\.|$)")


def is_partial(path: pathlib.Path) -> bool:
    """Whether a path is a temporary name of `replacing`: a file that is not complete.

    >>> is_partial(pathlib.Path("a-71-partial.npz")), is_partial(pathlib.Path("a.npz"))
    (True, False)
    """
    return bool(_PARTIAL.search(path.name))


# Entries that operating systems, archivers and notebooks add to folders.
SYSTEM_NAMES = {
    *("__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini"),
    *("@eadir", "$recycle.bin", "system volume information", "lost+found"),
}


def reserve(path: pathlib.Path, size: int) -> None:
    """Checks that a file of a size can be written; the file is not kept.

    Libraries such as HDF5 do not recover when the disk is full in the middle of a
    file, so that the space is allocated once before they write.

    Args:
        path: the file that will be written.
        size: number of bytes.

    Raises:
        OSError: the disk is full, a quota is exceeded, or the folder is gone.
    """
    with open(path, "wb") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
            else:
                free = shutil.disk_usage(path.parent).free
                if free < size:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            # The message names the folder that must have the space.
            error.filename = str(path.parent)
            raise
        finally:
            path.unlink()


def remove_partial_files(
    folder: pathlib.Path, depth: int = 0, *, min_age_seconds: float = 0.0
) -> None:
    """Removes temporary files and folders that killed processes left.

    They have a name as of `replacing`.

    Args:
        folder: folder that no other process writes to; or in which none needs
            `min_age_seconds` for a file.
        depth: levels of folders between it and the files.
        min_age_seconds: time since the last modification of those to remove.
    """
    newest = time.time() - min_age_seconds
    for path in folder.glob("*/" * depth + "*-partial*"):
        # Another process may have removed it or completed it.
        with contextlib.suppress(FileNotFoundError):
            if not is_partial(path) or path.stat().st_mtime > newest:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def is_system_entry(name: str) -> bool:
    """Whether a file or folder was not put there by a user.

    Args:
        name: name of the entry, without its folder.

    Returns:
        True for a hidden name (".ipynb_checkpoints", "._a.jpg") and for those of
        operating systems ("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir").

    Example:
        >>> is_system_entry("._00001.jpg"), is_system_entry("00001.jpg")
        (True, False)
    """
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def _fail(error: OSError) -> None:
    raise error


def visible_files(root: str | pathlib.Path) -> Iterator[tuple[str, str]]:
    """The files below a folder, without system entries and what is in them.

    Args:
        root: folder; links to folders in it are not followed.

    Yields:
        The path of a file, and its path relative to `root`: by name in each folder,
        the files of a folder before those of its subfolders.

    Raises:
        OSError: a folder cannot be listed.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("lake/1.jpg", "lake/._1.jpg", "__MACOSX/1.jpg"):
        ...         path = pathlib.Path(folder, name)
        ...         path.parent.mkdir(exist_ok=True)
        ...         path.touch()
        ...     [relative for _, relative in visible_files(folder)]
        ['lake/1.jpg']
    """
    for folder, subfolders, names in os.walk(root, onerror=_fail):
        subfolders[:] = sorted(name for name in subfolders if not is_system_entry(name))
        inner = os.path.relpath(folder, root)
        for name in sorted(name for name in names if not is_system_entry(name)):
            path = os.path.join(folder, name)
            yield path, name if inner == os.curdir else os.path.join(inner, name)


def is_utf8(name: str) -> bool:
    """Whether a name from the file system is valid UTF-8.

    Args:
        name: a name or path as Python decodes it.

    Returns:
        False if it holds bytes that are no UTF-8, which Python keeps as surrogates
        and which TensorFlow cannot open.

    Example:
        >>> import os
        >>> is_utf8("forêt"), is_utf8(os.fsdecode(bytes([102, 234])))
        (True, False)
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def join_names(names: Sequence[str], limit: int = 10) -> str:
    """Joins names with commas and shortens a long list, for a message.

    Args:
        names: what to list.
        limit: the largest number of names listed.

    Returns:
        The names; beyond `limit` their number.

    Example:
        >>> join_names(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    listed = ", ".join(names[:limit])
    rest = len(names) - limit
    return f"{listed} and {rest} more" if rest > 0 else listed
