"""The scene loss L_s (Eq. 1)."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf


@keras.saving.register_keras_serializable("advance_tf")
class SceneLoss(keras.losses.Loss):
    """L_s = KL(one-hot(t) ‖ z(f_s(x))) = −log z_t (Eq. 1).

    `y_true` is the scene t, int [B] or [B, 1], and `y_pred` the scene logits,
    float [B, scenes]; the loss of an example is ≥ 0. The entropy of a one-hot
    distribution is 0, so this is cross-entropy. With label smoothing s and class
    weights w the loss of an example is

        w_t · −Σ_k ((1 − s) [k = t] + s / scenes) log z_k

    >>> loss = SceneLoss()
    >>> round(float(loss(tf.constant([0, 1]), tf.zeros([2, 13]))), 4)
    2.5649

    Args:
        label_smoothing: s in [0, 1); 0 in the paper.
        class_weights: w, float [scenes] ≥ 0; None for 1. The loss of a batch is the
            mean of the weighted losses, as with the class weights of Keras.
        name: name of the loss.
        reduction: reduction over the batch, as in Keras.

    Raises:
        ValueError: the smoothing is outside [0, 1).
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: npt.ArrayLike | None = None,
        name: str = "scene",
        reduction: str = "sum_over_batch_size",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                "label_smoothing must be at least 0 and less than 1; received "
                f"{label_smoothing}. Use 0 for the loss of the paper."
            )
        self.label_smoothing = label_smoothing
        self.class_weights = (
            None if class_weights is None else np.asarray(class_weights, np.float64)
        )

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Computes the loss of each example, float32 [B]."""
        scenes = scene_indices(y_true)
        # float64 resolves the log(1 + x), x ≈ 0, of a confident correct example.
        logits = tf.cast(y_pred, tf.float64)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(scenes, logits)
        if self.label_smoothing:
            # [B], the mean of −log z_k over the scenes
            spread = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
            losses += self.label_smoothing * (spread - losses)
        if self.class_weights is not None:
            losses *= tf.gather(tf.constant(self.class_weights), scenes)
        return tf.cast(losses, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        weights = self.class_weights
        return {
            "label_smoothing": self.label_smoothing,
            "class_weights": None if weights is None else weights.tolist(),
            "name": self.name,
            "reduction": self.reduction,
        }


def scene_indices(scene: tf.Tensor) -> tf.Tensor:
    """Converts scenes of any number type, [B] or [B, 1], to int32 [B]."""
    return tf.reshape(tf.cast(scene, tf.int32), [-1])
