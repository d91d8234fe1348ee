"""Presets of KerasHub as image towers, such as `kerashub:dinov2_small`."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import layers

from advance_tf.checksums import path_sha256
from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.extras import check_extra
from advance_tf.files import reading
from advance_tf.models.backbones.contract import (
    EMBEDDING,
    Backbone,
    WeightsSource,
    arrays_sha256,
    pooled_tower,
    split_options,
    whole_number,
)
from advance_tf.models.backbones.resizing import Resize

DEFINITION = "network.json"
NETWORK = "network"
TOKENS = ("patches", "class", "both")
# The most class and register tokens before the patches.
_MOST_PREFIX_TOKENS = 16
# The settings of an `ImageConverter` that a tower applies.
_CONVERTER = ("image_size", "scale", "offset", "interpolation", "antialias")


class KerasHubPreset(Backbone):
    """`kerashub:<preset or folder>[,size=<pixels>][,tokens=patches|class|both]`.

    The preset's image converter is part of the tower: size, scale and offset. A
    convolutional network has its last feature map in the layer `features`. A vision
    transformer has the map of its patch tokens: its embedding is their mean
    (`patches`), the class token (`class`, without a feature map), or both, one after
    the other (`both`, the default where there is a class token), where the feature
    map has the class token at every position. A network that pools its tokens itself
    has an embedding alone. Of a network of images and texts the image encoder is
    used.
    """

    named_weights: ClassVar[Mapping[str, str]] = {"preset": "KerasHub's preset"}
    has_variants = True
    default_weights = "preset"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.preset, options = split_options(self.variant, ("size", "tokens"))
        self.size = whole_number(options, "size")
        self.tokens = options.get("tokens", "")
        if not self.preset or (self.tokens and self.tokens not in TOKENS):
            raise ValueError(
                "image_backbone must be kerashub:<preset or folder>, with `tokens` of "
                f"{', '.join(TOKENS)} or none; received {name!r}. Choose one of these."
            )
        self._stored = pathlib.Path(self.preset) / DEFINITION
        if self._stored.is_file():
            # The weights of a run are in the run.
            self.default_weights = ""

    def check(self, tower: str, model: ModelConfig, features: FeatureConfig) -> None:
        """Reads the preset; see `Backbone.check`."""
        self._define()

    def build(
        self, tower: str, model: ModelConfig, features: FeatureConfig
    ) -> keras.Model:
        """Builds the tower; see `Backbone.build`."""
        definition = self._define()
        converter = definition["converter"]
        network = keras.saving.deserialize_keras_object(definition["network"])
        side = features.image_size
        levels = keras.Input((side, side, 3), name="levels")
        x = levels
        height, width = converter["image_size"] or (side, side)
        if (height, width) != (side, side):
            x = Resize(
                height,
                width,
                converter["interpolation"],
                converter["antialias"],
                name="resized",
            )(x)
        scale, offset = converter["scale"], converter["offset"]
        x = layers.Rescaling(
            1.0 if scale is None else scale,
            0.0 if offset is None else offset,
            name="preprocessed",
        )(x)
        network = keras.Model(network.inputs[0], network.outputs[0], name=NETWORK)
        return self._pool(levels, network(x), definition["patch_size"], (height, width))

    def _pool(
        self,
        levels: keras.KerasTensor,
        found: keras.KerasTensor,
        patch_size: int,
        size: tuple[int, int],
    ) -> keras.Model:
        """Completes the tower from the output of the network."""
        if len(found.shape) == 4:
            return pooled_tower(levels, found, "image")  # [B, h, w, D]
        if len(found.shape) == 2:
            embedding = layers.Identity(name=EMBEDDING)(found)
            return keras.Model(levels, embedding, name="image_tower")
        # [B, prefix + h · w, D]
        rows, columns, prefix = _grid(found.shape[1], patch_size, size)
        tokens = self.tokens or ("both" if prefix else "patches")
        if tokens != "patches" and not prefix:
            raise ValueError(
                f"tokens must be patches for {self.preset}, which has no class token; "
                f"received {tokens!r}."
            )
        if tokens == "class":
            embedding = layers.Identity(name=EMBEDDING)(found[:, 0])
            return keras.Model(levels, embedding, name="image_tower")
        patches = keras.ops.reshape(
            found[:, prefix:], (-1, rows, columns, found.shape[2])
        )
        if tokens == "both":
            shared = keras.ops.reshape(found[:, :1], (-1, 1, 1, found.shape[2]))
            # Zeros, as LiteRT has no broadcast of an unknown batch.
            shared = shared + keras.ops.zeros_like(patches)
            patches = keras.ops.concatenate([patches, shared], axis=-1)
        return pooled_tower(levels, patches, "image")

    def load_weights(self, tower: keras.Model, weights: str) -> None:
        """Loads the weights of the preset."""
        if weights not in self.named_weights:
            raise ValueError(self.unknown_weights(weights))
        network = self._network(load_weights=True)
        tower.get_layer(NETWORK).set_weights(network.get_weights())

    def weights_source(self, weights: str) -> WeightsSource:
        """Origin and hash: of the folder, or of the arrays of a fetched preset."""
        if weights not in self.named_weights:
            return super().weights_source(weights)
        folder = pathlib.Path(self.preset)
        if folder.is_dir():
            return WeightsSource(
                self.name, weights, "local preset of KerasHub", path_sha256(folder)
            )
        arrays = self._network(load_weights=True).get_weights()
        source = f"{self.preset}, fetched by KerasHub"
        return WeightsSource(self.name, weights, source, arrays_sha256(arrays))

    def store(self, folder: pathlib.Path) -> None:
        """Writes the layers of the network and the settings of its converter."""
        definition = json.dumps(self._define())
        folder.mkdir(parents=True)
        (folder / DEFINITION).write_text(definition + "\n", encoding="utf-8")

    def absolute_name(self) -> str:
        """The name with the absolute path of a preset's folder."""
        path = pathlib.Path(self.preset)
        if not path.is_dir():
            return self.name
        return f"kerashub:{path.absolute()}{self.variant[len(self.preset) :]}"

    def stored_name(self, folder: pathlib.Path) -> str:
        """The name of the copy; see `Backbone.stored_name`."""
        tokens = f",tokens={self.tokens}" if self.tokens else ""
        return f"kerashub:{folder}{tokens}"

    def _define(self) -> dict[str, Any]:
        """Layers, patch size and converter settings, as JSON has them."""
        check_extra("backbones", "keras_hub")
        if self._stored.is_file():
            way_out = "Restore it, or train the run again."
            with reading(self._stored, "hold the layers of a network", way_out):
                return dict(json.loads(self._stored.read_text("utf-8")))
        network = self._network(load_weights=False)
        converter = self._converter()
        if self.size:
            converter["image_size"] = [self.size, self.size]
        patch_size = getattr(network, "patch_size", 0) or 0
        return {
            "network": keras.saving.serialize_keras_object(network),
            "patch_size": int(np.ravel(patch_size)[0]),
            "converter": converter,
        }

    def _network(self, *, load_weights: bool) -> keras.Model:
        """The preset's network of images."""
        import keras_hub

        settings: dict[str, Any] = {"load_weights": load_weights}
        if self.size:
            settings["image_shape"] = (self.size, self.size, 3)
        try:
            network = keras_hub.models.Backbone.from_preset(self.preset, **settings)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ValueError(self._unreadable(error)) from error
        return getattr(network, "vision_encoder", network)

    def _converter(self) -> dict[str, Any]:
        """The settings of the preset's image converter."""
        import keras_hub

        try:
            converter = keras_hub.layers.ImageConverter.from_preset(self.preset)
            settings = converter.get_config()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(self._unreadable(error)) from error
        chosen = {name: settings[name] for name in _CONVERTER}
        # Tuples and NumPy's numbers as JSON has them.
        found: dict[str, Any] = json.loads(
            json.dumps(chosen, default=lambda value: value.tolist())
        )
        return found

    def _unreadable(self, error: Exception) -> str:
        reason = str(error).splitlines()[0]
        return (
            f"{self.preset!r} must be a preset of KerasHub with an image converter, or "
            f"the folder of one; reading it failed: {reason} Without a network, pass a "
            "folder that `save_to_preset` of model and image converter wrote."
        )


def _grid(count: int, patch_size: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """Rows and columns of patches, and the number of tokens before them.

    >>> _grid(257, 14, (224, 224)), _grid(49, 0, (224, 224))
    ((16, 16, 1), (7, 7, 0))
    """
    if patch_size:
        rows, columns = size[0] // patch_size, size[1] // patch_size
        if 0 <= count - rows * columns <= _MOST_PREFIX_TOKENS:
            return rows, columns, count - rows * columns
    side = math.isqrt(count)
    return side, side, count - side * side
