"""Figure 7 of the paper: predicted events of each pair, embedded in the plane."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from advance_tf.visualization.canvas import INK, head, new_figure
from advance_tf.visualization.scene_scatter import scatter_scenes

_PERPLEXITY = 30.0
_FEWEST = 4


def embed(event_probs, seed: int) -> np.ndarray:
    """Two coordinates for each pair: close where the predicted events are alike.

    t-SNE of Euclidean distances, begun from the first two principal components,
    with a perplexity of min(30, (n − 1) / 3).

    Args:
        event_probs: [n, events] in [0, 1], at least four rows that are not all
            the same.
        seed: same seed and same probabilities, same bits; on another machine
            the last digits may grow into another picture of the same clusters.

    Returns:
        [n, 2] float32; neither scale nor direction mean anything.

    Raises:
        ValueError: there are too few rows, a value is not finite, or all rows
            are the same.

    Source: Figure 7 of the paper; van der Maaten and Hinton, "Visualizing Data
    using t-SNE", JMLR 2008.
    """
    event_probs = np.asarray(event_probs, np.float32)
    if event_probs.ndim != 2 or len(event_probs) < _FEWEST:
        raise ValueError(
            f"event_probs must be [pairs, events] with at least {_FEWEST} pairs; "
            f"received {event_probs.shape}. Choose a larger --split."
        )
    if not np.isfinite(event_probs).all():
        raise ValueError(
            "event_probs must be finite; received NaN or infinity. Did the training "
            "diverge?"
        )
    if (event_probs == event_probs[0]).all():
        raise ValueError(
            "event_probs must differ between pairs; the model tells the same events "
            f"of all {len(event_probs)}. Train it for longer."
        )
    tsne = TSNE(
        perplexity=min(_PERPLEXITY, (len(event_probs) - 1) / 3),
        init="pca",
        random_state=seed,
    )
    # Sums over threads end in an order of their own, and t-SNE makes much of it.
    with threadpool_limits(1):
        return tsne.fit_transform(event_probs)


def embedding_figure(
    points, true, scenes: Sequence[str], *, title: str = "", label: str = ""
) -> Figure:
    """Embedded pairs, coloured by their true scene.

    Args:
        points: [n, 2], as `embed` returns them.
        true: scene of each pair, int [n].
        scenes: names, at most 13.
        title: stands above the points.
        label: what must be said of the figures; stands above everything.

    Returns:
        A figure for `png`.

    Raises:
        ValueError: see `scatter_scenes`.
    """
    figure = new_figure(9.4, 7.2)
    axes = figure.add_subplot()
    scatter_scenes(axes, points, true, scenes, size=28, unit="pairs")
    # A unit is as long across as upwards, but the axes have no unit to name.
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#cccccc")
    axes.set_xlabel(
        "t-SNE of the predicted event probabilities; near is alike",
        fontsize=10,
        color=INK,
    )
    head(figure, title, label)
    return figure
