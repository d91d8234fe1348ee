"""Event relevance d_k: the direction that the soft labels of a scene share."""

from collections.abc import Sequence

import numpy as np

MODES = ("gram", "centered_pca")


def _first_direction(rows: np.ndarray) -> np.ndarray:
    """The first right singular vector: the eigenvector of rowsᵀ rows."""
    return np.linalg.svd(rows, full_matrices=False)[2][0]


def scene_relevance(rows: np.ndarray, mode: str = "gram") -> np.ndarray:
    """d_k of one scene from its soft labels P(e|s_k).

    gram: the eigenvector of the largest eigenvalue of PᵀP (the paper), with the
    sign that makes its sum positive; all entries of P are positive, so that d_k
    is then non-negative. centered_pca: the first component of the centred rows
    (the authors' code), whose sign is arbitrary there and is made positive by
    its largest entry here, to be repeatable.

    Args:
        rows: P(e|s_k), [n_k, events] in [0, 1].
        mode: "gram" or "centered_pca".

    Returns:
        float64 [events] of length 1.

    Raises:
        ValueError: the mode is unknown, or the rows have no direction (all
            zero; or alike, when centred).
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; received {mode!r}.")
    rows = np.asarray(rows, np.float64)
    if mode == "centered_pca":
        rows = rows - rows.mean(0)
    if not np.abs(rows).max(initial=0.0) > 0:
        raise ValueError(
            f"The soft labels of a scene must have a direction; {len(rows)} rows are "
            "all zero or, for centered_pca, all alike. Add pairs of the scene or use "
            "--relevance=gram."
        )
    direction = _first_direction(rows)
    deciding = (
        direction.sum() if mode == "gram" else direction[np.abs(direction).argmax()]
    )
    return -direction if deciding < 0 else direction


def event_relevance(
    soft_labels: np.ndarray, scenes: Sequence[int], count: int, mode: str = "gram"
) -> np.ndarray:
    """d_k of every scene (see `scene_relevance`).

    Args:
        soft_labels: [n, events] in [0, 1], of training pairs only.
        scenes: the scene of each row, in 0..count − 1.
        count: number of scenes.
        mode: "gram" or "centered_pca".

    Returns:
        float64 [count, events], rows of length 1. Under centered_pca a scene
        whose rows are all alike has no direction; its row is NaN, and is
        refused when it is used.
    """
    scenes = np.asarray(scenes)
    found = []
    for scene in range(count):
        rows = np.asarray(soft_labels, np.float64)[scenes == scene]
        alike = mode == "centered_pca" and not np.ptp(rows, axis=0).any()
        found.append(
            np.full(rows.shape[1], np.nan) if alike else scene_relevance(rows, mode)
        )
    return np.stack(found)
