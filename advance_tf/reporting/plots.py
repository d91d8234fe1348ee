"""Plots of an evaluated run: confusion matrix and learning curves."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.checksums import verify
from advance_tf.csv_tables import read_table
from advance_tf.extras import requires_extra
from advance_tf.files import reading
from advance_tf.reporting.canvas import INK, add_title, new_figure, png, style_axes
from advance_tf.reporting.learning_curves import quantities

with requires_extra("report"):
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

_COLORS = ("#1f5fa8", "#d9730d")


def confusion_figure(
    confusion: ArrayLike, scenes: Sequence[str], *, title: str = "", label: str = ""
) -> Figure:
    """Draws a confusion matrix with counts and the percentage of each row.

    Args:
        confusion: counts [n, n], rows true, columns predicted.
        scenes: n names.
        title: title above the matrix.
        label: notice about the data, written above the title; "" for none.

    Returns:
        A figure for `canvas.png`.

    Raises:
        ValueError: the shape of the matrix does not match the names.

    >>> figure = confusion_figure([[3, 1], [0, 2]], ["beach", "lake"])
    >>> png(figure)[1:4]
    b'PNG'
    """
    confusion = np.asarray(confusion)
    n = len(scenes)
    if confusion.shape != (n, n):
        raise ValueError(
            f"confusion must be [{n}, {n}] for {n} scenes; received {confusion.shape}. "
            "Give a name for each row."
        )
    support = confusion.sum(axis=1)
    share = confusion / np.maximum(support, 1)[:, None]
    side = 2.6 + 0.62 * n
    figure = new_figure(side + 1.2, side)
    axes = figure.add_subplot()
    colors = matplotlib.colormaps["Blues"]
    image = axes.imshow(share, cmap=colors, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(n, n):
        count = int(confusion[row, column])
        _write_cell(axes, row, column, count, float(share[row, column]))
    axes.set_xticks(range(n), scenes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(n), [f"{s}  ({c})" for s, c in zip(scenes, support, strict=True)]
    )
    axes.set_xlabel("predicted scene", fontsize=11, color=INK)
    axes.set_ylabel("true scene (pairs)", fontsize=11, color=INK)
    axes.tick_params(length=0, labelsize=10, labelcolor=INK)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.035, pad=0.02)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"])
    bar.set_label("percent of the true scene", fontsize=10, color=INK)
    bar.ax.tick_params(length=0, labelsize=9)
    bar.outline.set_visible(False)
    add_title(figure, title, label)
    return figure


def _write_cell(axes: Axes, row: int, column: int, count: int, share: float) -> None:
    """Writes the count and the percentage of a cell, nothing where the count is 0."""
    if not count:
        return
    color = "white" if share > 0.55 else INK
    weight = "bold" if row == column else "normal"
    axes.annotate(
        f"{count:,}",
        (column, row),
        (0, 1),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=10,
        color=color,
        fontweight=weight,
    )
    percent = f"{100 * share:.0f} %" if share >= 0.005 else "<1 %"
    axes.annotate(
        percent,
        (column, row),
        (0, -2),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=7.5,
        color=color,
    )


def read_log(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the columns of a training log.

    Args:
        path: CSV file with a header and a line for each epoch, as training writes.

    Returns:
        Column → values [epochs] float64, NaN for an empty cell.

    Raises:
        ValueError: a cell is not a number, the log has no epoch, or it differs from
            its recorded checksum.
    """
    verify(pathlib.Path(path))
    columns, rows = read_table(path)
    if not rows or "epoch" not in columns:
        raise ValueError(
            f"{path} must have a column 'epoch' and at least one line below its "
            f"header; received {len(rows)} lines. Give the log.csv of a run."
        )
    rule = "have numbers in all columns of its header"
    with reading(path, rule, "Give the log.csv of a run."):
        return {
            name: np.array([float(row.values[name] or "nan") for row in rows])
            for name in columns
        }


def curves_figure(
    log: Mapping[str, np.ndarray], *, title: str = "", label: str = ""
) -> Figure:
    """Draws the learning curves of a run, one panel for each quantity.

    A panel shows a quantity in training and, where the log has it, its `val_`
    counterpart in validation.

    Args:
        log: columns of `read_log`; `epoch` is the horizontal axis.
        title: title above the first panel.
        label: notice about the data, written above the title; "" for none.

    Returns:
        A figure for `canvas.png`.

    Raises:
        ValueError: the log has no quantity.
    """
    names = quantities(log)
    if not names:
        raise ValueError(
            "log must have a quantity in addition to the epoch; received "
            f"{', '.join(log)}. Give the log of a run."
        )
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(0.4 + 4.0 * columns, 0.6 + 2.7 * rows)
    for position, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, position + 1)
        _draw_curves(axes, log, name)
    add_title(figure, title, label)
    return figure


def _draw_curves(axes: Axes, log: Mapping[str, np.ndarray], name: str) -> None:
    splits = (("training", name), ("validation", f"val_{name}"))
    for color, (split, column) in zip(_COLORS, splits, strict=True):
        if column in log:
            axes.plot(
                log["epoch"],
                log[column],
                color=color,
                label=split,
                linewidth=1.6,
                # A single epoch is visible only as a marker.
                marker="o" if len(log["epoch"]) < 15 else None,
                markersize=3.5,
            )
    axes.set_ylabel(name.replace("_", " "), fontsize=10, color=INK)
    axes.set_xlabel("epoch", fontsize=9, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if name == "learning_rate":
        axes.set_yscale("log")
    style_axes(axes)
    if f"val_{name}" in log and name in log:
        axes.legend(fontsize=8, frameon=False)


def run_pictures(
    log_path: pathlib.Path,
    confusion: ArrayLike,
    scenes: Sequence[str],
    title: str,
    label: str,
) -> dict[str, bytes]:
    """Renders the plots of an evaluated run.

    Args:
        log_path: log.csv of the run; without the file there are no curves.
        confusion: counts [n, n], rows true, columns predicted.
        scenes: n names.
        title: title of the plots.
        label: notice about the data, "" for none.

    Returns:
        File name → contents of a PNG file: confusion.png, and curves.png where
        there is a log.
    """
    figures = {
        "confusion.png": confusion_figure(confusion, scenes, title=title, label=label)
    }
    if log_path.exists():
        figures["curves.png"] = curves_figure(
            read_log(log_path), title=title, label=label
        )
    return {name: png(figure) for name, figure in figures.items()}
