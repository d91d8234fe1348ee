"""PyTorch's ResNets → our towers: names, layouts, and the check of every key."""

import collections
import dataclasses
import functools
import re
from collections.abc import Mapping

import numpy as np
from keras import layers

from advance_tf.models.resnet import (
    BLOCKS,
    BOTTLENECK_FROM,
    build_resnet,
    embedding_size,
)
from advance_tf.models.weights import TowerMetadata

Arrays = dict[str, np.ndarray]

# What torchvision's ImageNet weights expect: (x / 255 − mean) / deviation.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.")
_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_NAMED_AT_MOST = 5


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A ResNet as the keys of a checkpoint show it.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        width: channels of the first stage.
        channels: of the input, 3 for images and 1 for log-mels.
    """

    depth: int
    width: int
    channels: int

    @property
    def tower(self) -> str:
        """ "image" or "audio", as the channels tell."""
        return "audio" if self.channels == 1 else "image"


def find_architecture(arrays: Mapping[str, np.ndarray], where: str) -> Architecture:
    """Reads depth, width and channels off the keys and shapes of a checkpoint.

    Args:
        arrays: key → array, PyTorch's names and layouts.
        where: the file, for the error.

    Returns:
        The architecture.

    Raises:
        ValueError: they are not those of a ResNet of a standard depth.
    """
    first = arrays.get("conv1.weight")
    if first is None or first.ndim != 4 or first.shape[1] not in (1, 3):
        shape = "none" if first is None else str(first.shape)
        raise ValueError(
            f"{where} must hold conv1.weight [channels, 1 or 3, 7, 7] of a ResNet; "
            f"received {shape}, and the keys {_named(sorted(arrays))}."
        )
    numbers: dict[int, set[int]] = collections.defaultdict(set)
    for key in arrays:
        if found := _BLOCK.match(key):
            numbers[int(found[1])].add(int(found[2]))
    blocks = tuple(max(numbers[stage]) + 1 for stage in sorted(numbers))
    bottleneck = any(key.endswith(".conv3.weight") for key in arrays)
    for depth, standard in BLOCKS.items():
        if blocks == standard and bottleneck == (depth >= BOTTLENECK_FROM):
            return Architecture(depth, first.shape[0], first.shape[1])
    kind = "bottleneck" if bottleneck else "basic"
    raise ValueError(
        f"{where} must be a ResNet of depth {', '.join(map(str, BLOCKS))}; received "
        f"{kind} blocks {blocks} in its stages layer1, layer2, …"
    )


@functools.cache
def _expected(architecture: Architecture) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Key in PyTorch → our name and PyTorch's shape, read off our own tower."""
    tower = build_resnet(
        architecture.depth,
        architecture.width,
        (64, 64, architecture.channels),
        1 if architecture.tower == "audio" else 2,
    )
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    for layer in tower.layers:
        module = layer.name.replace("_", ".")
        if isinstance(layer, layers.Conv2D):
            height, width, inputs, outputs = layer.kernel.shape
            shape = (outputs, inputs, height, width)
            expected[f"{module}.weight"] = (f"{layer.name}/kernel", shape)
        elif layer.weights:
            for own, theirs in _BATCH_NORM.items():
                shape = tuple(layer.gamma.shape)
                expected[f"{module}.{theirs}"] = (f"{layer.name}/{own}", shape)
    return expected


def _named(keys) -> str:
    keys = list(keys)
    rest = len(keys) - _NAMED_AT_MOST
    text = ", ".join(keys[:_NAMED_AT_MOST]) or "none"
    return f"{text} and {rest} more" if rest > 0 else text


