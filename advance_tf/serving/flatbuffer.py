"""Flatbuffers of LiteRT: constants, operators, and writing them small."""

from collections.abc import Iterator
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER = b"TFL3"
_START_BYTES = 1 << 20


def read_model(contents: bytes) -> Any:
    """Reads a flatbuffer.

    Args:
        contents: the flatbuffer.

    Returns:
        `ModelT` of LiteRT's schema, which `write_model` writes.
    """
    model = schema.ModelT.InitFromPackedBuf(contents, 0)
    for buffer in model.buffers:
        # A quantized model has its constants after the flatbuffer.
        if buffer.offset > 1:
            stop = buffer.offset + buffer.size
            buffer.data = np.frombuffer(contents[buffer.offset : stop], np.uint8)
            buffer.offset = buffer.size = 0
    return model


def constant(model: Any, tensor: Any) -> np.ndarray:
    """The values of a constant of float32.

    Args:
        model: as of `read_model`.
        tensor: a tensor with a buffer.

    Returns:
        float32 of the shape of the tensor, a copy.
    """
    raw = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    return np.frombuffer(raw, "<f4").reshape(tensor.shape).copy()


def set_constant(model: Any, tensor: Any, values: np.ndarray) -> None:
    """Replaces the values of a constant of float32; all signatures share them.

    Args:
        model: as of `read_model`; changed in place.
        tensor: a tensor with a buffer.
        values: of the shape of the tensor.
    """
    raw = np.ascontiguousarray(values, "<f4").tobytes()
    model.buffers[tensor.buffer].data = np.frombuffer(raw, np.uint8)


def operator_kind(model: Any, operator: Any) -> int:
    """The kind of an operator.

    Args:
        model: as of `read_model`.
        operator: one of its operators.

    Returns:
        Value of `schema.BuiltinOperator`.
    """
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def operators_of(model: Any, subgraph: Any, *kinds: int) -> Iterator[tuple[Any, int]]:
    """The operators of a subgraph that are of some kinds.

    Args:
        model: as of `read_model`.
        subgraph: one of its subgraphs.
        *kinds: values of `schema.BuiltinOperator`.

    Yields:
        Operator and its kind, in the order of the computation.
    """
    for operator in subgraph.operators:
        kind = operator_kind(model, operator)
        if kind in kinds:
            yield operator, kind


def write_model(model: Any) -> bytes:
    """Writes a flatbuffer in which equal quantization parameters are stored once.

    Each signature has a tensor of its own for a weight that all of them share. Its
    scales and zero points, 12 bytes for each channel, would be stored as often: a
    fifth of a small model.

    Args:
        model: as of `read_model`; changed in place.

    Returns:
        The flatbuffer.
    """
    shared: dict[Any, _Shared] = {}
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            quantization = tensor.quantization
            if quantization is not None and quantization.scale is not None:
                key = _content(quantization)
                tensor.quantization = shared.setdefault(key, _Shared(quantization))
    builder = flatbuffers.Builder(_START_BYTES)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


class _Shared:
    """Quantization parameters that are packed once; later tensors refer to them."""

    def __init__(self, quantization: Any) -> None:
        self._quantization = quantization
        self._offset: int | None = None

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
        """Packs the parameters, as the classes of the schema do."""
        if self._offset is None:
            self._offset = self._quantization.Pack(builder)
        return self._offset


def _content(quantization: Any) -> tuple[Any, ...]:
    """All values of quantization parameters."""
    return tuple(
        value.tobytes() if isinstance(value, np.ndarray) else str(value)
        for _, value in sorted(vars(quantization).items())
    )
