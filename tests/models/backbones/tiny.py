"""A small backbone for both towers, whose audio tower takes waveforms."""

from typing import ClassVar

import keras

from advance_tf.models.backbones.contract import Backbone, pooled_tower


class Tiny(Backbone):
    """A convolution with a batch norm and dropout."""

    towers = ("image", "audio")
    sound_input = "waveform"
    no_export: ClassVar = {"ONNX": "it is tiny"}

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
