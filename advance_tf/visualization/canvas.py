"""What every picture shares: figures without pyplot's state, and their PNG bytes."""

import io
import textwrap

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#222222"
_WARNING = "#b3261e"
_DPI = 120


def png(figure: Figure) -> bytes:
    """A figure as a PNG file; the same figure gives the same bytes.

    Args:
        figure: as `new_figure` returns it.

    Returns:
        The contents of the file.
    """
    buffer = io.BytesIO()
    # The metadata would hold the version of matplotlib.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure that arranges what is put on it.

    Args:
        width: in inches of 120 pixels.
        height: the same.

    Returns:
        A figure for `png`.
    """
    return Figure(
        figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white"
    )


def head(figure: Figure, title: str, label: str) -> None:
    """Writes the title, with the label in a colour of warning above it.

    Args:
        figure: with its axes.
        title: stands above the first axes, "" for none.
        label: what must be said of the figures, "" for nothing.
    """
    if label:
        label = textwrap.fill(label, int(11 * figure.get_figwidth()))
        figure.suptitle(label, color=_WARNING, fontsize=11, fontweight="bold")
    if title:
        figure.axes[0].set_title(title, color=INK, fontsize=13, pad=12, loc="left")


def plain(axes) -> None:
    """Leaves axes a light grid below what is drawn, and no frame above it.

    Args:
        axes: of a figure.
    """
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, labelcolor=INK)
