"""Fixtures: exported models, files to predict, and Python without TensorFlow."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.built_once import build_once
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
def workdir(tmp_path_factory) -> pathlib.Path:
    """The folder of an untrained run of both modalities on synthetic pairs."""
    from tests.serving.factories import create_run

    return build_once(tmp_path_factory, "export-run", create_run)


@pytest.fixture(scope="session")
def exported_run(workdir):
    """The run of `workdir`."""
    from advance_tf.runs.workdir import load_run

    return load_run(workdir)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, workdir) -> pathlib.Path:
    """The folder of an export of `workdir`, which holds 1/."""
    from advance_tf.serving.export import export_saved_model

    return build_once(
        tmp_path_factory,
        "advance",
        lambda folder: export_saved_model(workdir, folder),
    )


@pytest.fixture(scope="session")
def exported_lite(tmp_path_factory, workdir):
    """A .tflite file of `workdir`."""
    from advance_tf.serving.export import export_litert

    return export_litert(workdir, tmp_path_factory.mktemp("lite")).path
