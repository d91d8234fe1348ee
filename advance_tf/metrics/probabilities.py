"""Probabilities from logits, and validation of arrays of probabilities."""

import numpy as np
from numpy.typing import ArrayLike

# Rounding of float32 softmax outputs stays far below both tolerances.
_ABOVE_ONE = 1e-6
_SUM_TOLERANCE = 1e-3


def softmax(logits: ArrayLike) -> np.ndarray:
    """Scene probabilities z of logits, over the last axis.

    Args:
        logits: float [..., n].

    Returns:
        float32 [..., n] in [0, 1], computed in float64; sums to 1.

    Example:
        >>> softmax([0.0, 0.0, -1000.0]).tolist()
        [0.5, 0.5, 0.0]
    """
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def sigmoid(logits: ArrayLike) -> np.ndarray:
    """Event probabilities σ of logits.

    Args:
        logits: float [...].

    Returns:
        float32 [...] in [0, 1], computed in float64 without overflow.

    Example:
        >>> sigmoid([-1000.0, 0.0, 1000.0]).tolist()
        [0.0, 0.5, 1.0]
    """
    logits = np.asarray(logits, np.float64)
    return (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)


def check_probs(name: str, probs: ArrayLike, samples: int, columns: int) -> np.ndarray:
    """Validates probabilities that need not sum to 1.

    Args:
        name: parameter name used in the error.
        probs: [samples, columns].
        samples: expected number of rows.
        columns: expected number of columns.

    Returns:
        float32 [samples, columns] in [0, 1].

    Raises:
        ValueError: there is no sample, the shape differs, or a value is outside
            [0, 1] or NaN.
    """
    probs = np.asarray(probs, np.float32)
    if not samples or probs.shape != (samples, columns):
        raise ValueError(
            f"{name} must be [samples, {columns}] for the {samples} stems, at least "
            f"one; received {probs.shape}."
        )
    wrong = ~((probs >= 0) & (probs <= 1 + _ABOVE_ONE))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{name} must be probabilities; received {probs[row, column]} in row "
            f"{row}, {int(wrong.any(axis=1).sum())} rows in total. Check whether the "
            "training diverged."
        )
    return probs


def check_distributions(name: str, probs: ArrayLike) -> np.ndarray:
    """Validates rows of probabilities that sum to 1.

    Args:
        name: parameter name used in the error.
        probs: [n, classes].

    Returns:
        float64 [n, classes].

    Raises:
        ValueError: there is no sample, or a row is negative, NaN or does not sum
            to 1.
    """
    probs = np.asarray(probs, np.float64)
    if probs.ndim != 2 or not probs.size:
        raise ValueError(
            f"{name} must be [samples, classes] with at least one sample; received "
            f"shape {probs.shape}."
        )
    deviation = np.abs(probs.sum(axis=1) - 1)
    wrong = ~((probs >= 0).all(axis=1) & (deviation <= _SUM_TOLERANCE))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name} must have rows of probabilities that sum to 1; received a sum of "
            f"{probs[row].sum():.4g} and a minimum of {probs[row].min():.4g} in row "
            f"{row}, {int(wrong.sum())} such rows in total. Pass probabilities, not "
            "logits."
        )
    return probs
