"""Parts of pretrained towers that a small data set must not change."""

import re

import keras

from advance_tf.config import ModelConfig
from advance_tf.models.batch_norm import BatchNorm

_STAGE = re.compile(r"layer(\d)_")


def stage_of(layer: str) -> int:
    """The stage of a tower's layer: 1 for the first convolution, 2 to 5 for blocks.

    Args:
        layer: its name, as `build_resnet` gives it.

    Returns:
        1 to 5.
    """
    found = _STAGE.match(layer)
    return int(found[1]) + 1 if found else 1


def freeze(recognizer: keras.Model, model: ModelConfig) -> None:
    """Freezes what a configuration says; call it before the optimizer is built.

    A frozen batch norm computes with its stored statistics in training too.

    Args:
        recognizer: of `build_recognizer`.
        model: image_frozen_stages, audio_frozen_stages and freeze_batch_norm
            are read.
    """
    frozen = {"image": model.image_frozen_stages, "audio": model.audio_frozen_stages}
    for tower, stages in frozen.items():
        for layer in recognizer.get_layer(f"{tower}_tower").layers:
            norm = isinstance(layer, BatchNorm) and model.freeze_batch_norm
            if norm or stage_of(layer.name) <= stages:
                layer.trainable = False
