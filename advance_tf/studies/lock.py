"""One process at a time in a folder, counting the children it left behind."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

_LOCK = "study.lock"


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[int]:
    """Holds a folder while the block runs.

    The lock goes with the file descriptor, and children that inherit it keep it:
    runs that outlive a killed parent still count as at work.

    Args:
        folder: made if need be.

    Yields:
        The descriptor, for `subprocess.Popen(pass_fds=…)`.

    Raises:
        ValueError: another process holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"One study at a time may work in {folder}; another process, or a "
                "run that it left behind, still does. Wait for it or end it."
            ) from error
        yield file.fileno()
