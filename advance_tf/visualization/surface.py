"""A score over two weights as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from advance_tf.visualization.canvas import INK, head, new_figure


def surface_figure(
    scores,
    alphas: Sequence[float],
    betas: Sequence[float],
    *,
    title: str = "",
    label: str = "",
) -> Figure:
    """A score at every point of a grid, the best one framed.

    Args:
        scores: float [alphas, betas] in [0, 1].
        alphas: values of α, the rows.
        betas: values of β, the columns.
        title: stands above the grid.
        label: what must be said of the figures; stands above everything.

    Returns:
        A figure for `canvas.png`.

    Raises:
        ValueError: the scores do not fit the values.
    """
    percent = 100 * np.asarray(scores, np.float64)
    if percent.shape != (len(alphas), len(betas)):
        raise ValueError(
            f"scores must be [{len(alphas)}, {len(betas)}], a row for each alpha and "
            f"a column for each beta; received {percent.shape}."
        )
    figure = new_figure(3.2 + 0.9 * len(betas), 1.8 + 0.6 * len(alphas))
    axes = figure.add_subplot()
    shown = axes.imshow(percent, cmap="Blues", aspect="auto")
    middle = (percent.min() + percent.max()) / 2
    for (row, column), value in np.ndenumerate(percent):
        color = "white" if value > middle else INK
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=color)
    best = np.unravel_index(percent.argmax(), percent.shape)
    corner = (best[1] - 0.5, best[0] - 0.5)
    frame = Rectangle(corner, 1, 1, fill=False, edgecolor="#d9730d", linewidth=2.5)
    axes.add_patch(frame)
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.set_xlabel("β (Eq. 10)", color=INK)
    axes.set_ylabel("α (Eq. 2)", color=INK)
    figure.colorbar(shown, ax=axes, label="weighted F in %")
    head(figure, title, label)
    return figure
