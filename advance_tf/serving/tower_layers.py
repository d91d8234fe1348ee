"""The layers of the towers in a flatbuffer, and in how many bits their weights are."""

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ai_edge_litert import schema_py_generated as schema

from advance_tf.models.forward import TOWERS
from advance_tf.serving.flatbuffer import operator_kind, operators_of, read_model

_OPERATORS, _TYPES = schema.BuiltinOperator, schema.TensorType
_DEPTHWISE = _OPERATORS.DEPTHWISE_CONV_2D
# Operators whose second input is a kernel.
_WITH_KERNEL = (_OPERATORS.CONV_2D, _DEPTHWISE, _OPERATORS.FULLY_CONNECTED)
# Layers of the front end inside a tower, in float32: resizing of images, and the
# log-mel of YAMNet, in which 80 dB of magnitude are a ratio of 1e8.
_FRONT_END = r"_tower/(resized|patches)"
# Operators that a normalization of activations or an attention consists of; ranges of
# 8 bits, fixed in advance, are too coarse for them.
_NEED_FLOATS = (
    *(_OPERATORS.SOFTMAX, _OPERATORS.BATCH_MATMUL, _OPERATORS.RSQRT),
    *(_OPERATORS.SQUARED_DIFFERENCE, _OPERATORS.SQRT, _OPERATORS.RFFT2D),
)
# ResNets have layers `layer4_0_…`, YAMNet `layer14_pointwise_…`, EfficientNet-Lite0
# `blocks_15_…`. The input of the first convolution of an image tower reaches 255, and
# 8 bits there cost most of the agreement; so does the first block of
# EfficientNet-Lite0, with depthwise weights up to 18. YAMNet's scores have half a
# million weights, in 8 bits, and are otherwise computed in float32.
_MEASURED = r"_tower/(conv1_1/|conv_stem|conv_head|blocks_\d+_|layer\d+_|scores)"
_MEASURED_IN_8_BITS = {
    "dynamic": r"_tower/(layer[34]_\d|layer1[34]_|blocks_1[1-5]_|conv_head)",
    "int8": r"_tower/(layer\d+_|blocks_([1-9]|1\d)_|conv_head)",
}
_SCORES = r"_tower/scores"
# The share of the weights of another tower that `dynamic` has in 8 bits: as much as
# the last two stages of a ResNet.
_DYNAMIC_SHARE = 0.9
# Type of a constant → bits.
_BITS = {_TYPES.INT8: 8, _TYPES.FLOAT16: 16, _TYPES.FLOAT32: 32}


class Kernel(NamedTuple):
    """The kernel of a layer, which all signatures share.

    Attributes:
        kind: operator, of `schema.BuiltinOperator`.
        size: its bytes in float32.
        scopes: the names of the layer, see `_scope`.
    """

    kind: int
    size: int
    scopes: set[str]


@dataclasses.dataclass
class Tower:
    """The operators of a tower.

    Attributes:
        kernels: buffer → kernel, in the order of the computation, without those of
            the front end.
        before: scopes of the operators before the first kernel.
        after: scopes of the first kernel and of the operators after it.
        is_convolutional: whether it has no attention and no normalization of its
            activations, so that these have fixed ranges.
    """

    kernels: dict[int, Kernel] = dataclasses.field(default_factory=dict)
    before: set[str] = dataclasses.field(default_factory=set)
    after: set[str] = dataclasses.field(default_factory=set)
    is_convolutional: bool = True


@dataclasses.dataclass
class Choice:
    """The layers by the form that quantization gives their weights.

    Attributes:
        half: scopes of 16 bits, computed in float32.
        dynamic: scopes of 8 bits, with ranges of the activations at run time.
        static: scopes of 8 bits, with ranges of the activations from calibration.
        static_operators: scopes of all operators in 8 bits, those of `static` too.
        static_kernels: the buffers of the kernels of `static`.
    """

    half: set[str] = dataclasses.field(default_factory=set)
    dynamic: set[str] = dataclasses.field(default_factory=set)
    static: set[str] = dataclasses.field(default_factory=set)
    static_operators: set[str] = dataclasses.field(default_factory=set)
    static_kernels: set[int] = dataclasses.field(default_factory=set)


