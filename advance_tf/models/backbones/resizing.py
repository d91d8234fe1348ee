"""Resizing of images inside a tower, in operations that every export format has."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def resize_matrix(
    before: int, after: int, interpolation: str = "bilinear", antialias: bool = False
) -> np.ndarray:
    """The matrix [after, before] that resizes a line of pixels.

    >>> resize_matrix(4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    lines = np.eye(before, dtype=np.float32)[:, None, :, None]  # [before, 1, before, 1]
    found = tf.image.resize(lines, (1, after), interpolation, antialias=antialias)
    return found.numpy()[:, 0, :, 0].T


@keras.saving.register_keras_serializable("advance_tf")
class Resize(layers.Layer):
    """Resizes images [B, H, W, C] to [B, height, width, C].

        y = R_h x R_wᵀ

    The matrices are those of `tf.image.resize`. LiteRT and ONNX lack its bicubic and
    antialiased operators, and `keras.layers.Resizing` sets `training` for the layers
    that follow it.

    Args:
        height: height in pixels.
        width: width in pixels.
        interpolation: such as "bilinear" or "bicubic".
        antialias: whether to filter an image that becomes smaller.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        antialias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.height, self.width = height, width
        self.interpolation, self.antialias = interpolation, antialias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Computes the matrices of the size of the images."""
        settings = (self.interpolation, self.antialias)
        _, height, width, _ = input_shape
        if height is None or width is None:
            raise ValueError(
                f"Images must have a fixed size to be resized; received {input_shape}. "
                "Set it in the input."
            )
        with tf.init_scope():
            self._rows = resize_matrix(height, self.height, *settings)
            self._columns = resize_matrix(width, self.width, *settings)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Resizes a batch."""
        rows = tf.constant(self._rows, images.dtype)
        columns = tf.constant(self._columns, images.dtype)
        # tf2onnx takes upper and lower case for one letter.
        x = tf.einsum("ph,bhwc->bpwc", rows, images)
        return tf.einsum("qw,bpwc->bpqc", columns, x)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns (B, height, width, C)."""
        return (input_shape[0], self.height, self.width, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        names = ("height", "width", "interpolation", "antialias")
        return {**super().get_config(), **{n: getattr(self, n) for n in names}}
