"""The weighted scores as a Keras metric, for training and validation."""

import keras
import tensorflow as tf

from advance_tf import labels


@keras.saving.register_keras_serializable("advance_tf")
class ConfusionScores(keras.metrics.Metric):
    """Weighted precision, recall, F and accuracy of all batches seen.

    The state is one confusion matrix, so that the result is that of all
    samples together, not a mean over batches, and sums over replicas are exact.

    A sample with a logit that is not finite, or with a scene out of range, has
    no prediction: argmax of NaN would quietly be some scene. One such sample
    makes all four scores NaN until the state is reset. This also holds inside
    a compiled step and on a GPU, where an assertion would be dropped or ruin
    the step.

    Args:
        classes: number of scenes; 13 by default.
        name: of the metric.
        dtype: of the results.
    """

    def __init__(self, classes: int | None = None, name="scores", dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self.classes = classes or len(labels.scenes())
        # float32 counts exactly to 16,777,216 samples and runs on every device.
        self.confusion = self.add_variable(
            (self.classes**2,), "zeros", dtype="float32", name="confusion"
        )
        self.invalid = self.add_variable((), "zeros", dtype="float32", name="invalid")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts a batch.

        Args:
            y_true: scenes [B] or [B, 1], int.
            y_pred: scene logits or probabilities [B, classes], float.
            sample_weight: [B], or None for 1 each.
        """
        scene = tf.reshape(tf.cast(y_true, tf.int32), [-1])
        logits = tf.convert_to_tensor(y_pred)
        valid = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
        valid &= (scene >= 0) & (scene < self.classes)
        weight = tf.ones_like(scene, tf.float32)
        if sample_weight is not None:
            weight *= tf.reshape(tf.cast(sample_weight, tf.float32), [-1])
        predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
        cell = tf.where(valid, scene * self.classes + predicted, 0)
        counted = tf.where(valid, weight, 0.0)
        self.confusion.assign_add(
            tf.math.unsorted_segment_sum(counted, cell, self.classes**2)
        )
        self.invalid.assign_add(tf.reduce_sum(tf.cast(~valid, tf.float32)))

    def result(self):
        """`precision`, `recall`, `f_score` and `accuracy`: scalars in [0, 1].

        All are 0 before the first sample, NaN after an invalid one. Equal to
        `metrics.scores.weighted_scores` of the same samples.
        """
        shape = (self.classes, self.classes)
        confusion = tf.reshape(tf.convert_to_tensor(self.confusion), shape)
        hits = tf.linalg.diag_part(confusion)
        support = tf.reduce_sum(confusion, axis=1)
        predicted = tf.reduce_sum(confusion, axis=0)
        total = tf.reduce_sum(support)
        invalid = tf.convert_to_tensor(self.invalid) > 0

        def average(numerator, denominator):
            score = tf.math.divide_no_nan(numerator, denominator)
            mean = tf.math.divide_no_nan(tf.reduce_sum(score * support), total)
            return tf.cast(tf.where(invalid, float("nan"), mean), self.dtype)

        return {
            "precision": average(hits, predicted),
            "recall": average(hits, support),
            "f_score": average(2.0 * hits, support + predicted),
            "accuracy": average(hits, support),
        }

    def get_config(self):
        """The arguments that make this metric again."""
        return {"classes": self.classes, "name": self.name, "dtype": self.dtype}
