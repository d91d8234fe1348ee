"""The loss of the scenes, Eq. 1."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("advance_tf")
class SceneLoss(keras.losses.Loss):
    """L_s = KL(one-hot(t) ‖ z(f_s(x))) = −log z_t (Eq. 1).

    Called with the scene t, int [B], and the scene logits, float [B, scenes];
    the value of an example is ≥ 0. The entropy of a one-hot is 0, so this is
    cross-entropy.

    Args:
        name: of the loss.
        reduction: over the batch, as in Keras.
    """

    def __init__(self, name="scene", reduction="sum_over_batch_size"):
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def call(self, y_true, y_pred):
        """−log z_t of each example, float32 [B]."""
        # float64: for a sure and right example it is log(1 + a very little).
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            scene_indices(y_true), tf.cast(y_pred, tf.float64)
        )
        return tf.cast(losses, tf.float32)

    def get_config(self):
        """The arguments that make this loss again."""
        return {"name": self.name, "reduction": self.reduction}


def scene_indices(scene: tf.Tensor) -> tf.Tensor:
    """The scene t as int32 [B], from any number type, [B] or [B, 1]."""
    return tf.reshape(tf.cast(scene, tf.int32), [-1])
