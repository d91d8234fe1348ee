"""Fixtures: one source, its decoded pairs and its float32 LiteRT model."""

import pytest

from advance_tf.serving import litert, parity
from advance_tf.serving.inference_model import InferenceModel
from tests.built_once import build_once
from tests.serving.factories import create_pairs, create_source, knowledge


@pytest.fixture(scope="session")
def source():
    """A recognizer with the events of Eq. 7."""
    return create_source("event", knowledge=knowledge())


@pytest.fixture(scope="session")
def decoded(source):
    """Seven decoded pairs, at several sampling rates."""
    return parity.decode(source, parity.with_other_rates(create_pairs(7)))


@pytest.fixture(scope="session")
def float32(source, tmp_path_factory):
    """The float32 flatbuffer of the source."""

    def convert(folder):
        contents = litert.convert(InferenceModel(source, litert=True), folder)
        (folder / "float32.tflite").write_bytes(contents)

    folder = build_once(tmp_path_factory, "float32", convert)
    return (folder / "float32.tflite").read_bytes()
