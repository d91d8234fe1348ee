"""Scores of a confusion matrix, weighted by the number of samples of each scene.

The NumPy functions accept leading axes, so that a thousand resampled matrices take
one call. `ConfusionScores` computes the same scores as a Keras metric.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from advance_tf import labels

WEIGHTED = ("precision", "recall", "f_score", "accuracy")


class SceneScores(NamedTuple):
    """Scores of each class, arrays [..., n].

    Attributes:
        precision: in [0, 1]; 0 where the class is never predicted.
        recall: in [0, 1]; 0 where the class has no sample.
        f_score: in [0, 1]; 0 where the class neither occurs nor is predicted.
        support: number of samples of the class.
        predicted: number of samples predicted as the class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f_score: np.ndarray
    support: np.ndarray
    predicted: np.ndarray


def check_classes(name: str, values: ArrayLike, classes: int) -> np.ndarray:
    """Validates a vector of class indices.

    Args:
        name: parameter name used in the error.
        values: class indices, int [n].
        classes: number of classes.

    Returns:
        The indices, int64 [n] in [0, classes).

    Raises:
        ValueError: the values are not a vector of integers, or one is out of range.
    """
    values = np.asarray(values)
    if values.ndim != 1 or not (
        np.issubdtype(values.dtype, np.integer) or values.size == 0
    ):
        raise ValueError(
            f"{name} must be a vector of integer class indices; received shape "
            f"{values.shape} of {values.dtype}."
        )
    if values.size and (values.min() < 0 or values.max() >= classes):
        raise ValueError(
            f"{name} must be in [0, {classes}); received {values.min()} to "
            f"{values.max()}. Check that they refer to the same list of scenes."
        )
    return values.astype(np.int64)


def confusion_matrix(true: ArrayLike, predicted: ArrayLike, classes: int) -> np.ndarray:
    """Counts samples by true class (row) and predicted class (column).

    Args:
        true: class indices, int [n].
        predicted: class indices, int [n].
        classes: number of classes.

    Returns:
        Counts, int64 [classes, classes].

    Raises:
        ValueError: the lengths differ, or an index is out of range.

    Example:
        >>> confusion_matrix([0, 0, 1], [0, 1, 1], classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    true = check_classes("true", true, classes)
    predicted = check_classes("predicted", predicted, classes)
    if len(true) != len(predicted):
        raise ValueError(
            "true and `predicted` must have the same samples; received "
            f"{len(true)} and {len(predicted)}."
        )
    cells = np.bincount(true * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Numerator / denominator, 0 where the denominator is 0."""
    return np.divide(
        numerator,
        denominator,
        out=np.zeros(np.shape(numerator), np.float64),
        where=np.asarray(denominator) > 0,
    )


def scene_table(confusion: ArrayLike) -> SceneScores:
    """Precision, recall and F of each class.

    precision = tp / predicted, recall = tp / support and
    F = 2 tp / (predicted + support), each 0 where it would be 0 / 0.

    Args:
        confusion: counts [..., n, n], rows true, columns predicted.

    Returns:
        Arrays [..., n]; equal to scikit-learn's with `average=None,
        zero_division=0`.

    Example:
        >>> table = scene_table([[3, 1], [2, 2]])
        >>> table.precision.round(3).tolist(), table.recall.tolist()
        ([0.6, 0.667], [0.75, 0.5])
    """
    confusion = np.asarray(confusion)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support = confusion.sum(axis=-1)
    predicted = confusion.sum(axis=-2)
    return SceneScores(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f_score=_ratio(2 * hits, support + predicted),
        support=support,
        predicted=predicted,
    )


def weighted_scores(confusion: ArrayLike) -> dict[str, np.ndarray]:
    """Precision, recall and F averaged over classes by support, and accuracy.

    Args:
        confusion: counts [..., n, n], rows true, columns predicted.

    Returns:
        `precision`, `recall`, `f_score` and `accuracy`, each [...] in [0, 1], a
        scalar for a single matrix. The first three are equal to scikit-learn's
        `precision_recall_fscore_support(average="weighted", zero_division=0)`.
        Weighted recall is accuracy by definition. All are 0 for a matrix without
        samples.

    Source: §4.2 of the paper reports these averages.

    Example:
        >>> scores = weighted_scores([[3, 1], [2, 2]])
        >>> {name: round(float(score), 3) for name, score in scores.items()}
        {'precision': 0.633, 'recall': 0.625, 'f_score': 0.619, 'accuracy': 0.625}
    """
    table = scene_table(confusion)
    total = table.support.sum(axis=-1)

    def average(score: np.ndarray) -> np.ndarray:
        return _ratio((score * table.support).sum(axis=-1), total)[()]

    return {
        "precision": average(table.precision),
        "recall": average(table.recall),
        "f_score": average(table.f_score),
        "accuracy": average(table.recall),
    }


def weighted_f(true: ArrayLike, predicted: ArrayLike) -> float:
    """Weighted F of predicted scenes.

    Args:
        true: scene index of each pair, int [n].
        predicted: predicted scene index of each pair, int [n].

    Returns:
        The `f_score` of `weighted_scores`, in [0, 1].

    Example:
        >>> weighted_f([0, 0, 12], [0, 0, 12])
        1.0
    """
    matrix = confusion_matrix(true, predicted, len(labels.scenes()))
    return float(weighted_scores(matrix)["f_score"])


