"""Learning curves as lines for a page that draws them itself, such as SVG."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 320, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 24
_SKIPPED = ("epoch", "seconds")
_LOGARITHMIC = "learning_rate"
_LEAST_SPAN = 1e-4

Tick = tuple[float, str]
Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Line:
    """A quantity in one split.

    Attributes:
        split: "training" or "validation".
        points: places from left and top, where the quantity is a number.
    """

    split: str
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One quantity over the epochs, on a field of WIDTH × HEIGHT.

    Attributes:
        name: of the quantity, or of quantities that are equal throughout.
        lines: of the splits that have it.
        last: split → its value in the last epoch that has one.
        x_ticks: places from the left and their text.
        y_ticks: places from the top and their text.
        left, right, top, bottom: edges of the lines' field.
    """

    name: str
    lines: tuple[Line, ...]
    last: Mapping[str, float]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def curve_panels(log: Mapping[str, np.ndarray]) -> list[Panel]:
    """A panel per quantity of a log, the learning rate last.

    Args:
        log: as `plots.read_log` returns it; `epoch` is the horizontal axis.

    Returns:
        Panels; a quantity without any number has none.
    """
    names = list(dict.fromkeys(name.removeprefix("val_") for name in log))
    names = [name for name in names if name not in _SKIPPED]
    names.sort(key=_LOGARITHMIC.__eq__)
    found = (_panel(log, same) for same in _joined(log, names))
    return [panel for panel in found if panel.lines]


def _joined(log: Mapping[str, np.ndarray], names: list[str]) -> list[list[str]]:
    """Names of equal columns together: accuracy is the weighted recall."""
    found: dict[tuple, list[str]] = {}
    for name in names:
        columns = (log.get(name), log.get(f"val_{name}"))
        key = tuple(None if c is None else np.asarray(c).tobytes() for c in columns)
        found.setdefault(key, []).append(name)
    return list(found.values())


def _panel(log: Mapping[str, np.ndarray], same: list[str]) -> Panel:
    name, title = same[0], ", ".join(same)
    logarithmic = name == _LOGARITHMIC
    columns = {"training": name, "validation": f"val_{name}"}
    values = {}
    for split, column in columns.items():
        rows = np.asarray(log.get(column, []), np.float64)
        if logarithmic:
            rows = np.log10(np.where(rows > 0, rows, np.nan))
        if np.isfinite(rows).any():
            values[split] = rows
    if not values:
        return Panel(title, (), {}, (), ())
    epoch = np.asarray(log["epoch"], np.float64)
    shown = np.concatenate([rows[np.isfinite(rows)] for rows in values.values()])
    y_values, y_texts = _ticks(shown, logarithmic)
    x_range = (epoch.min(), epoch.max() if np.ptp(epoch) else epoch.max() + 1)
    x_values = MaxNLocator(5, integer=True).tick_values(*x_range)
    x_values = x_values[(x_values >= epoch.min()) & (x_values <= epoch.max())]
    edges = (y_values[0], y_values[-1])

    def across(value):
        share = (value - x_range[0]) / (x_range[1] - x_range[0])
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def down(value):
        share = (value - edges[0]) / (edges[1] - edges[0])
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    lines = [
        Line(
            split,
            tuple(
                (across(e), down(value))
                for e, value in zip(epoch, rows, strict=True)
                if np.isfinite(value)
            ),
        )
        for split, rows in values.items()
    ]
    last = {split: float(rows[np.isfinite(rows)][-1]) for split, rows in values.items()}
    return Panel(
        title,
        tuple(lines),
        {split: 10**value if logarithmic else value for split, value in last.items()},
        tuple((across(e), f"{e:g}") for e in x_values),
        tuple((down(v), text) for v, text in zip(y_values, y_texts, strict=True)),
    )


def _ticks(values: np.ndarray, logarithmic: bool) -> tuple[list[float], list[str]]:
    """Round values around all of `values`, at least two, and their texts.

    A range below _LEAST_SPAN of the values is widened to it: its ticks would
    have more digits than there is room for.
    """
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        low, high = np.floor(low), np.ceil(high)
    if low == high:
        low, high = low - 1, high + 1
    elif not logarithmic:
        missing = _LEAST_SPAN * max(abs(low), abs(high)) - (high - low)
        low, high = low - max(missing, 0) / 2, high + max(missing, 0) / 2
    locator = MaxNLocator(4, steps=(1, 2, 5, 10), integer=logarithmic)
    found = locator.tick_values(low, high)
    # What is left of a sum of steps, such as 0.30000000000000004, is below a
    # thousandth of the step.
    digits = 3 - int(np.floor(np.log10(found[1] - found[0])))
    rounded = [round(float(value), digits) + 0.0 for value in found]
    return rounded, [f"{10**v:.0e}" if logarithmic else f"{v:g}" for v in rounded]
