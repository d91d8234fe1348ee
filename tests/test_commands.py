"""A command that runs in the process of a test leaves the process as it was."""

import gc
import logging
import os
import signal
import sys

import keras
import pytest

from tests import commands
from tests.imports import ROOT


def state():
    log = logging.getLogger()
    return {
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "handlers": log.handlers[:],
        "level": log.level,
        "SIGTERM": signal.getsignal(signal.SIGTERM),
        "policy": keras.config.dtype_policy().name,
        "frozen": gc.get_freeze_count() > 0,
    }


@pytest.mark.parametrize(
    ("code", "status", "written"),
    [(None, 0, ""), (0, 0, ""), (3, 3, ""), ("a message", 1, "a message\n")],
)
def test_what_a_command_changes_is_changed_back(
    tmp_path, monkeypatch, code, status, written
):
    inside = []

    def command(arguments):
        print(*arguments)
        inside.append(os.getcwd())
        os.chdir(tmp_path)
        os.environ["ADVANCE_TF_TEST"] = os.environ.pop("PATH")
        logging.basicConfig(level=logging.ERROR, force=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        keras.config.set_dtype_policy("mixed_bfloat16")
        gc.freeze()
        inside.append(state())
        sys.exit(code)

    monkeypatch.setattr(commands, "main", command)
    gc.unfreeze()
    before = state()
    found = commands.run_command("fit", "--epochs=1", tmp_path)
    after = state()
    assert found == (status, f"fit --epochs=1 {tmp_path}\n", written)
    assert inside[0] == str(ROOT)
    assert [key for key in before if inside[1][key] == before[key]] == []
    assert after == before


def test_an_error_of_a_command_is_raised(monkeypatch):
    monkeypatch.setattr(commands, "main", lambda arguments: 1 / 0)
    before = state()
    with pytest.raises(ZeroDivisionError):
        commands.run_command("fit")
    assert state() == before
