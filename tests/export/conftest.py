"""Exported models, files to ask about, and Python without TensorFlow."""

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


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """A folder of three pairs: 0.jpg, 0.wav, …, 2.wav."""
    from tests.export import small_saved_model

    folder = tmp_path_factory.mktemp("media") / "pairs"
    small_saved_model.write_media(folder, 3)
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory, media):
    """The folder of an export, which holds 1/; whatever wrote it."""
    from tests.export import small_saved_model

    export_dir = tmp_path_factory.mktemp("export") / "advance"
    image_bytes = (media / "0.jpg").read_bytes()
    sound_bytes = (media / "0.wav").read_bytes()
    small_saved_model.export(export_dir, image_bytes, sound_bytes)
    return export_dir
