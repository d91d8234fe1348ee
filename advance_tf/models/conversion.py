"""Converts PyTorch ResNets and the authors' complete model to Keras weights."""

import collections
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence

import numpy as np
from keras import layers

from advance_tf import labels
from advance_tf.config import ModelConfig
from advance_tf.files import join_names
from advance_tf.models.backbones.contract import IMAGENET_MEAN, IMAGENET_STD
from advance_tf.models.resnet import (
    BLOCKS,
    BOTTLENECK_FROM,
    build_resnet,
    embedding_size,
)
from advance_tf.models.weights import TowerMetadata, without_head

Arrays = dict[str, np.ndarray]

_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.")
_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_MAX_KEYS_IN_MESSAGE = 5


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Architecture of the ResNet in a checkpoint.

    Attributes:
        depth: 10, 18, 34, 50, 101 or 152.
        width: number of channels of the first stage.
        channels: number of input channels, 3 for images and 1 for log-mels.
    """

    depth: int
    width: int
    channels: int

    @property
    def tower(self) -> str:
        """The tower with this number of input channels: "image" or "audio"."""
        return "audio" if self.channels == 1 else "image"


def find_architecture(arrays: Mapping[str, np.ndarray], where: str) -> Architecture:
    """Infers depth, width and channels from the keys and shapes of a checkpoint.

    Args:
        arrays: key → array, with PyTorch's names and layouts.
        where: name of the file, for the error.

    Returns:
        The architecture.

    Raises:
        ValueError: the keys are not those of a ResNet of a standard depth.
    """
    first = arrays.get("conv1.weight")
    if first is None or first.ndim != 4 or first.shape[1] not in (1, 3):
        shape = "none" if first is None else str(first.shape)
        raise ValueError(
            f"{where} must contain conv1.weight [channels, 1 or 3, 7, 7] of a ResNet; "
            f"received {shape}, and the keys {_format_keys(sorted(arrays))}."
        )
    # Stage → numbers of its blocks.
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
    """Returns PyTorch's key → name and PyTorch's shape, derived from `build_resnet`."""
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
            for keras_name, torch_name in _BATCH_NORM.items():
                shape = tuple(layer.gamma.shape)
                expected[f"{module}.{torch_name}"] = (
                    f"{layer.name}/{keras_name}",
                    shape,
                )
    return expected


def _format_keys(keys: Sequence[str]) -> str:
    """Lists the first keys for an error message."""
    return join_names(keys, _MAX_KEYS_IN_MESSAGE) or "none"


def check_keys(
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
) -> None:
    """Checks that a checkpoint has exactly the expected keys and shapes.

    Args:
        arrays: key → array.
        shapes: key → expected shape.
        where: name of the file, for the error.

    Raises:
        ValueError: a key is missing or unexpected, an array has another shape or
            is not finite; the keys are named.
    """
    missing = [key for key in shapes if key not in arrays]
    unexpected = [key for key in arrays if key not in shapes]
    mismatched = [
        f"{key} is {arrays[key].shape}, must be {shape}"
        for key, shape in shapes.items()
        if key in arrays and arrays[key].shape != tuple(shape)
    ]
    not_finite = [key for key in arrays if not np.isfinite(arrays[key]).all()]
    if missing or unexpected or mismatched or not_finite:
        raise ValueError(
            f"{where} must contain exactly the weights of the model, all finite; "
            f"missing: {_format_keys(missing)}; unexpected: "
            f"{_format_keys(unexpected)}; other shape: {_format_keys(mismatched)}; "
            f"not finite: {_format_keys(not_finite)}. Use a checkpoint of the "
            "complete model."
        )


def convert_dense(
    arrays: Mapping[str, np.ndarray], key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Converts a linear layer of PyTorch to the weights of a dense layer.

    >>> arrays = {"fc.weight": np.zeros((7, 16)), "fc.bias": np.zeros(7)}
    >>> kernel, bias = convert_dense(arrays, "fc")
    >>> kernel.shape, bias.shape
    ((16, 7), (7,))

    Args:
        arrays: key → array, with `<key>.weight` [out, in] and `<key>.bias` [out].
        key: name of the layer.

    Returns:
        Kernel [in, out] and bias [out].
    """
    return arrays[f"{key}.weight"].T, arrays[f"{key}.bias"]


