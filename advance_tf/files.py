"""Files that are either the old or the new one, never half of it."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


def check_output(path: pathlib.Path, ending: str = "") -> None:
    """Refuses a path of --output that no file can be written to.

    Args:
        path: of the file.
        ending: that it must have, "" for any.

    Raises:
        ValueError: it is a folder or ends otherwise.
    """
    if path.is_dir():
        raise ValueError(
            f"--output must name a file; received the folder {path}. Name a file "
            f"in it, such as {path / ('output' + ending)}."
        )
    if path.suffix.lower() != ending and ending:
        raise ValueError(
            f"--output must end in {ending}; received {path}. Name it "
            f"{path.with_suffix(ending)}."
        )


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a temporary path and moves it onto `path` when the block succeeds.

    Args:
        path: the file to write; its folder is made if need be.

    Yields:
        A path in the same folder with the same ending, removed on failure.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keras picks the format by the ending, so the ending stays.
    name, dot, ending = path.name.partition(".")
    temporary = path.with_name(f"{name}-{os.getpid()}-partial{dot}{ending}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
