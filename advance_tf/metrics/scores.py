"""Scores of a confusion matrix, weighted by the number of samples of each scene.

Every function takes leading axes, so that a thousand resampled matrices cost
one call.
"""

from typing import NamedTuple

import numpy as np

from advance_tf import labels

WEIGHTED = ("precision", "recall", "f_score", "accuracy")


class SceneScores(NamedTuple):
    """Scores of each class by itself, arrays [..., n].

    Attributes:
        precision: in [0, 1]; 0 where the class is never predicted.
        recall: in [0, 1]; 0 where the class has no sample.
        f_score: in [0, 1]; 0 where the class is neither there nor predicted.
        support: samples of the class.
        predicted: samples that were taken for the class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f_score: np.ndarray
    support: np.ndarray
    predicted: np.ndarray


def check_classes(name: str, values: np.ndarray, classes: int) -> np.ndarray:
    """`values` as an int64 array [n] of class indices in [0, classes).

    Args:
        name: what the error calls them.
        values: class indices.
        classes: number of classes.

    Returns:
        The indices, [n] int64.

    Raises:
        ValueError: another shape, a fraction, or an index out of range.
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
            f"{name} must lie in [0, {classes}); received {values.min()} to "
            f"{values.max()}. Were they made with another list of scenes?"
        )
    return values.astype(np.int64)


def confusion_matrix(true, predicted, classes: int) -> np.ndarray:
    """Counts samples by true class (row) and predicted class (column).

    Args:
        true: class indices [n].
        predicted: class indices [n].
        classes: number of classes.

    Returns:
        Counts [classes, classes] int64.

    Raises:
        ValueError: lengths differ or an index is out of range.
    """
    true = check_classes("true", true, classes)
    predicted = check_classes("predicted", predicted, classes)
    if len(true) != len(predicted):
        raise ValueError(
            "true and predicted must be of the same samples; received "
            f"{len(true)} and {len(predicted)}."
        )
    cells = np.bincount(true * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def _ratio(numerator, denominator) -> np.ndarray:
    """numerator / denominator, 0 where the denominator is 0."""
    return np.divide(
        numerator,
        denominator,
        out=np.zeros(np.shape(numerator), np.float64),
        where=np.asarray(denominator) > 0,
    )


def scene_table(confusion) -> SceneScores:
    """Precision, recall and F of each class by itself.

    precision = tp / predicted, recall = tp / support and
    F = 2 tp / (predicted + support), each 0 where it would be 0 / 0.

    Args:
        confusion: counts [..., n, n], rows true, columns predicted.

    Returns:
        Arrays [..., n]; equal to scikit-learn's with `average=None,
        zero_division=0`.
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


def weighted_scores(confusion) -> dict[str, np.ndarray]:
    """Precision, recall and F averaged over classes by support, and accuracy.

    Args:
        confusion: counts [..., n, n], rows true, columns predicted.

    Returns:
        `precision`, `recall`, `f_score` and `accuracy`, each [...] in [0, 1]
        and a scalar for one matrix; the first three are equal to
        scikit-learn's `precision_recall_fscore_support(average="weighted",
        zero_division=0)`. Weighted recall is accuracy by definition. All are
        0 for a matrix without samples.

    Source: §4.2 of the paper reports these averages.
    """
    table = scene_table(confusion)
    total = table.support.sum(axis=-1)

    def average(score):
        return _ratio((score * table.support).sum(axis=-1), total)[()]

    return {
        "precision": average(table.precision),
        "recall": average(table.recall),
        "f_score": average(table.f_score),
        "accuracy": average(table.recall),
    }


def weighted_f(true, predicted) -> float:
    """The weighted F of predicted scenes, in [0, 1].

    Args:
        true: index of the scene of each pair, int [n].
        predicted: the same of the prediction.

    Returns:
        The score of `weighted_scores`.
    """
    matrix = confusion_matrix(true, predicted, len(labels.scenes()))
    return float(weighted_scores(matrix)["f_score"])


def majority_confusion(confusion) -> np.ndarray:
    """The confusion matrix of always answering with the most frequent class.

    Args:
        confusion: counts [n, n], rows true.

    Returns:
        Counts [n, n] int64 of the same samples, all in one column: that of the
        class with the largest support (the first of several).
    """
    support = np.asarray(confusion).sum(axis=-1)
    baseline = np.zeros((len(support), len(support)), np.int64)
    baseline[:, support.argmax()] = support
    return baseline
