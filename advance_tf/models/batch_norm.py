"""Batch normalization as PyTorch computes it: fused, and over all replicas."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("advance_tf")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization over the global batch.

        y = γ (x − μ) / sqrt(σ² + ε) + β
        moving ← 0.9 moving + 0.1 batch, with the batch variance n/(n−1) σ²

    Keras' own layer has three differences that matter here: it computes each
    replica's statistics alone unless told otherwise, so that two replicas make
    another step than one; it never takes TensorFlow's fused kernel; and it
    stores the biased variance where PyTorch, and so the released weights, store
    the unbiased one.

    Args:
        name: of the layer.
        **kwargs: of `keras.layers.BatchNormalization`; momentum 0.9 and epsilon
            1e-5 by default.
    """

    def __init__(self, name=None, **kwargs):
        super().__init__(name=name, **{"momentum": 0.9, "epsilon": 1e-5, **kwargs})

    def call(self, inputs, training=None, mask=None):
        """Normalizes [B, H, W, C]; the output has the shape and type of it."""
        learning = bool(training) and self.trainable
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        # The fused kernel knows neither several replicas nor float64.
        if inputs.dtype == tf.float64 or (learning and replicas > 1):
            return self._composed(inputs, learning)
        output, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.cast(self.gamma, tf.float32),
            tf.cast(self.beta, tf.float32),
            mean=None if learning else tf.convert_to_tensor(self.moving_mean),
            variance=None if learning else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            # The fused kernel returns the unbiased variance.
            self._move(mean, variance)
        return output

    def _composed(self, inputs, learning: bool):
        kind = tf.float64 if inputs.dtype == tf.float64 else tf.float32
        wide = tf.cast(inputs, kind)
        mean, variance = self.moving_mean, self.moving_variance
        if learning:
            mean, variance = self._global_moments(wide)
        weights = (mean, variance, self.beta, self.gamma)
        output = tf.nn.batch_normalization(
            wide, *(tf.cast(weight, kind) for weight in weights), self.epsilon
        )
        return tf.cast(output, inputs.dtype)

    def _global_moments(self, wide):
        axes = list(range(len(wide.shape) - 1))
        count = tf.cast(tf.size(wide) // wide.shape[-1], wide.dtype)
        context = tf.distribute.get_replica_context()
        total, sums = context.all_reduce(
            tf.distribute.ReduceOp.SUM, [count, tf.reduce_sum(wide, axes)]
        )
        mean = sums / total
        # A second pass instead of E[x²] − μ², which cancels in float32.
        squares = context.all_reduce(
            tf.distribute.ReduceOp.SUM, tf.reduce_sum(tf.square(wide - mean), axes)
        )
        self._move(mean, squares / tf.maximum(total - 1.0, 1.0))
        return mean, squares / total

    def _move(self, mean, variance):
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            old = tf.convert_to_tensor(moving)
            moving.assign(old * self.momentum + batch * (1.0 - self.momentum))