def check_keys(
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
) -> None:
    """Refuses a checkpoint whose keys are not exactly those expected.

    Args:
        arrays: key → array.
        shapes: key → shape expected.
        where: the file, for the error.

    Raises:
        ValueError: a key is missing or too many, or has another shape; it is
            named.
    """
    missing = [key for key in shapes if key not in arrays]
    extra = [key for key in arrays if key not in shapes]
    other = [
        f"{key} is {arrays[key].shape}, wanted {shape}"
        for key, shape in shapes.items()
        if key in arrays and arrays[key].shape != tuple(shape)
    ]
    broken = [key for key in arrays if not np.isfinite(arrays[key]).all()]
    if missing or extra or other or broken:
        raise ValueError(
            f"{where} must hold exactly the finite weights of the model; missing: "
            f"{_named(missing)}; too many: {_named(extra)}; other shape: "
            f"{_named(other)}; not finite: {_named(broken)}."
        )


def convert_dense(arrays: Mapping[str, np.ndarray], key: str) -> tuple:
    """Kernel [in, out] and bias [out] of a linear layer [out, in]."""
    return arrays[f"{key}.weight"].T, arrays[f"{key}.bias"]


def convert_tower(
    arrays: Mapping[str, np.ndarray], where: str, *, inputs: str = "levels"
) -> tuple[Arrays, TowerMetadata]:
    """A PyTorch ResNet as the arrays of a tower file, its `fc` as the head.

    Args:
        arrays: key → array, in PyTorch's names (`layer1.0.conv1.weight`) and
            layouts; `fc` may be missing.
        where: the file, for errors and as the source.
        inputs: what the checkpoint was trained on. "levels": RGB 0..255, as the
            authors' weights; "imagenet": (x / 255 − mean) / deviation, as
            torchvision's, which `fold_imagenet_inputs` builds in.

    Returns:
        Name → array, as `weights.save_arrays` writes it, and the description.

    Raises:
        ValueError: a key is missing, too many or mis-shaped, or the depth is
            none of the standard ones.
    """
    architecture = find_architecture(arrays, where)
    expected = _expected(architecture)
    shapes = {key: shape for key, (_, shape) in expected.items()}
    outputs = 0
    if {"fc.weight", "fc.bias"} & set(arrays):
        outputs = len(arrays.get("fc.bias", ()))
        embedding = embedding_size(architecture.depth, architecture.width)
        shapes |= {"fc.weight": (outputs, embedding), "fc.bias": (outputs,)}
    check_keys(arrays, shapes, where)
    made = {}
    for key, (name, shape) in expected.items():
        array = arrays[key]
        made[name] = array.transpose(2, 3, 1, 0) if len(shape) == 4 else array
    if inputs == "imagenet":
        fold_imagenet_inputs(made)
    if outputs:
        made["head/kernel"], made["head/bias"] = convert_dense(arrays, "fc")
    metadata = TowerMetadata(
        architecture.tower, architecture.depth, architecture.width, outputs, where
    )
    return made, metadata


def fold_imagenet_inputs(arrays: Arrays) -> None:
    """Builds torchvision's normalization into the first layers of an image tower.

        W (x/255 − m)/s = (W/(255 s)) x − Σ W m/s

    The scale goes into the first kernel and the constant into the mean of the
    batch norm behind it. Exact but for the outermost rows and columns, where
    the zeros of the padding now stand for black and not for the mean colour.

    Args:
        arrays: of `convert_tower`; changed in place.

    Raises:
        ValueError: the tower does not take three channels.
    """
    kernel = np.asarray(arrays["conv1/kernel"], np.float64)
    if kernel.shape[2] != len(IMAGENET_MEAN):
        raise ValueError(
            "--inputs=imagenet needs a tower of three channels; received "
            f"{kernel.shape[2]}. Leave the flag out."
        )
    mean, deviation = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    shift = np.einsum("hwio,i->o", kernel, mean / deviation)
    scaled = kernel / (255.0 * deviation)[:, None]
    arrays["conv1/kernel"] = scaled.astype(np.float32)
    moved = arrays["bn1/moving_mean"] + shift
    arrays["bn1/moving_mean"] = moved.astype(np.float32)
