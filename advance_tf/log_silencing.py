"""Suppresses the output of third-party converters."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silence_logs() -> Iterator[None]:
    """Suppresses standard output, standard error, warnings and log messages.

    Exceptions propagate, and log messages of level ERROR are still emitted.

    >>> with silence_logs():
    ...     print("a progress bar")

    Yields:
        Nothing.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            open(os.devnull, "w", encoding="utf-8") as devnull,
            contextlib.redirect_stdout(devnull),
            contextlib.redirect_stderr(devnull),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
