"""A small backbone for both towers, whose audio tower takes waveforms."""

from typing import ClassVar

import keras

from advance_tf.models.backbones.contract import Backbone, pooled_tower


class Tiny(Backbone):
    """A convolution with a batch norm and dropout."""

    towers = ("image", "audio")
    sound_input = "waveform"
    no_export: ClassVar = {"ONNX": "it is tiny"}
    has_variants = True

    def build(self, tower, model, features):
        side = features.image_size
        shape = (side, side, 3) if tower == "image" else (features.clip_samples,)
        inputs = keras.Input(shape)
        x = keras.layers.Rescaling(1 / 255)(inputs) if tower == "image" else inputs
        if tower == "audio":
            x = keras.ops.reshape(x, (-1, features.clip_samples // 80, 80, 1))
        x = keras.layers.Conv2D(4, 3, strides=4, name="conv")(x)
        x = keras.layers.BatchNormalization(name="norm")(x)
        return pooled_tower(inputs, keras.layers.Dropout(0.5)(x), tower)


class TinyStaged(Tiny):
    """Two convolutions, of which the first is stage 1 and can be frozen alone.

    The audio tower works on two patches of a clip.
    """

    stage_ends = ("first_relu",) * 4

    def build(self, tower, model, features):
        side = features.image_size
        shape = (side, side, 3) if tower == "image" else (features.clip_samples,)
        inputs = keras.Input(shape)
        x = keras.layers.Rescaling(1 / 255)(inputs) if tower == "image" else inputs
        if tower == "audio":
            x = keras.ops.reshape(x, (-1, features.clip_samples // 160, 80, 1))
        for name in ("first", "second"):
            x = keras.layers.Conv2D(6, 3, strides=4, name=name)(x)
            x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
        if tower == "audio":
            _, height, width, size = x.shape
            x = keras.ops.reshape(x, (-1, 2 * height, width, size))
        return pooled_tower(inputs, x, tower)
