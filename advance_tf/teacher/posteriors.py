"""Event posteriors p(e|s): what the teacher hears in each scene."""

from collections.abc import Sequence

import numpy as np


def event_posteriors(
    soft_labels: np.ndarray, scenes: Sequence[int], count: int
) -> np.ndarray:
    """p(e|s_k): the mean of the soft labels y(a) over the samples of scene s_k.

    Args:
        soft_labels: y(a), [n, events] in [0, 1], of training pairs only.
        scenes: the scene of each row, in 0..count − 1.
        count: number of scenes.

    Returns:
        float64 [count, events] in [0, 1].

    Raises:
        ValueError: a scene has no sample.

    Source: §4 of the paper. The authors' code takes another random 70 % of all
    pairs, which leaks test sites; ours are the training sites.
    """
    scenes = np.asarray(scenes)
    missing = sorted(set(range(count)) - set(scenes.tolist()))
    if missing:
        raise ValueError(
            "Every scene must have a training pair to compute its posteriors from; "
            f"scenes number {', '.join(map(str, missing))} have none."
        )
    labels = np.asarray(soft_labels, np.float64)
    return np.stack([labels[scenes == scene].mean(0) for scene in range(count)])
