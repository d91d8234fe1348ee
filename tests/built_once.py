"""Folders that many tests read, built once for all worker processes of pytest."""

import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable

import pytest


def build_once(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    build: Callable[[pathlib.Path], object],
) -> pathlib.Path:
    """The folder of a name, which the first process that asks for it fills.

    Args:
        tmp_path_factory: that of pytest; the folders of its worker processes have one
            parent, where the folder is.
        name: name of the folder.
        build: fills the folder, which is empty.

    Returns:
        The folder. Tests only read it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    root = root / "built_once"
    root.mkdir(exist_ok=True)
    folder, complete = root / name, root / f"{name}.complete"
    with (root / f"{name}.lock").open("w") as lock:
        # Another process may be building it, or have ended before it was complete.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            complete.touch()
    return folder
