"""PyTorch checkpoints as plain arrays, without executing anything in them."""

import pathlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

# Under which keys training scripts keep the weights among other things.
_WRAPPERS = ("model", "state_dict", "model_state_dict")
_PARALLEL = "module."
_COUNTER = ".num_batches_tracked"


def read_checkpoint(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """The weights in a PyTorch checkpoint or a safetensors file.

    A dictionary that holds the weights under "model", "state_dict" or
    "model_state_dict" is unwrapped, the prefix "module." of DataParallel is
    taken off, and PyTorch's counters of batches are left out.

    Args:
        path: `.safetensors`, else a file of `torch.save` (needs PyTorch; it is
            read with weights_only, so no code in it runs).

    Returns:
        Key → float32 array in PyTorch's layout (kernels [out, in, h, w]).

    Raises:
        ValueError: the file is missing or broken, holds other things than
            weights, or PyTorch is needed and not installed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"The checkpoint {path} must exist; it does not.")
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
    try:
        with safe_open(path, framework="numpy") as file:
            keys = file.keys()
            return {key: np.asarray(file.get_tensor(key), np.float32) for key in keys}
    except (SafetensorError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must be a whole safetensors file of numbers; reading it failed: "
            f"{error}."
        ) from error


def _load_with_torch(path: pathlib.Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"Reading {path} needs PyTorch, which is not installed. Install it with "
            "`pip install 'advance_tf[convert]'`, or save the weights as .safetensors."
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise ValueError(
            f"{path} must be a whole checkpoint that holds weights only, no objects "
            f"of Python; reading it failed: {reason} Save model.state_dict() again."
        ) from error


def _unwrap(path: pathlib.Path, loaded: Any) -> dict[str, np.ndarray]:
    while isinstance(loaded, Mapping):
        inner = [key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)]
        if not inner:
            break
        loaded = loaded[inner[0]]
    if not isinstance(loaded, Mapping) or not loaded:
        raise ValueError(
            f"{path} must hold a dictionary of weights; received "
            f"{type(loaded).__name__}. Save model.state_dict()."
        )
    others = [str(key) for key, value in loaded.items() if not hasattr(value, "numpy")]
    if others:
        raise ValueError(
            f"{path} must hold weights only, perhaps under the key "
            f"{' or '.join(_WRAPPERS)}; received besides: {', '.join(others[:5])}."
        )
    return {key: value.float().numpy() for key, value in loaded.items()}
