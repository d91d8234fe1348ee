"""The scene loss L_s (Eq. 1)."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("advance_tf")
class SceneLoss(keras.losses.Loss):
    """L_s = KL(one-hot(t) ‖ z(f_s(x))) = −log z_t (Eq. 1).

    `y_true` is the scene t, int [B] or [B, 1], and `y_pred` the scene logits,
    float [B, scenes]; the loss of an example is ≥ 0. The entropy of a one-hot
    distribution is 0, so this is cross-entropy.

    >>> loss = SceneLoss()
    >>> round(float(loss(tf.constant([0, 1]), tf.zeros([2, 13]))), 4)
    2.5649

    Args:
        name: name of the loss.
        reduction: reduction over the batch, as in Keras.
    """

    def __init__(
        self, name: str = "scene", reduction: str = "sum_over_batch_size"
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Computes −log z_t of each example, float32 [B]."""
        # float64 resolves the log(1 + x), x ≈ 0, of a confident correct example.
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            scene_indices(y_true), tf.cast(y_pred, tf.float64)
        )
        return tf.cast(losses, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"name": self.name, "reduction": self.reduction}


def scene_indices(scene: tf.Tensor) -> tf.Tensor:
    """Converts scenes of any number type, [B] or [B, 1], to int32 [B]."""
    return tf.reshape(tf.cast(scene, tf.int32), [-1])
