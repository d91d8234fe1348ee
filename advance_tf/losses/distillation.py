"""Losses of distillation: soft scenes and the match of embeddings."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("advance_tf")
class SoftSceneLoss(keras.losses.Loss):
    """T² · KL(p ‖ softmax(f_s(x) / T)).

    `y_true` are the teacher's scene probabilities p at the same temperature T, float
    [B, scenes], and `y_pred` the student's scene logits, float [B, scenes]; the loss
    of an example is ≥ 0. The factor T² keeps the size of the gradient at any T.

    >>> loss = SoftSceneLoss(temperature=2.0)
    >>> loss(tf.constant([[0.5, 0.5]]), tf.constant([[3.0, 3.0]])).numpy().item()
    0.0

    Args:
        temperature: T > 0.
        name: name of the loss.
        reduction: reduction over the batch, as in Keras.

    Raises:
        ValueError: the temperature is not above 0.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network"
    (2015).
    """

    def __init__(
        self,
        temperature: float = 1.0,
        name: str = "soft_scene",
        reduction: str = "sum_over_batch_size",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if not temperature > 0:
            raise ValueError(
                f"temperature must be greater than 0; received {temperature}. Use 1 "
                "for the probabilities themselves."
            )
        self.temperature = temperature

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Computes the loss of each example, float32 [B]."""
        # float64, as in the scene loss: differences of nearly equal logarithms.
        teacher = tf.cast(y_true, tf.float64)
        logits = tf.cast(y_pred, tf.float64) / self.temperature
        log_probs = tf.nn.log_softmax(logits)  # [B, scenes]
        terms = tf.math.xlogy(teacher, teacher) - teacher * log_probs
        divergence = tf.reduce_sum(terms, axis=-1)
        return tf.cast(self.temperature**2 * divergence, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "temperature": self.temperature,
            "name": self.name,
            "reduction": self.reduction,
        }


@keras.saving.register_keras_serializable("advance_tf")
class EmbeddingMatch(keras.losses.Loss):
    """‖g(e) − ê‖² / D: a linear map g of the student's embedding to the teacher's.

    `y_true` is the teacher's standardized embedding ê and `y_pred` the map of the
    student's, both float [B, D]; the loss of an example is ≥ 0, about 1 for a
    prediction of the mean.

    >>> float(EmbeddingMatch()(tf.constant([[1.0, -1.0]]), tf.zeros([1, 2])))
    1.0

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), with a linear
    map in place of a convolution.
    """

    def __init__(
        self, name: str = "match", reduction: str = "sum_over_batch_size"
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Computes the loss of each example, float32 [B]."""
        difference = tf.cast(y_pred, tf.float32) - tf.cast(y_true, tf.float32)
        return tf.reduce_mean(tf.square(difference), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"name": self.name, "reduction": self.reduction}
