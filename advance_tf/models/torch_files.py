"""Reads PyTorch's checkpoints of before version 1.6 without PyTorch.

Such a file is a sequence of pickles followed by the bytes of its storages. Only the
names below are resolved, so that no code in a file runs.
"""

import collections
import math
import pathlib
import pickle
import struct
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from advance_tf.files import DAMAGED_FILE_ERRORS

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Storage(NamedTuple):
    """A storage that is read after the pickles."""

    key: str
    dtype: np.dtype[Any]
    size: int


class _Tensor(NamedTuple):
    """A tensor as a view of its storage; strides are in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: Any,
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Resolves dictionaries, tensors and storages of numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns the replacement of a class or function that a pickle names."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _STORAGES:
            return np.dtype(_STORAGES[name])
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, saved: Any) -> _Storage:
        """Returns the storage that a tensor refers to."""
        kind, dtype, key, _, size, _ = saved
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to {kind}")
        return _Storage(str(key), dtype, int(size))


def read_legacy_checkpoint(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the weights of a checkpoint in the format before PyTorch 1.6.

    Args:
        path: a file that `torch.save(model.state_dict(), …)` has written.

    Returns:
        Key → array in PyTorch's layout.

    Raises:
        ValueError: the file is missing or damaged, of another format, or contains
            other data than float32 and int64 tensors.
    """
    try:
        with open(path, "rb") as file:
            return _read(file)
    except (*DAMAGED_FILE_ERRORS, pickle.UnpicklingError, OSError) as error:
        raise ValueError(
            f"{path} must be a dictionary of weights in the format before PyTorch "
            f"1.6; reading it failed: {error}. Download it again, or save it with "
            "`_use_new_zipfile_serialization=False`."
        ) from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if _Unpickler(file).load() != _MAGIC:
        raise ValueError("it has another format")
    for _ in range(2):  # The version of the protocol, and sizes of the machine.
        _Unpickler(file).load()
    tensors: dict[str, _Tensor] = dict(_Unpickler(file).load())
    keys: list[str] = _Unpickler(file).load()
    dtypes = {t.storage.key: t.storage.dtype for t in tensors.values()}
    storages = {}
    for key in keys:
        (size,) = struct.unpack("<q", file.read(8))
        if size < 0:
            raise ValueError(f"a storage has {size} elements")
        values = file.read(size * dtypes[key].itemsize)
        storages[key] = np.frombuffer(values, dtypes[key], size)
    return {
        name: _view(storages[tensor.storage.key], tensor)
        for name, tensor in tensors.items()
    }


def _view(values: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """A copy of the elements of a tensor, from the storage that holds them."""
    last = tensor.offset + sum(
        stride * (side - 1)
        for stride, side in zip(tensor.strides, tensor.shape, strict=True)
    )
    elements = math.prod(tensor.shape)
    # A negative stride reaches below the offset; strides of 0 repeat elements.
    inside = 0 <= tensor.offset <= last < len(values)
    downward = min(tensor.strides, default=0) < 0
    if elements and (not inside or downward or elements > len(values)):
        raise ValueError("a tensor exceeds its storage")
    strides = [stride * values.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(
        values[tensor.offset :], tensor.shape, strides, writeable=False
    )
    return view.copy()