def convert_tower(
    arrays: Mapping[str, np.ndarray], where: str, *, inputs: str = "levels"
) -> tuple[Arrays, TowerMetadata]:
    """Converts a PyTorch ResNet to the arrays of a tower file; `fc` becomes the head.

    Args:
        arrays: key → array, with PyTorch's names (`layer1.0.conv1.weight`) and
            layouts; `fc` is optional.
        where: name of the file, for errors and as the source.
        inputs: inputs that the checkpoint was trained with. "levels": RGB 0..255,
            as for the authors' weights; "imagenet": (x / 255 − mean) / std, as for
            torchvision's weights, which `fold_imagenet_inputs` folds into the
            first layers.

    Returns:
        Name → array, in the format of `weights.save_arrays`, and the metadata.

    Raises:
        ValueError: a key is missing or unexpected, an array has another shape, or
            the depth is not a standard one.
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
    converted = {}
    for key, (name, shape) in expected.items():
        array = arrays[key]
        # [out, in, h, w] → [h, w, in, out]
        converted[name] = array.transpose(2, 3, 1, 0) if len(shape) == 4 else array
    if inputs == "imagenet":
        fold_imagenet_inputs(converted)
    if outputs:
        converted["head/kernel"], converted["head/bias"] = convert_dense(arrays, "fc")
    metadata = TowerMetadata(
        architecture.tower, architecture.depth, architecture.width, outputs, where
    )
    return converted, metadata


def fold_imagenet_inputs(arrays: Arrays) -> None:
    """Folds torchvision's normalization into the first layers of an image tower.

        W (x/255 − m)/s = (W/(255 s)) x − Σ W m/s

    The scale is folded into the first kernel and the constant into the moving mean
    of the batch normalization after it. The result is exact except in the
    outermost rows and columns, where the zeros of the padding represent black
    instead of the mean colour.

    Args:
        arrays: name → array in the format of `convert_tower`; changed in place.

    Raises:
        ValueError: the tower does not have three input channels.
    """
    kernel = np.asarray(arrays["conv1/kernel"], np.float64)
    if kernel.shape[2] != len(IMAGENET_MEAN):
        raise ValueError(
            "`inputs=imagenet` needs a tower with three channels; received "
            f"{kernel.shape[2]}. Use `inputs=levels`."
        )
    # [out]
    shift = np.einsum("hwio,i->o", kernel, IMAGENET_MEAN / IMAGENET_STD)
    # [h, w, in, out]
    scaled = kernel / (255.0 * IMAGENET_STD)[:, None]
    arrays["conv1/kernel"] = scaled.astype(np.float32)
    moving_mean = arrays["bn1/moving_mean"] + shift
    arrays["bn1/moving_mean"] = moving_mean.astype(np.float32)


_TOWERS = {"image": "image_net.", "audio": "audio_net."}
_SCENE_HEAD, _EVENT_HEAD = "fusion_fc", "KD_fc"


@dataclasses.dataclass(frozen=True)
class ConvertedRecognizer:
    """The weights and the configuration of a recognizer from a checkpoint.

    Attributes:
        towers: "image" and "audio" → name → array, as in a tower file.
        heads: layer → (kernel, bias), of `scene_head` and of the event head if the
            checkpoint has one.
        model: depths and widths.
        transfer: an objective with this event head; "none" without one.
    """

    towers: Mapping[str, Arrays]
    heads: Mapping[str, tuple[np.ndarray, np.ndarray]]
    model: ModelConfig
    transfer: str


def is_fusion(arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns whether a checkpoint contains the authors' complete recognizer.

    >>> is_fusion({"image_net.conv1.weight": np.zeros((64, 3, 7, 7))})
    True
    """
    return any(key.startswith(tuple(_TOWERS.values())) for key in arrays)