def scene_scores(true: ArrayLike, logits: ArrayLike) -> dict[str, float]:
    """Weighted precision, recall and F of the scenes of the largest logits.

    Args:
        true: scene indices, int [n].
        logits: or probabilities, float [n, scenes].

    Returns:
        "precision", "recall" and "f_score" → value in [0, 1].

    >>> scene_scores([0, 1], [[2.0, 1.0], [3.0, 0.0]])["recall"]
    0.5
    """
    rows = np.asarray(logits)
    confusion = confusion_matrix(true, rows.argmax(1), rows.shape[1])
    scores = weighted_scores(confusion)
    return {name: float(scores[name]) for name in ("precision", "recall", "f_score")}


def majority_confusion(confusion: ArrayLike) -> np.ndarray:
    """Confusion matrix of always predicting the most frequent class.

    Args:
        confusion: counts [n, n], rows true.

    Returns:
        Counts of the same samples, int64 [n, n], all in the column of the class
        with the largest support (the first of several).

    Example:
        >>> majority_confusion([[3, 1], [2, 0]]).tolist()
        [[4, 0], [2, 0]]
    """
    support = np.asarray(confusion).sum(axis=-1)
    baseline = np.zeros((len(support), len(support)), np.int64)
    baseline[:, support.argmax()] = support
    return baseline


@keras.saving.register_keras_serializable("advance_tf")
class ConfusionScores(keras.metrics.Metric):
    """Weighted precision, recall, F and accuracy over all batches.

    The state is one confusion matrix. The result is therefore that of all samples
    together, not a mean over batches, and sums over replicas are exact.

    A sample with a non-finite logit or a scene out of range has no prediction:
    argmax of NaN returns an arbitrary scene. One such sample makes all four scores
    NaN until the state is reset. This also holds inside a compiled step and on a GPU,
    where an assertion would be dropped or abort the step.

    Args:
        classes: number of scenes; 13 by default.
        name: name of the metric.
        dtype: dtype of the results.

    Example:
        >>> metric = ConfusionScores(classes=2)
        >>> metric.update_state([0, 1], [[2.0, -1.0], [0.5, 0.1]])
        >>> float(metric.result()["accuracy"])
        0.5
    """

    def __init__(
        self,
        classes: int | None = None,
        name: str = "scores",
        dtype: str = "float32",
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.classes = classes or len(labels.scenes())
        # float32 counts exactly up to 16,777,216 samples and runs on every device.
        self.confusion = self.add_variable(
            (self.classes**2,), "zeros", dtype="float32", name="confusion"
        )
        self.invalid = self.add_variable((), "zeros", dtype="float32", name="invalid")

    def update_state(
        self,
        y_true: tf.Tensor | ArrayLike,
        y_pred: tf.Tensor | ArrayLike,
        sample_weight: tf.Tensor | ArrayLike | None = None,
    ) -> None:
        """Counts a batch.

        Args:
            y_true: scenes, int [B] or [B, 1].
            y_pred: scene logits or probabilities, float [B, classes].
            sample_weight: weights, float [B]; None for 1 each.
        """
        scene = tf.reshape(tf.cast(y_true, tf.int32), [-1])  # [B]
        logits = tf.convert_to_tensor(y_pred)  # [B, classes]
        valid = tf.reduce_all(tf.math.is_finite(logits), axis=-1)  # [B]
        valid &= (scene >= 0) & (scene < self.classes)
        weight = tf.ones_like(scene, tf.float32)
        if sample_weight is not None:
            weight *= tf.reshape(tf.cast(sample_weight, tf.float32), [-1])
        predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
        # Flat index into the matrix, [B]; invalid samples add 0 to cell 0.
        cell = tf.where(valid, scene * self.classes + predicted, 0)
        counted = tf.where(valid, weight, 0.0)
        self.confusion.assign_add(
            tf.math.unsorted_segment_sum(counted, cell, self.classes**2)
        )
        self.invalid.assign_add(tf.reduce_sum(tf.cast(~valid, tf.float32)))

    def result(self) -> dict[str, tf.Tensor]:
        """Scores of all samples since the last reset.

        Returns:
            `precision`, `recall`, `f_score` and `accuracy`, scalars in [0, 1]. All
            are 0 before the first sample and NaN after an invalid one. Equal to
            `weighted_scores` of the same samples.
        """
        shape = (self.classes, self.classes)
        confusion = tf.reshape(tf.convert_to_tensor(self.confusion), shape)
        hits = tf.linalg.diag_part(confusion)  # [classes]
        support = tf.reduce_sum(confusion, axis=1)
        predicted = tf.reduce_sum(confusion, axis=0)
        total = tf.reduce_sum(support)
        invalid = tf.convert_to_tensor(self.invalid) > 0

        def average(numerator: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
            score = tf.math.divide_no_nan(numerator, denominator)
            mean = tf.math.divide_no_nan(tf.reduce_sum(score * support), total)
            return tf.cast(tf.where(invalid, float("nan"), mean), self.dtype)

        return {
            "precision": average(hits, predicted),
            "recall": average(hits, support),
            "f_score": average(2.0 * hits, support + predicted),
            "accuracy": average(hits, support),
        }

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialization."""
        return {"classes": self.classes, "name": self.name, "dtype": self.dtype}
