"""Event posteriors p(e|s_k) and event relevance vectors d_k of the scenes."""

from collections.abc import Sequence

import numpy as np

from advance_tf import labels
from advance_tf.config import RELEVANCE_MODES


def check_mode(mode: str) -> None:
    """Validates the mode of the relevance vectors.

    Args:
        mode: "gram" or "centered_pca".

    Raises:
        ValueError: the mode is unknown.
    """
    if mode not in RELEVANCE_MODES:
        raise ValueError(
            f"relevance must be one of {', '.join(RELEVANCE_MODES)}; received {mode!r}."
        )


def rows_by_scene(
    soft_labels: np.ndarray, scene_indices: np.ndarray, scenes: Sequence[str]
) -> list[np.ndarray]:
    """Groups soft labels by scene: P(e|s_k), the rows of the samples of scene s_k.

    Args:
        soft_labels: y(a), float [n, events] in [0, 1], of training pairs only.
        scene_indices: scene of each row, int [n].
        scenes: names of all scenes.

    Returns:
        One array [n_k, events] for each scene, none empty.

    Raises:
        ValueError: a scene has no sample.
    """
    scene_indices = np.asarray(scene_indices)
    groups = [soft_labels[scene_indices == index] for index in range(len(scenes))]
    missing = [name for name, rows in zip(scenes, groups, strict=True) if not len(rows)]
    if missing:
        raise ValueError(
            "Every scene must have a training pair to compute its posteriors from; "
            f"received none for {', '.join(missing)}. Add pairs or change the split "
            "(`train_fraction`, `split_seed`)."
        )
    return groups


def event_posteriors(
    soft_labels: np.ndarray, scene_indices: np.ndarray, scenes: Sequence[str]
) -> np.ndarray:
    """Event posteriors p(e|s_k) = (1/n_k) Σ y(a), the mean over the n_k samples of s_k.

    Args:
        soft_labels: y(a), float [n, events] in [0, 1], of training pairs only.
        scene_indices: scene of each row, int [n].
        scenes: names of all scenes.

    Returns:
        float64 [scenes, events] in [0, 1].

    Raises:
        ValueError: a scene has no sample.

    Source: §4 of the paper. The authors' code uses a separate random 70 % of all
    pairs instead of the training pairs, which leaks test sites.

    Example:
        >>> soft_labels = np.array([[0.5, 0.0], [1.0, 0.5], [0.25, 1.0]])
        >>> event_posteriors(soft_labels, [0, 0, 1], ["beach", "forest"]).tolist()
        [[0.75, 0.25], [0.25, 1.0]]
    """
    soft_labels = np.asarray(soft_labels, np.float64)
    return np.stack(
        [
            rows.mean(axis=0)
            for rows in rows_by_scene(soft_labels, scene_indices, scenes)
        ]
    )


def gram_direction(rows: np.ndarray) -> np.ndarray:
    """Relevance d_k: eigenvector of the largest eigenvalue of PᵀP, with positive sum.

    It is the first right singular vector of P. All entries of P are positive, so that
    with a positive sum no entry of d_k is negative.

    Args:
        rows: P(e|s_k), float [n_k, events] in [0, 1], not all zero.

    Returns:
        float64 [events] of unit length, ≥ 0 up to rounding.

    Source: §4 of the paper.

    Example:
        >>> gram_direction(np.array([[0.3, 0.4], [0.6, 0.8]])).round(6).tolist()
        [0.6, 0.8]
    """
    rows = np.asarray(rows, np.float64)
    direction = np.linalg.svd(rows, full_matrices=False)[2][0]  # [events]
    return direction if direction.sum() > 0 else -direction


def centered_pca_direction(rows: np.ndarray) -> np.ndarray:
    """Relevance of the authors' code: first principal component of the centred rows.

    The sign of a principal component is arbitrary, also in the authors' file, where
    the largest entry of four of 13 scenes is negative. It is fixed here as in the
    scikit-learn of their time: the row with the largest absolute coordinate along the
    component has a positive one.

    Args:
        rows: P(e|s_k), float [n_k, events] in [0, 1].

    Returns:
        float64 [events] of unit length; NaN where all rows are equal and no such
        component exists.

    Example:
        >>> centered_pca_direction(np.array([[0.0, 0.5], [0.0, 0.5], [0.9, 0.5]]))
        array([1., 0.])
    """
    rows = np.asarray(rows, np.float64)
    centred = rows - rows.mean(axis=0)
    if not np.ptp(rows, axis=0).any():
        return np.full(rows.shape[1], np.nan)
    coordinates, _, components = np.linalg.svd(centred, full_matrices=False)
    furthest = np.abs(coordinates[:, 0]).argmax()
    return components[0] * np.sign(coordinates[furthest, 0])


def event_relevance(
    soft_labels: np.ndarray,
    scene_indices: np.ndarray,
    scenes: Sequence[str],
    mode: str = "gram",
) -> np.ndarray:
    """Relevance vectors d_k of all scenes (Eq. 9).

    Args:
        soft_labels: y(a), float [n, events] in [0, 1], of training pairs only.
        scene_indices: scene of each row, int [n].
        scenes: names of all scenes.
        mode: "gram" (see `gram_direction`) or "centered_pca" (see
            `centered_pca_direction`).

    Returns:
        float64 [scenes, events], rows of unit length, or NaN where
        `centered_pca_direction` is undefined.

    Raises:
        ValueError: the mode is unknown, or a scene has no sample.
    """
    check_mode(mode)
    direction = gram_direction if mode == "gram" else centered_pca_direction
    groups = rows_by_scene(soft_labels, scene_indices, scenes)
    return np.stack([direction(rows) for rows in groups])


def summarize_posteriors(posteriors: np.ndarray, top: int = 4) -> str:
    """Lists the most characteristic events of each scene of ADVANCE.

    Args:
        posteriors: p(e|s_k), float [13, 527].
        top: number of events for each scene.

    Returns:
        One line for each scene: the events whose posterior exceeds its mean over the
        scenes most, with that posterior.

    Example:
        >>> posteriors = np.full((13, 527), 0.25)
        >>> posteriors[0, 0] = 0.75
        >>> summarize_posteriors(posteriors, top=1).splitlines()[0]
        'airport:           Speech 0.750'
    """
    events = labels.events()
    excess = posteriors - posteriors.mean(axis=0)
    lines = []
    for index, scene in enumerate(labels.scenes()):
        entries = [
            f"{events[event].name} {posteriors[index, event]:.3f}"
            for event in np.argsort(-excess[index], kind="stable")[:top]
        ]
        lines.append(f"{scene + ':':19}{'; '.join(entries)}")
    return "\n".join(lines)
