"""Event posteriors p(e|s_k) and event relevance vectors d_k of the scenes."""

from collections.abc import Iterator, Sequence

import numpy as np

from advance_tf import labels
from advance_tf.config import RELEVANCE_MODES
from advance_tf.data.rows import BLOCK_ROWS, Rows, blocks, select_rows


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
    soft_labels: Rows, scene_indices: np.ndarray, scenes: Sequence[str]
) -> list[Rows]:
    """Groups soft labels by scene: P(e|s_k), the rows of the samples of scene s_k.

    A scene without samples, as in data of a region that lacks it, gets the rows of all
    scenes: its posteriors p(e|s_k) = p(e) distinguish it by no event.

    Args:
        soft_labels: y(a), float [n, events] in [0, 1], of training pairs only.
        scene_indices: scene of each row, int [n].
        scenes: names of all scenes.

    Returns:
        Rows [n_k, events] for each scene, none empty; they are read when needed.

    Raises:
        ValueError: there is no sample.
    """
    if not len(soft_labels):
        raise ValueError(
            "There must be a training pair to compute posteriors from; received none. "
            "Add pairs or change the split (`train_fraction`, `split_seed`)."
        )
    scene_indices = np.asarray(scene_indices)
    groups: list[Rows] = [
        select_rows(soft_labels, np.flatnonzero(scene_indices == index))
        for index in range(len(scenes))
    ]
    return [rows if len(rows) else soft_labels for rows in groups]


def event_posteriors(
    soft_labels: Rows, scene_indices: np.ndarray, scenes: Sequence[str]
) -> np.ndarray:
    """Event posteriors p(e|s_k) = (1/n_k) Σ y(a), the mean over the n_k samples of s_k.

    Args:
        soft_labels: y(a), float [n, events] in [0, 1], of training pairs only.
        scene_indices: scene of each row, int [n].
        scenes: names of all scenes.

    Returns:
        float64 [scenes, events] in [0, 1].

    Raises:
        ValueError: there is no sample.

    Source: §4 of the paper. The authors' code uses a separate random 70 % of all
    pairs instead of the training pairs, which leaks test sites.

    Example:
        >>> soft_labels = np.array([[0.5, 0.0], [1.0, 0.5], [0.25, 1.0]])
        >>> event_posteriors(soft_labels, [0, 0, 1], ["beach", "forest"]).tolist()
        [[0.75, 0.25], [0.25, 1.0]]
    """
    groups = rows_by_scene(soft_labels, scene_indices, scenes)
    return np.stack([_mean(rows) for rows in groups])


def _float_blocks(rows: Rows) -> Iterator[np.ndarray]:
    """Blocks of rows as float64, so that few rows are in memory."""
    for block in blocks(rows, BLOCK_ROWS):
        yield np.asarray(block, np.float64)


def _mean(rows: Rows) -> np.ndarray:
    """Mean of rows [n, events], float64 [events]."""
    total = sum(block.sum(axis=0) for block in _float_blocks(rows))
    return np.asarray(total / len(rows))


def _principal_direction(rows: Rows, offset: np.ndarray | float = 0.0) -> np.ndarray:
    """The eigenvector of the largest eigenvalue of PᵀP, P the rows minus an offset.

    It is the first right singular vector of P. Of many rows, PᵀP is summed over blocks,
    so that the memory does not grow with them; its first eigenvector is as exact as
    that singular vector.

    Args:
        rows: float [n, events].
        offset: subtracted from each row.

    Returns:
        float64 [events] of unit length and arbitrary sign.
    """
    if len(rows) <= rows.shape[1]:
        centred = np.asarray(rows, np.float64) - offset
        return np.asarray(np.linalg.svd(centred, full_matrices=False).Vh[0])
    gram = np.zeros((rows.shape[1], rows.shape[1]))
    for block in _float_blocks(rows):
        shifted = block - offset
        gram += shifted.T @ shifted
    # The eigenvalues are in ascending order.
    return np.asarray(np.linalg.eigh(gram).eigenvectors[:, -1])


def gram_direction(rows: Rows) -> np.ndarray:
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
    direction = _principal_direction(rows)  # [events]
    return direction if direction.sum() > 0 else -direction


def centered_pca_direction(rows: Rows) -> np.ndarray:
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
    first = np.asarray(rows[0], np.float64)
    if not any((block != first).any() for block in _float_blocks(rows)):
        return np.full(rows.shape[1], np.nan)
    mean = _mean(rows)
    component = _principal_direction(rows, mean)
    furthest = 0.0
    for block in _float_blocks(rows):
        coordinates = (block - mean) @ component
        candidate = float(coordinates[np.abs(coordinates).argmax()])
        furthest = candidate if abs(candidate) > abs(furthest) else furthest
    return component * np.sign(furthest)


def event_relevance(
    soft_labels: Rows,
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
        ValueError: the mode is unknown, or there is no sample.
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
