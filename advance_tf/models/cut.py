"""Cuts a tower in two at the end of its frozen stages."""

import dataclasses

import keras
import tensorflow as tf

from advance_tf.config import WHOLE_TOWER, ModelConfig
from advance_tf.models.backbones.contract import Backbone
from advance_tf.models.backbones.registry import tower_backbone


@dataclasses.dataclass(frozen=True, eq=False)
class TowerCut:
    """The frozen stages of a tower, and the rest of it.

    Both parts share their layers with the tower: rest(frozen(x)) = tower(x).

    Attributes:
        frozen: input of the tower → activations [B, ...].
        rest: activations [B, ...] → embedding [B, D], named `image_rest` or
            `audio_rest`.
        shape: shape of the activations of one example. A tower that cuts an example
            into patches has [patches, h, w, C], others [h, w, C].
    """

    frozen: keras.Model
    rest: keras.Model
    shape: tuple[int, ...]


def frozen_part(tower: keras.Model, end: str) -> keras.Model:
    """The part of a tower up to a layer.

    Args:
        tower: an image or audio tower.
        end: name of the last layer of the part.

    Returns:
        A model of the tower's layers, input → output of this layer.
    """
    return keras.Model(tower.input, tower.get_layer(end).output)


def cut_tower(tower: keras.Model, end: str) -> TowerCut:
    """Cuts a tower behind a layer.

    Args:
        tower: an image or audio tower.
        end: name of the last layer before the cut, see `Backbone.stage_ends`.

    Returns:
        The two parts.

    >>> inputs = keras.Input((8, 8, 3))
    >>> x = keras.layers.Conv2D(2, 3, 2, padding="same", name="first")(inputs)
    >>> x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 3)(x))
    >>> cut = cut_tower(keras.Model(inputs, x), "first")
    >>> cut.shape, cut.rest.output_shape, len(cut.rest.trainable_variables)
    ((4, 4, 2), (None, 5), 2)
    """
    frozen = frozen_part(tower, end)
    # The rows of one example: more than one in a tower that works on patches.
    rows, *shape = frozen(tf.zeros((1, *tower.input_shape[1:]))).shape
    name = f"{tower.name.removesuffix('_tower')}_rest"
    rest = keras.Model(frozen.output, tower.output, name=name)
    if rows > 1:
        # [B · patches, h, w, C] → [B, patches, h, w, C], and back
        examples = keras.ops.reshape(frozen.output, (-1, rows, *shape))
        frozen = keras.Model(tower.input, examples)
        activations = keras.Input((rows, *shape))
        flat = keras.ops.reshape(activations, (-1, *shape))
        rest = keras.Model(activations, rest(flat), name=name)
        shape = [rows, *shape]
    return TowerCut(frozen, rest, tuple(shape))


def stage_end(tower: str, model: ModelConfig) -> str:
    """The last frozen layer of a partly frozen tower that can be cut behind it.

    Args:
        tower: "image" or "audio".
        model: backbone and number of frozen stages are used.

    Returns:
        Name of the layer; "" for a tower that is trained or frozen as a whole, and
        for a backbone without `stage_ends`.

    >>> model = ModelConfig(audio_backbone="yamnet", audio_frozen_stages=3)
    >>> stage_end("audio", model), stage_end("image", model)
    ('layer12_pointwise_relu', '')
    """
    stages = getattr(model, f"{tower}_frozen_stages")
    if stages in (0, WHOLE_TOWER):
        return ""
    backbone: Backbone = tower_backbone(tower, model)
    return backbone.stage_ends[stages - 1] if backbone.stage_ends else ""
