"""Checkpoints are read as arrays, and nothing in them runs."""

import pathlib
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from advance_tf.models.checkpoint_files import read_checkpoint

WEIGHTS = {"conv1.weight": np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)}


class Planted:
    """Unpickling it writes a file: what must never happen."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (pathlib.Path.touch, (pathlib.Path(self.path),))


def as_torch(prefix=""):
    return {
        f"{prefix}conv1.weight": torch.tensor(WEIGHTS["conv1.weight"]),
        f"{prefix}bn1.num_batches_tracked": torch.tensor(7),
    }


@pytest.mark.parametrize(
    "wrap",
    [
        lambda: as_torch(),
        lambda: as_torch("module."),
        lambda: {"model": as_torch(), "epoch": 3},
        lambda: {"state_dict": as_torch("module."), "best": 0.5},
        lambda: {"model": {"model_state_dict": as_torch()}},
        lambda: {"conv1.weight": as_torch()["conv1.weight"].double()},
        lambda: {"conv1.weight": as_torch()["conv1.weight"].bfloat16()},
    ],
)
def test_weights_are_found_under_their_wrappers(tmp_path, wrap):
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
    with pytest.raises(ValueError, match=r"pip install 'advance_tf\[convert\]'"):
        read_checkpoint(tmp_path / "model.pt")


def test_no_code_in_a_checkpoint_runs(tmp_path):
    planted = tmp_path / "planted"
    torch.save({"model": Planted(planted)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="no objects of Python"):
        read_checkpoint(tmp_path / "model.pt")
    assert not planted.exists()


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_broken_files_are_refused(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ValueError, match="must exist"):
        read_checkpoint(path)
    if name == "model.pt":
        torch.save(as_torch(), path)
    else:
        save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="must be a whole"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        (torch.zeros(3), "received Tensor"),
        ({}, "must hold a dictionary of weights"),
        ({"epoch": 3}, "received besides: epoch"),
        ({**as_torch(), "epoch": 3}, "received besides: epoch"),
    ],
)
def test_what_is_no_dictionary_of_weights_is_refused(tmp_path, loaded, message):
    torch.save(loaded, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / "model.pt")
