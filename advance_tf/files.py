"""Output paths, atomic replacement of files, and lists of names in messages."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence


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
    temporary = path.with_name(f"{name}-{os.getpid()}-partial{dot}{ending}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
