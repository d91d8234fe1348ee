"""An edge model, and a virtual environment that has no TensorFlow."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.export.edge_programs import EDGE, write_small_model

_INSTALL_SECONDS = 600


@pytest.fixture(scope="session")
def edge_model(tmp_path_factory) -> pathlib.Path:
    """A .tflite of both modalities that tells events."""
    return write_small_model(tmp_path_factory.mktemp("model") / "both.tflite")


@pytest.fixture(scope="session")
def edge_python(tmp_path_factory) -> pathlib.Path:
    """Python with the edge recognizer's requirements alone."""
    folder = tmp_path_factory.mktemp("edge")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "-q", "-r", EDGE / "requirements.txt"]
    subprocess.run(install, check=True, timeout=_INSTALL_SECONDS)
    return python
