"""Runs commands in the process of the test, where TensorFlow is loaded already.

That the commands work in processes of their own is tested by `test_startup.py`,
`test_start.py`, `test_main.py`, `test_reproduce.py` and the first test of `test_fit.py`
in `tests/cli`.
"""

import contextlib
import gc
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator

import keras

from advance_tf.cli.main import main
from tests.imports import ROOT


def run_command(command: str, *flags: object) -> tuple[int, str, str]:
    """Returns exit status, standard output and standard error of `advance COMMAND`.

    The command runs in the folder of the project. What it changes in the process is
    changed back: that folder, the environment, the handlers and the level of the log,
    the handler of SIGTERM, the type of new layers and what garbage collections leave
    out.
    """
    out, error = io.StringIO(), io.StringIO()
    with (
        _unchanged_process(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        os.chdir(ROOT)
        try:
            status = main([command, *map(str, flags)])
        except SystemExit as ended:
            status = _status(ended)
    return status, out.getvalue(), error.getvalue()


def _status(ended: SystemExit) -> int:
    """The exit status of a process that ends so; writes its message, if it has one."""
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    print(ended.code, file=sys.stderr)
    return 1


@contextlib.contextmanager
def _unchanged_process() -> Iterator[None]:
    folder, environment = os.getcwd(), dict(os.environ)
    log, policy = logging.getLogger(), keras.config.dtype_policy()
    handlers, level = log.handlers[:], log.level
    terminated, frozen = signal.getsignal(signal.SIGTERM), gc.get_freeze_count()
    # The command closes the handlers that it finds.
    log.handlers.clear()
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        log.handlers[:] = handlers
        log.setLevel(level)
        keras.config.set_dtype_policy(policy)
        if signal.getsignal(signal.SIGTERM) is not terminated:
            signal.signal(signal.SIGTERM, terminated)
        if gc.get_freeze_count() > frozen:
            gc.unfreeze()
