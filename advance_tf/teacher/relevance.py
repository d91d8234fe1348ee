"""Event relevance d_k: the direction that the soft labels of a scene share."""

from collections.abc import Sequence

import numpy as np

from advance_tf.teacher.posteriors import rows_by_scene

MODES = ("gram", "centered_pca")


def gram_direction(rows: np.ndarray) -> np.ndarray:
    """d_k: the eigenvector of the largest eigenvalue of PᵀP, summing above 0.

    It is the first right singular vector of P. All entries of P are positive, so
    that with a positive sum none of d_k is negative.

    Args:
        rows: P(e|s_k), float [n_k, events] in [0, 1], not all zero.

    Returns:
        float64 [events] of length 1, ≥ 0 up to rounding.

    Source: §4 of the paper.
    """
    rows = np.asarray(rows, np.float64)
    direction = np.linalg.svd(rows, full_matrices=False)[2][0]
    return direction if direction.sum() > 0 else -direction


def centered_pca_direction(rows: np.ndarray) -> np.ndarray:
    """The first principal component of the rows, centred: the authors' code.

    Its sign is arbitrary, and so it is in the authors' file: there the largest
    entry of four of 13 scenes is negative. It is fixed as the scikit-learn of
    their time did, the row that lies furthest along the component having a
    positive coordinate.

    Args:
        rows: P(e|s_k), float [n_k, events] in [0, 1].

    Returns:
        float64 [events] of length 1; NaN when the rows are all alike and have no
        such component.
    """
    rows = np.asarray(rows, np.float64)
    centred = rows - rows.mean(axis=0)
    if not np.ptp(rows, axis=0).any():
        return np.full(rows.shape[1], np.nan)
    along, _, components = np.linalg.svd(centred, full_matrices=False)
    furthest = np.abs(along[:, 0]).argmax()
    return components[0] * np.sign(along[furthest, 0])


def event_relevance(
    soft_labels: np.ndarray,
    scene_indices: np.ndarray,
    scenes: Sequence[str],
    mode: str = "gram",
) -> np.ndarray:
    """d_k of every scene.

    Args:
        soft_labels: y(a), float [n, events] in [0, 1], of training pairs only.
        scene_indices: int [n], the scene of each row.
        scenes: the names of all scenes.
        mode: "gram" (see `gram_direction`) or "centered_pca" (see
            `centered_pca_direction`).

    Returns:
        float64 [scenes, events], rows of length 1, or NaN where
        `centered_pca_direction` has none.

    Raises:
        ValueError: the mode is unknown, or a scene has no sample.
    """
    check_mode(mode)
    direction = gram_direction if mode == "gram" else centered_pca_direction
    rows = rows_by_scene(soft_labels, scene_indices, scenes)
    return np.stack([direction(own) for own in rows])


def check_mode(mode: str) -> None:
    """Raises ValueError when `mode` is not one of `MODES`."""
    if mode not in MODES:
        raise ValueError(
            f"--relevance must be one of {', '.join(MODES)}; received {mode!r}."
        )