def choose_layers(contents: bytes, quantization: str) -> Choice:
    """Chooses the form of the weights of every layer of the towers.

    Args:
        contents: a float32 flatbuffer.
        quantization: "float16", "dynamic" or "int8".

    Returns:
        The layers; the front end is in none of them.
    """
    choice = Choice()
    for tower in towers_of(read_model(contents)).values():
        scopes = [scope for kernel in tower.kernels.values() for scope in kernel.scopes]
        is_measured = all(
            re.search(_MEASURED, scope) for scope in scopes if _tower_of(scope)
        )
        is_static = quantization == "int8" and (is_measured or tower.is_convolutional)
        chosen, operators, scores = set[int](), tower.after, set[int]()
        if quantization != "float16" and is_measured:
            pattern = _MEASURED_IN_8_BITS[quantization]
            chosen = _matching(tower, pattern)
            operators = _found(pattern, tower.before | tower.after)
            scores = _matching(tower, _SCORES) if is_static else scores
        elif quantization != "float16":
            chosen = _by_size(tower, quantization)
        for buffer, kernel in tower.kernels.items():
            if buffer in chosen and is_static:
                choice.static |= kernel.scopes
                choice.static_kernels.add(buffer)
            elif buffer in scores or (buffer in chosen and kernel.kind != _DEPTHWISE):
                choice.dynamic |= kernel.scopes
            else:
                # A depthwise kernel is small, and no runtime is fast with dynamic
                # ranges for it.
                choice.half |= kernel.scopes
        if is_static:
            choice.static_operators |= operators
    choice.static_operators -= choice.half | choice.dynamic
    return choice


def _found(pattern: str, scopes: Collection[str]) -> set[str]:
    """The scopes that match a pattern."""
    return {scope for scope in scopes if re.search(pattern, scope)}


def _matching(tower: Tower, pattern: str) -> set[int]:
    """The kernels of the layers whose names match a pattern."""
    return {
        buffer
        for buffer, kernel in tower.kernels.items()
        if _found(pattern, kernel.scopes)
    }


def _by_size(tower: Tower, quantization: str) -> set[int]:
    """The kernels in 8 bits of a tower whose layers are not known by name.

    All but the first one; with `dynamic` the last ones, until these have nine tenths
    of the weights.
    """
    _, *others = tower.kernels
    if quantization == "int8":
        return set(others)
    total = sum(kernel.size for kernel in tower.kernels.values())
    chosen: set[int] = set()
    size = 0
    for buffer in reversed(others):
        if size < _DYNAMIC_SHARE * total:
            chosen.add(buffer)
            size += tower.kernels[buffer].size
    return chosen


def towers_of(model: Any) -> dict[str, Tower]:
    """The towers in use.

    Args:
        model: as of `flatbuffer.read_model`, of float32.

    Returns:
        "image" and "sound" → tower; without one that has no kernels.
    """
    towers = {kind: Tower() for kind in TOWERS}
    owners: dict[int, Tower] = {}
    for subgraph in model.subgraphs:
        has_begun: set[str] = set()
        for operator in subgraph.operators:
            scope = _scope(subgraph, operator)
            kind = _tower_of(scope)
            if kind is None:
                continue
            tower, operation = towers[kind], operator_kind(model, operator)
            buffer = _kernel_buffer(model, subgraph, operator)
            if buffer is not None and not re.search(_FRONT_END, scope):
                has_begun.add(kind)
                size = len(model.buffers[buffer].data)
                tower.kernels.setdefault(buffer, Kernel(operation, size, set()))
                owners[buffer] = tower
            if kind in has_begun:
                tower.after.add(scope)
                tower.is_convolutional &= operation not in _NEED_FLOATS
            else:
                tower.before.add(scope)
    # The output of a signature has a name without that of its tower.
    for subgraph in model.subgraphs:
        for operator, _ in operators_of(model, subgraph, *_WITH_KERNEL):
            buffer = _kernel_buffer(model, subgraph, operator)
            if buffer in owners:
                scope = _scope(subgraph, operator)
                owners[buffer].kernels[buffer].scopes.add(scope)
    return {kind: tower for kind, tower in towers.items() if tower.kernels}


