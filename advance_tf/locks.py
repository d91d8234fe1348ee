"""Locks of folders, so that two processes do not write the same run or study."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator


class LockedError(ValueError):
    """Another process has locked the folder."""


@contextlib.contextmanager
def lock_folder(folder: pathlib.Path, name: str) -> Iterator[int]:
    """Locks a folder for one process while the block runs.

    The lock belongs to the file descriptor: it ends with its process, however that
    ends. Child processes that inherit the descriptor keep the folder locked after
    their parent was killed.

    Args:
        folder: folder to lock; created if it does not exist.
        name: what runs in the folder, such as "run"; names the file `<name>.lock`.

    Yields:
        The descriptor, for `subprocess.Popen(pass_fds=…)`.

    Raises:
        LockedError: another process has locked the folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as temporary:
        ...     with lock_folder(pathlib.Path(temporary), "run"):
        ...         with lock_folder(pathlib.Path(temporary), "run"):
        ...             pass
        Traceback (most recent call last):
        advance_tf.locks.LockedError: One run at a time may use ...
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"One {name} at a time may use {folder}; another process, or one that "
                "it started, is still active. Wait for it or stop it."
            ) from error
        yield file.fileno()
