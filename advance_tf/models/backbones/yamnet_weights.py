"""Reads YAMNet's weights from its `.tflite` file, `yamnet.h5` or its SavedModel."""

import pathlib
import re
from collections.abc import Mapping

import h5py
import numpy as np
import tensorflow as tf

from advance_tf.files import DAMAGED_FILE_ERRORS
from advance_tf.models.backbones.yamnet_network import (
    CLASSES,
    EMBEDDING_SIZE,
    SEPARABLE,
)

ENDINGS = (".tflite", ".h5")
# Of the batch norms of the published Keras code, which have no scale.
EPSILON = 1e-4
Arrays = dict[str, list[np.ndarray]]


def layer_shapes() -> dict[str, list[tuple[int, ...]]]:
    """The shapes of kernel and bias of every layer of the tower, in order.

    >>> len(layer_shapes()), layer_shapes()["layer1_conv"]
    (28, [(3, 3, 1, 32), (32,)])
    """
    shapes: dict[str, list[tuple[int, ...]]] = {"layer1_conv": [(3, 3, 1, 32), (32,)]}
    before = 32
    for number, (_, channels) in enumerate(SEPARABLE, start=2):
        depthwise, pointwise = (3, 3, before, 1), (1, 1, before, channels)
        shapes[f"layer{number}_depthwise_conv"] = [depthwise, (before,)]
        shapes[f"layer{number}_pointwise_conv"] = [pointwise, (channels,)]
        before = channels
    shapes["scores"] = [(EMBEDDING_SIZE, CLASSES), (CLASSES,)]
    return shapes


def read_yamnet(path: str | pathlib.Path) -> Arrays:
    """Reads the weights of YAMNet, with batch norms folded into the convolutions.

    Args:
        path: `yamnet.tflite`, whose 8-bit weights are converted to float32;
            `yamnet.h5` of TensorFlow's model garden; or the folder of its SavedModel.

    Returns:
        Name of the tower's layer → kernel and bias, float32.

    Raises:
        ValueError: the file is damaged or holds another network.
    """
    path = pathlib.Path(path)
    try:
        if path.suffix == ".tflite":
            found = _read_tflite(path)
        elif path.is_dir():
            found = _fold(_read_saved_model(path))
        else:
            found = _fold(_read_h5(path))
        shapes = {name: [a.shape for a in arrays] for name, arrays in found.items()}
        if shapes != layer_shapes():
            raise ValueError("its layers differ from those of YAMNet")
    except (*DAMAGED_FILE_ERRORS, OSError) as error:
        raise ValueError(
            f"{path} must hold YAMNet's weights (.tflite, .h5 or a SavedModel); "
            f"reading it failed: {error}. Download it again."
        ) from error
    return {
        name: [np.asarray(array, np.float32) for array in arrays]
        for name, arrays in found.items()
    }


def _read_tflite(path: pathlib.Path) -> Arrays:
    """Kernels and biases of the operators of a LiteRT file, in order."""
    # Only this format needs LiteRT.
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    operators = schema.BuiltinOperator
    kinds = (
        operators.CONV_2D,
        operators.DEPTHWISE_CONV_2D,
        operators.FULLY_CONNECTED,
    )

    def values(index: int) -> np.ndarray:
        tensor = graph.tensors[index]
        data = model.buffers[tensor.buffer].data
        if data is None:
            raise ValueError("a weight is not a constant")
        types = schema.TensorType
        dtype = {types.INT8: "<i1", types.INT32: "<i4", types.FLOAT32: "<f4"}
        raw = np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype[tensor.type])
        raw = raw.reshape(tensor.shape)
        quantization = tensor.quantization
        if quantization is None or quantization.scale is None:
            return raw
        # One scale for the tensor, or one for each index of an axis.
        along = [1] * raw.ndim
        if len(quantization.scale) > 1:
            along[quantization.quantizedDimension] = -1
        scale = np.asarray(quantization.scale, np.float64).reshape(along)
        zero = np.asarray(quantization.zeroPoint, np.float64).reshape(along)
        return (raw - zero) * scale

    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        if kind not in kinds:
            continue
        shape = graph.tensors[operator.inputs[1]].shape
        if kind == operators.FULLY_CONNECTED and shape[-1] != EMBEDDING_SIZE:
            continue  # A product with the mel filters or of the Fourier transform.
        kernel, bias = (values(index) for index in operator.inputs[1:3])
        # [out, h, w, in], depthwise [1, h, w, channels], dense [out, in]
        found.append([np.moveaxis(kernel, 0, -1), bias])
    return dict(zip(layer_shapes(), found, strict=True))


_H5_NAME = re.compile(
    r"(?:(layer\d+)/(conv|depthwise_conv|pointwise_conv)(?:/bn)?|dense\w*)"
    r"/(kernel|depthwise_kernel|bias|beta|moving_mean|moving_variance)(?::0)?$"
)


def _read_h5(path: pathlib.Path) -> dict[str, dict[str, np.ndarray]]:
    """Variables of each layer by Keras' names; a batch norm is part of its layer."""
    found: dict[str, dict[str, np.ndarray]] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        match = _H5_NAME.search(name)
        if match and isinstance(item, h5py.Dataset):
            layer = f"{match[1]}_{match[2]}" if match[1] else "scores"
            found.setdefault(layer, {})[match[3]] = np.asarray(item)

    with h5py.File(path) as file:
        file.visititems(visit)
    return {name: found[name] for name in layer_shapes()}


def _read_saved_model(folder: pathlib.Path) -> dict[str, dict[str, np.ndarray]]:
    """The same of a SavedModel, whose layers have numbers in place of names."""
    prefix = str(folder / "variables" / "variables")
    try:
        reader = tf.train.load_checkpoint(prefix)
    except tf.errors.OpError as error:
        raise ValueError(error.message) from error
    numbered: dict[int, dict[str, np.ndarray]] = {}
    for key in reader.get_variable_to_shape_map():
        match = re.search(r"layer_with_weights-(\d+)/(\w+)/\.ATTRIBUTES", key)
        if match:
            values = numbered.setdefault(int(match[1]), {})
            values[match[2]] = reader.get_tensor(key)
    ordered = [numbered[number] for number in sorted(numbered)]
    *bodies, scores = ordered
    # A convolution and its batch norm, in turn.
    merged = [c | n for c, n in zip(bodies[::2], bodies[1::2], strict=True)]
    return dict(zip(layer_shapes(), [*merged, scores], strict=True))


def _fold(layers: Mapping[str, Mapping[str, np.ndarray]]) -> Arrays:
    """Kernel and bias of layers: the batch norm is folded into its convolution."""
    return {name: _fold_layer(values) for name, values in layers.items()}


def _fold_layer(values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    if "bias" in values:
        return [values["kernel"], values["bias"]]
    wide = {name: np.asarray(array, np.float64) for name, array in values.items()}
    scale = 1 / np.sqrt(wide["moving_variance"] + EPSILON)
    bias = wide["beta"] - wide["moving_mean"] * scale
    if "depthwise_kernel" in wide:  # [h, w, channels, 1]
        return [wide["depthwise_kernel"] * scale[:, None], bias]
    return [wide["kernel"] * scale, bias]
