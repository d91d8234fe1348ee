"""Common parts of figures and pages: number formats, canvas, scene colours."""

import io
import math
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf import labels
from advance_tf.extras import requires_extra

with requires_extra("report"):
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

INK = "#222222"
_WARNING = "#b3261e"
_DPI = 120

# Colour and marker of each scene, by its index in the sorted list. The markers
# distinguish scenes for readers who cannot distinguish two of the colours.
SCENE_STYLES = tuple(zip(labels.SCENE_COLORS, "soPD^vXopsd*h", strict=True))


def percent(share: float, digits: int = 1) -> str:
    """Formats a share in [0, 1] as percent without the sign, NaN as a dash.

    >>> percent(0.12345), percent(float("nan"))
    ('12.3', '–')
    """
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """Formats a number with its sign and a typographic minus.

    >>> signed(-1.234), signed(0.5)
    ('−1.23', '+0.50')
    """
    # Adding 0 turns the −0.0 that rounding may return into 0.
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def probability(value: float) -> str:
    """Formats a probability with its significant digits.

    >>> [probability(value) for value in (0.99934, 0.834, 0.0031, 1e-5)]
    ['0.9993', '0.83', '0.0031', '<0.0001']
    """
    if value >= 0.995:
        return f"{value:.4f}"
    if value < 1e-4:
        return "<0.0001"
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def png(figure: Figure) -> bytes:
    """Renders a figure as a PNG file; equal figures give equal bytes.

    Args:
        figure: such as one of `new_figure`.

    Returns:
        The contents of the file.

    >>> png(new_figure(1.0, 1.0))[1:4]
    b'PNG'
    """
    buffer = io.BytesIO()
    # Without this the metadata contains the version of matplotlib.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Creates an empty white figure with constrained layout.

    Args:
        width: in inches of 120 pixels.
        height: in inches of 120 pixels.

    Returns:
        A figure for `png`.
    """
    return Figure(
        figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white"
    )


def add_title(figure: Figure, title: str, label: str) -> None:
    """Writes the title above the first axes, and the label above the figure.

    Args:
        figure: with its axes.
        title: title of the first axes, "" for none.
        label: notice about the data, written in a warning colour; "" for none.
    """
    if label:
        label = textwrap.fill(label, int(11 * figure.get_figwidth()))
        figure.suptitle(label, color=_WARNING, fontsize=11, fontweight="bold")
    if title:
        figure.axes[0].set_title(title, color=INK, fontsize=13, pad=12, loc="left")


def style_axes(axes: Axes) -> None:
    """Draws a light grid behind the data and removes the upper and right frame.

    Args:
        axes: axes of a figure.
    """
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, labelcolor=INK)


def scatter_scenes(
    axes: Axes,
    points: ArrayLike,
    true: ArrayLike,
    scenes: Sequence[str],
    *,
    size: float,
    unit: str,
) -> None:
    """Draws points in the colour and marker of their scene, with a legend.

    Rarer scenes are drawn over more frequent ones.

    Args:
        axes: axes of a figure.
        points: horizontal and vertical coordinates [n, 2] in the axes' units.
        true: scene of each point, int [n] in [0, len(scenes)).
        scenes: names, at most 13.
        size: area of a marker in square points (1/72 inch).
        unit: plural name of a point for the legend, which shows their number.

    Raises:
        ValueError: the shapes of points, scenes and names do not match.
    """
    points, true = np.asarray(points), np.asarray(true, np.int64)
    if points.shape != (len(true), 2) or len(scenes) > len(SCENE_STYLES):
        raise ValueError(
            f"points must be [n, 2] with n scenes of at most {len(SCENE_STYLES)}; "
            f"received {points.shape}, {len(true)} and {len(scenes)}."
        )
    if len(true) and not 0 <= true.min() <= true.max() < len(scenes):
        raise ValueError(
            f"true must be in [0, {len(scenes)}); received {true.min()} to "
            f"{true.max()}. Check that `scenes` is the list of their names."
        )
    counts = np.bincount(true, minlength=len(scenes))
    for scene in np.flatnonzero(counts).tolist():
        color, marker = SCENE_STYLES[scene]
        axes.scatter(
            points[true == scene, 0],
            points[true == scene, 1],
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
        if isinstance(handle, PathCollection):
            handle.set_sizes([42])