def _tower_of(scope: str) -> str | None:
    """The tower of a layer by its name."""
    return next((kind for kind, name in TOWERS.items() if f"{name}/" in scope), None)


def _scope(subgraph: Any, operator: Any) -> str:
    """The name of an operator in the quantizer: the names of its outputs."""
    names = [subgraph.tensors[place].name.decode() for place in operator.outputs]
    return "".join(f"{name};" for name in names)


def _kernel_buffer(model: Any, subgraph: Any, operator: Any) -> int | None:
    """The buffer of the kernel of a layer; None for an operator without one."""
    if operator_kind(model, operator) not in _WITH_KERNEL:
        return None
    buffer = int(subgraph.tensors[operator.inputs[1]].buffer)
    return buffer if _has_values(model, buffer) else None


def _has_values(model: Any, buffer: int) -> bool:
    data = model.buffers[buffer].data
    return data is not None and len(data) > 0


def exactly(scopes: Collection[str]) -> str:
    """A regular expression of the scopes, and of no others.

    >>> bool(re.search(exactly(["a/b1;"]), "a/b1;"))
    True
    >>> bool(re.search(exactly(["a/b1;"]), "a/b11;"))
    False
    """
    return rf"^(?:{'|'.join(map(re.escape, sorted(scopes))) or '(?!)'})$"


def weight_shares(contents: bytes) -> dict[str, dict[str, float]]:
    """How the weights of each tower are stored.

    Args:
        contents: a flatbuffer, quantized or not.

    Returns:
        "image" and "sound", without a tower that is not in use → "8 bits", "16 bits"
        and "32 bits" → the share of the bytes of its weights, without the front end.
    """
    model = read_model(contents)
    sizes: dict[str, dict[int, tuple[int, int]]] = {}
    for subgraph in model.subgraphs:
        for kind, tensor in _weights(model, subgraph):
            size = len(model.buffers[tensor.buffer].data)
            sizes.setdefault(kind, {})[tensor.buffer] = (_BITS[tensor.type], size)
    return {kind: _shares(list(own.values())) for kind, own in sorted(sizes.items())}


def _weights(model: Any, subgraph: Any) -> Iterator[tuple[str, Any]]:
    """The constants of the layers of the towers, each with the kind of its tower."""
    # Weights in 16 bits are converted before they are used.
    converted = {
        operator.outputs[0]: operator.inputs[0]
        for operator, _ in operators_of(model, subgraph, _OPERATORS.DEQUANTIZE)
    }
    for operator in subgraph.operators:
        scope = _scope(subgraph, operator)
        kind = _tower_of(scope)
        if kind is None or re.search(_FRONT_END, scope):
            continue
        for place in operator.inputs:
            tensor = subgraph.tensors[converted.get(place, place)]
            is_weight = place >= 0 and tensor.type in _BITS
            if is_weight and _has_values(model, tensor.buffer):
                yield kind, tensor


def _shares(sizes: Sequence[tuple[int, int]]) -> dict[str, float]:
    total = sum(size for _, size in sizes)
    return {
        f"{bits} bits": sum(size for own, size in sizes if own == bits) / total
        for bits in sorted(_BITS.values())
    }


def check_8_bits(shares: Mapping[str, Mapping[str, float]], quantization: str) -> None:
    """Raises ValueError when a tower has no weights in 8 bits.

    Args:
        shares: shares of `weight_shares`.
        quantization: "dynamic" or "int8".

    Raises:
        ValueError: a tower has none.
    """
    for kind, own in shares.items():
        if not own["8 bits"]:
            raise ValueError(
                f"The {kind} tower must have layers that can be in 8 bits for "
                f"`quantization='{quantization}'`: convolutions or dense layers after "
                "its first one; received a tower without them. Use "
                "`quantization='float16'`."
            )
