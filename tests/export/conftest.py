"""Fixtures: exported models, files to predict, and Python without TensorFlow."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.export.edge_programs import EDGE, write_small_model

_INSTALL_SECONDS = 600


@pytest.fixture(scope="session")
def edge_model(tmp_path_factory) -> pathlib.Path:
    """A .tflite file of both modalities that predicts events."""
    return write_small_model(tmp_path_factory.mktemp("model") / "both.tflite")


@pytest.fixture(scope="session")
def edge_python(tmp_path_factory) -> pathlib.Path:
    """Python with only the requirements of the edge recognizer."""
    folder = tmp_path_factory.mktemp("edge")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "-q", "-r", EDGE / "requirements.txt"]
    subprocess.run(install, check=True, timeout=_INSTALL_SECONDS)
    return python


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """A folder of three pairs: 0.jpg, 0.wav, …, 2.wav."""
    from tests.serving.factories import create_pairs

    folder = tmp_path_factory.mktemp("media")
    for number, pair in enumerate(create_pairs(3)):
        (folder / f"{number}.jpg").write_bytes(pair.image)
        (folder / f"{number}.wav").write_bytes(pair.sound)
    return folder


@pytest.fixture(scope="session")
def exported_run(tmp_path_factory):
    """A small untrained run of both modalities on synthetic pairs."""
    from tests.serving.factories import create_run

    return create_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory, exported_run):
    """The folder of an export, which holds 1/."""
    from advance_tf.serving.export import export_saved_model

    export_dir = tmp_path_factory.mktemp("export") / "advance"
    export_saved_model(exported_run, export_dir)
    return export_dir


@pytest.fixture(scope="session")
def exported_lite(tmp_path_factory, exported_run):
    """A .tflite file of the exporter."""
    from advance_tf.serving.export import export_litert

    return export_litert(exported_run, tmp_path_factory.mktemp("lite")).path
