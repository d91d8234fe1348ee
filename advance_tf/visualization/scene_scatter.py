"""Points coloured by scene, alike in every picture."""

from collections.abc import Sequence

import numpy as np

from advance_tf.visualization.canvas import INK

# Colour and marker of a scene, by its place in the sorted list; what two
# colours leave in doubt to a reader the shapes tell.
STYLES = (
    ("#7a7a7a", "s"),
    ("#f2b701", "o"),
    ("#8b4513", "P"),
    ("#8a8a00", "D"),
    ("#0b5d1e", "^"),
    ("#5fd35f", "v"),
    ("#16239a", "X"),
    ("#35b6f2", "o"),
    ("#b07cf7", "p"),
    ("#e0211b", "s"),
    ("#ff9d7a", "d"),
    ("#f03fb4", "*"),
    ("#111111", "h"),
)


def scatter_scenes(
    axes, points, true, scenes: Sequence[str], *, size: float, unit: str
) -> None:
    """Draws points in the colour and marker of their scene, with a legend beside.

    The rarest scene is drawn last, so that none is covered by a frequent one.

    Args:
        axes: of a figure.
        points: horizontal and vertical coordinates [n, 2] in the axes' units.
        true: scene of each point, int [n] in [0, len(scenes)).
        scenes: names, at most 13.
        size: area of a marker in square points (1/72 inch).
        unit: what a point is, in the plural; the legend counts them.

    Raises:
        ValueError: points, scenes and names do not fit.
    """
    points, true = np.asarray(points), np.asarray(true, np.int64)
    if points.shape != (len(true), 2) or len(scenes) > len(STYLES):
        raise ValueError(
            f"points must be [n, 2] with n scenes of at most {len(STYLES)}; received "
            f"{points.shape}, {len(true)} and {len(scenes)}."
        )
    if len(true) and not 0 <= true.min() <= true.max() < len(scenes):
        raise ValueError(
            f"A scene must lie in [0, {len(scenes)}); received {true.min()} to "
            f"{true.max()}. Were they made with another list of scenes?"
        )
    counts = np.bincount(true, minlength=len(scenes))
    for scene in np.flatnonzero(counts).tolist():
        color, marker = STYLES[scene]
        axes.scatter(
            *points[true == scene].T,
            s=size * (1.7 if marker == "*" else 1),
            color=color,
            marker=marker,
            linewidths=0.3,
            edgecolors="white",
            zorder=3 - counts[scene] / len(true),
            label=f"{scenes[scene]}  ({counts[scene]:,})",
        )
    legend = axes.legend(
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
        title=f"scene  ({unit})",
        alignment="left",
    )
    for handle in legend.legend_handles:
        handle.set_sizes([42])
