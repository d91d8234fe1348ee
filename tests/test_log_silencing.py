"""Suppressed output: prints, warnings and log messages, but no exceptions."""

import logging
import sys
import warnings

import pytest

from advance_tf.log_silencing import silence_logs


def test_output_is_suppressed_in_the_block_only(capsys, caplog):
    with warnings.catch_warnings(record=True) as caught, silence_logs():
        print("standard output")
        print("standard error", file=sys.stderr)
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger("converter").warning("a log message")
    assert capsys.readouterr() == ("", "")
    assert not caught
    assert not caplog.records
    print("after")
    assert capsys.readouterr().out == "after\n"


def test_exceptions_propagate_and_the_level_is_restored():
    level = logging.root.manager.disable
    with pytest.raises(RuntimeError, match="stop"), silence_logs():
        raise RuntimeError("stop")
    assert logging.root.manager.disable == level
