"""Rounding of weights to 8 bits with compensated errors, for depthwise networks.

A depthwise kernel has 9 or 25 weights, whose inputs are nearly equal in a smooth
image: the rounding errors of its weights add up, where those of a large kernel cancel.
In EfficientNet-Lite0 they are nearly all of the error of 8 bits.
"""

import copy
from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from advance_tf.inference.backends import EMBED
from advance_tf.serving.flatbuffer import (
    constant,
    operator_kind,
    operators_of,
    read_model,
    set_constant,
    write_model,
)
from advance_tf.serving.parity import Decoded

_CONV = schema.BuiltinOperator.CONV_2D
_DEPTHWISE = schema.BuiltinOperator.DEPTHWISE_CONV_2D
_LEVELS = 127
# Pairs and, for each, positions of a layer whose inputs are examined.
_PAIRS, _POSITIONS, _LEAST_POSITIONS = 24, 1500, 40
_DAMPING = 0.01
# The least weight of a channel as a share of its bias. The step of a bias in 32 bits is
# that of the weights times that of the inputs: a channel of weights of 1e-10, which
# batch norms leave behind, could not hold its bias.
_LEAST_WEIGHT = 2.0**-14


def has_depthwise(contents: bytes, kernels: Collection[int]) -> bool:
    """Whether a flatbuffer has depthwise convolutions that will be in 8 bits.

    Args:
        contents: the flatbuffer.
        kernels: buffers of the kernels that will be in 8 bits.

    Returns:
        True when `round_weights` is of use.
    """
    model = read_model(contents)
    return any(
        _kernel(subgraph, operator).buffer in kernels
        for subgraph in model.subgraphs
        for operator, _ in operators_of(model, subgraph, _DEPTHWISE)
    )


def _kernel(subgraph: Any, operator: Any) -> Any:
    return subgraph.tensors[operator.inputs[1]]


def round_weights(
    contents: bytes, calibration: Decoded, kernels: Collection[int]
) -> bytes:
    """Rounds depthwise and 1×1 kernels to the values that 8 bits can hold.

    The quantizer then finds the same scale for each channel and rounds nothing. Biases
    take up the mean of the remaining errors.

    Args:
        contents: a float32 flatbuffer with the signature `embed`.
        calibration: pairs of the training split; up to 24 are used.
        kernels: buffers of the kernels that will be in 8 bits; others do not change.

    Returns:
        A float32 flatbuffer.
    """
    model = read_model(contents)
    signatures = {own.signatureKey.decode(): own for own in model.signatureDefs}
    _separate_biases(model, kernels)
    place = signatures[EMBED].subgraphIndex
    subgraph = model.subgraphs[place]
    layers = [
        (operator, kind)
        for operator, kind in operators_of(model, subgraph, _CONV, _DEPTHWISE)
        if _kernel(subgraph, operator).buffer in kernels
    ]
    inputs = _layer_inputs(contents, place, subgraph, layers, calibration)
    for (operator, kind), samples in zip(layers, inputs, strict=True):
        kernel, bias = (subgraph.tensors[i] for i in operator.inputs[1:3])
        values, offsets = constant(model, kernel), constant(model, bias)
        # [channels, inputs of a channel]
        rows = values.reshape(-1, values.shape[-1]).T
        if kind == _CONV:
            rows = values.reshape(len(values), -1)
        rows = _raise_dead(rows.astype(np.float64), offsets)
        if samples:
            rows, offsets = _round_layer(rows, offsets, np.concatenate(samples))
        rounded = rows if kind == _CONV else rows.T
        set_constant(model, kernel, rounded.reshape(values.shape))
        set_constant(model, bias, offsets)
    return write_model(model)


def _separate_biases(model: Any, kernels: Collection[int]) -> None:
    """Gives layers whose biases are one constant, such as zeros, each its own.

    Args:
        model: as of `read_model`; changed in place.
        kernels: buffers of the kernels of the layers.
    """
    users: dict[int, set[int]] = {}  # buffer → kernels, and −1 for other operators
    layers = []
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            kernel = -1
            if operator_kind(model, operator) in (_CONV, _DEPTHWISE):
                kernel = _kernel(subgraph, operator).buffer
            if kernel in kernels:
                layers.append((subgraph, operator, kernel))
            for place in operator.inputs:
                users.setdefault(subgraph.tensors[place].buffer, set()).add(kernel)
    own: dict[tuple[int, int], int] = {}  # kernel and bias → buffer of its own
    for number, (subgraph, operator, kernel) in enumerate(layers):
        bias = subgraph.tensors[operator.inputs[2]]
        if len(users[bias.buffer]) == 1:
            continue
        if (kernel, bias.buffer) not in own:
            own[kernel, bias.buffer] = len(model.buffers)
            model.buffers.append(copy.copy(model.buffers[bias.buffer]))
        separate = copy.copy(bias)
        # The quantizer needs names that differ.
        separate.name = f"own_bias_{number}".encode()
        separate.buffer = own[kernel, bias.buffer]
        operator.inputs = [*operator.inputs[:2], len(subgraph.tensors)]
        subgraph.tensors.append(separate)


