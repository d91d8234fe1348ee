"""The projector's files, read back as TensorBoard reads them."""

import csv

import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from advance_tf.visualization.projector import write_projector

METADATA = {"stem": ["00001", "00002_1"], "scene": ["lake", "a\tb\nc"]}


def _config(folder):
    text = (folder / "projector_config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, ProjectorConfig())


def test_everything_reads_back(tmp_path):
    probs = np.random.default_rng(0).random((2, 7)).astype(np.float32)
    write_projector(tmp_path, probs, METADATA, label='künstlich; leaky: "x"')
    (found,) = _config(tmp_path).embeddings
    assert list(found.tensor_shape) == [2, 7]
    assert found.tensor_name == 'event probabilities (künstlich; leaky: "x")'
    tensors = np.loadtxt(tmp_path / found.tensor_path, np.float32, delimiter="\t")
    np.testing.assert_array_equal(tensors, probs)
    with (tmp_path / found.metadata_path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows == [["stem", "scene"], ["00001", "lake"], ["00002_1", "a b c"]]


def test_the_same_values_are_the_same_bytes(tmp_path):
    probs = np.random.default_rng(0).random((2, 7)).astype(np.float32)
    for name in "ab":
        write_projector(tmp_path / name, probs, METADATA)
    files = [sorted((tmp_path / name).iterdir()) for name in "ab"]
    assert len(files[0]) == 3
    for first, second in zip(*files, strict=True):
        assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
    assert _config(tmp_path / "a").embeddings[0].tensor_name == "event probabilities"


@pytest.mark.parametrize(
    "metadata", [{}, {"stem": ["a", "b"]}, {"stem": ["a", "b"], "scene": ["a"]}]
)
def test_metadata_must_fit(tmp_path, metadata):
    with pytest.raises(ValueError, match="two or more columns of 2 texts"):
        write_projector(tmp_path / "new", np.zeros((2, 3)), metadata)
    assert not (tmp_path / "new").exists()
