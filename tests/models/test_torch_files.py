"""PyTorch's files of before version 1.6, read without PyTorch."""

import pickle

import numpy as np
import pytest
import torch

from advance_tf.models import torch_files
from advance_tf.models.torch_files import read_legacy_checkpoint


def save(path, state):
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def test_tensors_are_read_with_shape_and_type(tmp_path):
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    state = {
        "whole": base,
        "transposed": base.t(),
        "part": base[1:3, ::2],
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
    found = read_legacy_checkpoint(save(tmp_path / "a.pth", state))
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_code_in_a_file_does_not_run(tmp_path):
    class Writes:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    path = save(tmp_path / "a.pth", {"weight": torch.zeros(1), "code": Writes()})
    with pytest.raises(ValueError, match=r"a\.pth must be .* it names \w*\.?open"):
        read_legacy_checkpoint(path)
    assert not (tmp_path / "written").exists()


def test_damaged_file_or_other_format_is_an_error(tmp_path):
    whole = save(tmp_path / "a.pth", {"weight": torch.zeros(1000)}).read_bytes()
    torch.save({"weight": torch.zeros(3)}, tmp_path / "zip.pth")
    (tmp_path / "short.pth").write_bytes(whole[:-100])
    (tmp_path / "text.pth").write_text("text")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps([1]))
    for name in ("zip", "short", "text", "pickle", "missing"):
        with pytest.raises(ValueError, match=rf"{name}\.pth must be a dictionary"):
            read_legacy_checkpoint(tmp_path / f"{name}.pth")


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(5, (2, 2), (5, -5)), (-1, (2,), (1,)), (8, (3,), (1,)), (0, (9, 9), (0, 0))],
)
def test_a_tensor_outside_of_its_storage_is_refused(offset, shape, strides):
    """Other memory of the process would be read, or filled without end."""
    storage = torch_files._Storage("0", np.dtype("<f4"), 10)
    tensor = torch_files._Tensor(storage, offset, shape, strides)
    with pytest.raises(ValueError, match="a tensor exceeds its storage"):
        torch_files._view(np.zeros(10, np.float32), tensor)