def _layer_inputs(
    contents: bytes,
    place: int,
    subgraph: Any,
    layers: list[tuple[Any, int]],
    calibration: Decoded,
) -> list[list[np.ndarray]]:
    """Inputs of each layer at some positions, a list of arrays for each pair.

    They are [positions, inputs] of a 1×1 convolution and [positions, taps, channels]
    of a depthwise one; none of other convolutions.
    """
    interpreter = Interpreter(
        model_content=contents, experimental_preserve_all_tensors=True, num_threads=1
    )
    run = interpreter.get_signature_runner(EMBED)
    names = set(run.get_input_details())
    rng = np.random.default_rng(0)
    found: list[list[np.ndarray]] = [[] for _ in layers]
    count = len(calibration.image)
    for row in np.unique(np.linspace(0, count - 1, _PAIRS).astype(int)):
        given = calibration._asdict()
        run(**{name: given[name][row : row + 1] for name in names})
        for (operator, kind), samples in zip(layers, found, strict=True):
            kernel = _kernel(subgraph, operator).shape
            maps = interpreter.get_tensor(int(operator.inputs[0]), place)
            if kind == _DEPTHWISE:
                samples.append(_patches(maps, kernel, operator.builtinOptions, rng))
            elif tuple(kernel[1:3]) == (1, 1):
                flat = maps.reshape(-1, maps.shape[-1])
                chosen = rng.integers(len(flat), size=min(_POSITIONS, len(flat)))
                samples.append(flat[chosen])
    return found


def _patches(
    maps: np.ndarray, kernel: np.ndarray, options: Any, rng: np.random.Generator
) -> np.ndarray:
    """Random patches of a map [B, H, W, C] under a kernel: [positions, taps, C]."""
    batch, height, width, channels = maps.shape
    sides, strides = kernel[1:3], (options.strideH, options.strideW)
    steps = [
        -(-size // step) for size, step in zip((height, width), strides, strict=True)
    ]
    padding = [(0, 0)]
    for size, side, step, number in zip(
        (height, width), sides, strides, steps, strict=True
    ):
        total = 0
        if options.padding == schema.Padding.SAME:
            total = max((number - 1) * step + side - size, 0)
        padding.append((total // 2, total - total // 2))
    padded = np.pad(maps, [*padding, (0, 0)])
    positions = max(_LEAST_POSITIONS, _POSITIONS * 8 // channels)
    limits = [
        (padded.shape[axis + 1] - sides[axis]) // strides[axis] + 1 for axis in (0, 1)
    ]
    image = rng.integers(batch, size=positions)
    top, left = (
        rng.integers(limit, size=positions) * step
        for limit, step in zip(limits, strides, strict=True)
    )
    taps = [
        padded[image, top + y, left + x]
        for y in range(sides[0])
        for x in range(sides[1])
    ]
    return np.stack(taps, axis=1)


def _raise_dead(rows: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Raises the first weight of channels whose bias would overflow 32 bits."""
    least = np.abs(bias) * _LEAST_WEIGHT
    dead = np.abs(rows).max(axis=1) < least
    rows[dead, 0] = least[dead]
    return rows


def _round_layer(
    rows: np.ndarray, bias: np.ndarray, samples: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rounds a layer: kernel [channels, inputs] and bias [channels]."""
    values = samples.astype(np.float64)
    if values.ndim == 2:
        mean = values.mean(axis=0)
        rounded = compensated_rounding(rows, np.cov(values.T, bias=True))
        return rounded, bias + (rows - rounded) @ mean
    rounded, offsets = np.empty_like(rows), bias.astype(np.float64)
    for channel, row in enumerate(rows):
        own = values[:, :, channel]  # [positions, taps]
        covariance = np.cov(own.T, bias=True)
        rounded[channel] = compensated_rounding(row[None], covariance)[0]
        offsets[channel] += (row - rounded[channel]) @ own.mean(axis=0)
    return rounded, offsets


def compensated_rounding(rows: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Rounds kernels one input after the other; later weights compensate the error.

        minimize (w − q)ᵀ C (w − q) over q ∈ s {−127, …, 127}^n,  s = max |w| / 127

    The largest weight of a row, which determines s, is kept as it is.

    >>> row, equal = np.array([[1.0, 0.303, 0.303, 0.303]]), np.ones((4, 4))
    >>> (127 * compensated_rounding(row, equal)).round(6).tolist()
    [[127.0, 38.0, 39.0, 38.0]]

    Args:
        rows: w, float [channels, n].
        covariance: C of the inputs, float [n, n].

    Returns:
        q, float64 [channels, n].

    Source: Frantar et al., "GPTQ" (2022), with the covariance in place of the second
    moments, since a bias takes up the mean.
    """
    scale = np.abs(rows).max(axis=1) / _LEVELS
    scale[scale == 0] = 1.0
    size = rows.shape[1]
    covariance = np.reshape(covariance, (size, size))
    damping = _DAMPING * np.trace(covariance) / size + 1e-12
    damped = covariance + damping * np.eye(size)
    # Inputs of large variance first, while many others can compensate.
    order = np.argsort(-np.diag(damped), kind="stable")
    work = rows[:, order].astype(np.float64)
    largest, kept = np.abs(work).argmax(axis=1), work.copy()
    inverse = np.linalg.inv(damped[np.ix_(order, order)])
    upper = np.linalg.cholesky(inverse).T
    rounded = np.empty_like(work)
    for column in range(size):
        steps = np.clip(np.round(work[:, column] / scale), -_LEVELS, _LEVELS)
        values = np.where(largest == column, kept[:, column], steps * scale)
        rounded[:, column] = values
        error = (work[:, column] - values) / upper[column, column]
        work[:, column + 1 :] -= np.outer(error, upper[column, column + 1 :])
    return rounded[:, np.argsort(order)]
