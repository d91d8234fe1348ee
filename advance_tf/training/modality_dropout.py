"""The mask of inputs in training, where pairs are without their image or sound."""

import tensorflow as tf


class ModalityDropout:
    """Draws which inputs of the pairs of a batch are present.

    With the probability p a pair is without its image or its sound, each in half of
    these cases; never without both. The mask depends on the seed and the step alone,
    so that a resumed training draws those of an uninterrupted one.

    >>> mask = ModalityDropout(0.5, seed=0).draw(1000, tf.constant(0, tf.int64))
    >>> bool(tf.reduce_all(tf.reduce_sum(mask, 1) >= 1))
    True

    Args:
        probability: p in [0, 1].
        seed: seed of the masks.

    Attributes:
        seed: int64 variable, so that a compiled graph serves several seeds.
    """

    def __init__(self, probability: float, seed: int) -> None:
        self.probability = probability
        self.seed = tf.Variable(seed, dtype=tf.int64, trainable=False)

    def draw(self, batch: int | tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Draws the mask of a batch.

        Args:
            batch: number of pairs B of this replica.
            step: int64, number of the step.

        Returns:
            float32 [B, 2] of 0 and 1, image and sound.
        """
        context = tf.distribute.get_replica_context()
        replica = 0 if context is None else context.replica_id_in_sync_group
        # Steps of the replicas do not meet: a run has fewer than 2^40 steps.
        stream = tf.cast(step, tf.int64) + tf.cast(replica, tf.int64) * 2**40
        drawn = tf.random.stateless_uniform([batch], tf.stack([self.seed, stream]))
        half = self.probability / 2
        absent = tf.stack(
            [drawn < half, (drawn >= half) & (drawn < self.probability)], axis=1
        )
        return 1.0 - tf.cast(absent, tf.float32)  # [B, 2]