def convert_fusion(
    arrays: Mapping[str, np.ndarray],
    where: str,
    *,
    scene_order: str = "authors",
    single_input: str = "image",
) -> ConvertedRecognizer:
    """Converts the authors' image_net, audio_net, fusion_fc and KD_fc.

    A classifier `fc` of a tower is checked and omitted: the recognizer has its own
    heads. With `KD_fc` on the audio embedding, the result is a model for
    `kl_audio`; with `KD_fc` on the joint embedding, for `kl_audiovisual`. A
    `fusion_fc` on the embedding of one tower (FusionNet_uni) gives a model of this
    input alone: the weights of the other embedding are zeros.

    Args:
        arrays: key → array of the checkpoint.
        where: name of the file, for errors.
        scene_order: order of the rows of `fusion_fc`: "authors", as published, or
            "name", sorted by name.
        single_input: "image" or "sound", the input of a network with one input: the
            checkpoint does not contain it, and the authors' code has "image".

    Returns:
        The weights and their configuration.

    Raises:
        ValueError: a key is missing or unexpected, or an array has another shape.
    """
    towers, descriptions = {}, {}
    remaining = dict(arrays)
    for tower, prefix in _TOWERS.items():
        tower_arrays = {
            key.removeprefix(prefix): remaining.pop(key)
            for key in arrays
            if key.startswith(prefix)
        }
        converted, metadata = convert_tower(tower_arrays, f"{where} ({prefix}*)")
        _check_tower(tower, metadata, where)
        towers[tower], descriptions[tower] = without_head(converted, metadata)
    model = ModelConfig(
        image_depth=descriptions["image"].depth,
        image_width=descriptions["image"].width,
        audio_depth=descriptions["audio"].depth,
        audio_width=descriptions["audio"].width,
    )
    audio_size = embedding_size(model.audio_depth, model.audio_width)
    image_size = embedding_size(model.image_depth, model.image_width)
    sizes = {"image": image_size, "sound": audio_size}
    kernel = remaining.get(f"{_SCENE_HEAD}.weight")
    if kernel is not None and kernel.ndim == 2 and kernel.shape[1] in sizes.values():
        model = dataclasses.replace(model, modality=single_input)
        _widen_heads(remaining, sizes, single_input)
    heads, transfer = _convert_heads(
        remaining, audio_size, audio_size + image_size, where, scene_order
    )
    return ConvertedRecognizer(towers, heads, model, transfer)


def _widen_heads(arrays: Arrays, sizes: Mapping[str, int], single_input: str) -> None:
    """Adds zeros for the embedding of the other tower to the heads of one input."""
    before = sizes["image"] if single_input == "sound" else 0
    after = sizes["sound"] if single_input == "image" else 0
    for head in (_SCENE_HEAD, _EVENT_HEAD):
        kernel = arrays.get(f"{head}.weight")
        if kernel is not None and kernel.shape[-1] == sizes[single_input]:
            # [out, D_v + D_a]
            arrays[f"{head}.weight"] = np.pad(kernel, ((0, 0), (before, after)))


def _check_tower(tower: str, metadata: TowerMetadata, where: str) -> None:
    if metadata.tower != tower:
        raise ValueError(
            f"{_TOWERS[tower]}* of {where} must be an {tower} tower; its first "
            f"convolution is that of an {metadata.tower} tower. Rename the keys."
        )


def _convert_heads(
    arrays: Mapping[str, np.ndarray],
    audio_size: int,
    joint_size: int,
    where: str,
    scene_order: str,
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], str]:
    """Returns layer → (kernel, bias), and the objective with this event head."""
    scenes, events = len(labels.scenes()), len(labels.events())
    shapes = {
        f"{_SCENE_HEAD}.weight": (scenes, joint_size),
        f"{_SCENE_HEAD}.bias": (scenes,),
    }
    transfer, head = "none", ""
    kernel = arrays.get(f"{_EVENT_HEAD}.weight")
    if kernel is not None or f"{_EVENT_HEAD}.bias" in arrays:
        on_audio = kernel is not None and kernel.shape[-1] == audio_size
        transfer = "kl_audio" if on_audio else "kl_audiovisual"
        head = "audio_event_head" if on_audio else "audiovisual_event_head"
        size = audio_size if on_audio else joint_size
        shapes[f"{_EVENT_HEAD}.weight"] = (events, size)
        shapes[f"{_EVENT_HEAD}.bias"] = (events,)
    check_keys(arrays, shapes, where)
    kernel, bias = convert_dense(arrays, _SCENE_HEAD)
    if scene_order == "authors":
        order = [labels.scenes_as_published().index(s) for s in labels.scenes()]
        kernel, bias = kernel[:, order], bias[order]
    heads = {"scene_head": (kernel, bias)}
    if head:
        heads[head] = convert_dense(arrays, _EVENT_HEAD)
    return heads, transfer
