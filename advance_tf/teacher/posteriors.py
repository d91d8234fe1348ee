"""Event posteriors p(e|s): what the teacher hears in each scene."""

from collections.abc import Sequence

import numpy as np


def event_posteriors(
    soft_labels: np.ndarray, scene_indices: np.ndarray, scenes: Sequence[str]
) -> np.ndarray:
    """p(e|s_k) = (1/n_k) Σ y(a), the mean over the n_k samples of scene s_k.

    Args:
        soft_labels: y(a), float [n, events] in [0, 1], of training pairs only.
        scene_indices: int [n], the scene of each row.
        scenes: the names of all scenes.

    Returns:
        float64 [scenes, events] in [0, 1].

    Raises:
        ValueError: a scene has no sample.

    Source: §4 of the paper. The authors' code takes a random 70 % of all pairs,
    other than the training pairs, which leaks test places.
    """
    soft_labels = np.asarray(soft_labels, np.float64)
    return np.stack(
        [
            rows.mean(axis=0)
            for rows in rows_by_scene(soft_labels, scene_indices, scenes)
        ]
    )


def rows_by_scene(
    soft_labels: np.ndarray, scene_indices: np.ndarray, scenes: Sequence[str]
) -> list[np.ndarray]:
    """P(e|s_k) of every scene: the rows of its samples, [n_k, events].

    Args:
        soft_labels: float [n, events], of training pairs only.
        scene_indices: int [n], the scene of each row.
        scenes: the names of all scenes.

    Returns:
        One array for each scene, none empty.

    Raises:
        ValueError: a scene has no sample.
    """
    scene_indices = np.asarray(scene_indices)
    found = [soft_labels[scene_indices == index] for index in range(len(scenes))]
    missing = [name for name, rows in zip(scenes, found, strict=True) if not len(rows)]
    if missing:
        raise ValueError(
            "Every scene must have a training pair to compute its posteriors from; "
            f"there is none of {', '.join(missing)}. Add pairs or change the split "
            "(--train_fraction, --split_seed)."
        )
    return found
