"""Reads PyTorch checkpoints as NumPy arrays without executing code in them."""

import pathlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from advance_tf.extras import requires_extra
from advance_tf.files import DAMAGED_FILE_ERRORS

# Keys under which training scripts store the weights next to other data.
_WRAPPERS = ("model", "state_dict", "model_state_dict")
_PARALLEL = "module."
# What torch.load raises on damaged files beside `DAMAGED_FILE_ERRORS`.
_UNREADABLE = (pickle.UnpicklingError, AssertionError, OSError)
_COUNTER = ".num_batches_tracked"


def read_checkpoint(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the weights of a PyTorch checkpoint or a safetensors file.

    A dictionary with the weights under "model", "state_dict" or
    "model_state_dict" is unwrapped, DataParallel's prefix "module." is removed,
    and PyTorch's counters of batches are omitted.

    Args:
        path: a `.safetensors` file, or a file written by `torch.save`, which is
            loaded with `weights_only=True`, so that no code in it runs.

    Returns:
        Key → float32 array in PyTorch's layout (kernels [out, in, h, w]).

    Raises:
        ValueError: the file is missing or damaged, or contains other data than
            weights.
        ImportError: PyTorch or safetensors is not installed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(
            f"The checkpoint {path} must exist; it does not. Check the path."
        )
    if path.suffix == ".safetensors":
        found = _read_safetensors(path)
    else:
        found = _unwrap(path, _load_with_torch(path))
    return {
        key.removeprefix(_PARALLEL): array
        for key, array in found.items()
        if not key.endswith(_COUNTER)
    }


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    with requires_extra("convert"):
        import safetensors
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            keys = file.keys()
            return {key: np.asarray(file.get_tensor(key), np.float32) for key in keys}
    except (safetensors.SafetensorError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must be a valid safetensors file of numbers; reading it failed: "
            f"{error}. Save the weights again."
        ) from error


def _load_with_torch(path: pathlib.Path) -> Any:
    with requires_extra("convert"):
        import torch
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (*_UNREADABLE, *DAMAGED_FILE_ERRORS) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise ValueError(
            f"{path} must be a valid checkpoint with weights only and no objects of "
            f"Python; reading it failed: {reason} Save model.state_dict() again."
        ) from error


def _unwrap(path: pathlib.Path, loaded: Any) -> dict[str, np.ndarray]:
    while isinstance(loaded, Mapping):
        inner = [key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)]
        if not inner:
            break
        loaded = loaded[inner[0]]
    if not isinstance(loaded, Mapping) or not loaded:
        raise ValueError(
            f"{path} must contain a dictionary of weights; received "
            f"{type(loaded).__name__}. Save model.state_dict()."
        )
    others = [str(key) for key, value in loaded.items() if not hasattr(value, "numpy")]
    if others:
        raise ValueError(
            f"{path} must contain weights only, alone or under the key "
            f"{' or '.join(_WRAPPERS)}; also received: {', '.join(others[:5])}. Save "
            "model.state_dict()."
        )
    return {key: value.float().numpy() for key, value in loaded.items()}
