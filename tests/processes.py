"""Runs commands and replica scripts in processes of their own, and finds ports."""

import os
import pathlib
import socket
import subprocess
import sys

from tests.imports import ROOT

_SECONDS = 300


def free_ports(count):
    """Ports that no process uses at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def run_program(command: str, *flags, **environment: str) -> tuple[int, str, str]:
    """Returns exit status, standard output and standard error of `advance COMMAND`."""
    done = subprocess.run(
        [sys.executable, "-m", "advance_tf", command, *map(str, flags)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def run_on_replicas(script: pathlib.Path) -> str:
    """Returns the output of a script that sets logical devices at its start."""
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
