"""Checkpoints are read as arrays without executing code in them."""

import pathlib
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from advance_tf.models.checkpoint_files import read_checkpoint

WEIGHTS = {"conv1.weight": np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)}


class FileWriter:
    """An object whose unpickling would create a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (pathlib.Path.touch, (pathlib.Path(self.path),))


def torch_weights(prefix=""):
    return {
        f"{prefix}conv1.weight": torch.tensor(WEIGHTS["conv1.weight"]),
        f"{prefix}bn1.num_batches_tracked": torch.tensor(7),
    }


@pytest.mark.parametrize(
    "wrap",
    [
        lambda: torch_weights(),
        lambda: torch_weights("module."),
        lambda: {"model": torch_weights(), "epoch": 3},
        lambda: {"state_dict": torch_weights("module."), "best": 0.5},
        lambda: {"model": {"model_state_dict": torch_weights()}},
        lambda: {"conv1.weight": torch_weights()["conv1.weight"].double()},
        lambda: {"conv1.weight": torch_weights()["conv1.weight"].bfloat16()},
    ],
)
def test_weights_are_unwrapped(tmp_path, wrap):
    torch.save(wrap(), tmp_path / "model.pt")
    found = read_checkpoint(tmp_path / "model.pt")
    assert list(found) == ["conv1.weight"]
    assert found["conv1.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["conv1.weight"], WEIGHTS["conv1.weight"])


def test_safetensors_are_read_without_pytorch(tmp_path, monkeypatch):
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    found = read_checkpoint(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(found["conv1.weight"], WEIGHTS["conv1.weight"])
    (tmp_path / "model.pt").write_bytes(b"1")
    with pytest.raises(ImportError, match=r"pip install 'advance_tf\[convert\]'"):
        read_checkpoint(tmp_path / "model.pt")


def test_code_in_a_checkpoint_is_not_executed(tmp_path):
    created = tmp_path / "created"
    torch.save({"model": FileWriter(created)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="no objects of Python"):
        read_checkpoint(tmp_path / "model.pt")
    assert not created.exists()


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_missing_or_damaged_file_raises(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ValueError, match="must exist"):
        read_checkpoint(path)
    if name == "model.pt":
        torch.save(torch_weights(), path)
    else:
        save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="must be a valid"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        (torch.zeros(3), "received Tensor"),
        ({}, "must contain a dictionary of weights"),
        ({"epoch": 3}, "also received: epoch"),
        ({**torch_weights(), "epoch": 3}, "also received: epoch"),
    ],
)
def test_other_data_than_weights_raises(tmp_path, loaded, message):
    torch.save(loaded, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / "model.pt")
