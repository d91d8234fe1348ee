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
    from tests.serving.made import made_pairs

    folder = tmp_path_factory.mktemp("media")
    for number, pair in enumerate(made_pairs(3)):
        (folder / f"{number}.jpg").write_bytes(pair.image)
        (folder / f"{number}.wav").write_bytes(pair.sound)
    return folder


class _Media:
    """Pairs of a folder as an exporter takes them."""

    def __init__(self, folder):
        from advance_tf.serving.answers import EncodedPair

        self._pairs = [
            EncodedPair(path.read_bytes(), path.with_suffix(".wav").read_bytes())
            for path in sorted(folder.glob("*.jpg"))
        ]

    def some(self, split, number):
        return self._pairs[:number]

    def all(self, split):
        return self._pairs, [0] * len(self._pairs)


@pytest.fixture(scope="session")
def export_arguments(media):
    """What the exporters take: a tiny recognizer, its origin and its media."""
    from advance_tf.config import Config, to_dict
    from advance_tf.serving.artefacts import Provenance
    from tests.serving.made import made_source

    origin = Provenance(to_dict(Config()), {}, None, "0" * 64)
    return made_source(), origin, _Media(media)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, export_arguments):
    """The folder of an export, which holds 1/."""
    from advance_tf.serving.artefacts import Options, export_saved_model

    export_dir = tmp_path_factory.mktemp("export") / "advance"
    export_saved_model(*export_arguments, export_dir, Options())
    return export_dir


@pytest.fixture(scope="session")
def exported_lite(tmp_path_factory, export_arguments):
    """A .tflite of the exporter."""
    from advance_tf.serving.artefacts import Options, export_lite

    export_dir = tmp_path_factory.mktemp("lite")
    return export_lite(*export_arguments, export_dir, Options(), lambda a, b: 0.0)[0]
