"""YAMNet with random weights as a LiteRT file."""

import pytest
import tensorflow as tf

from advance_tf.models.backbones.yamnet_network import build_yamnet
from tests.models.backbones.test_yamnet import random_weights, set_weights


@pytest.fixture(scope="session")
def yamnet_file(tmp_path_factory):
    """A float32 `.tflite` file of YAMNet with random weights."""
    tower = set_weights(build_yamnet(15_600, "scores"), random_weights())
    path = tmp_path_factory.mktemp("teacher") / "yamnet.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(tower).convert())
    return path
