"""Learning curves as coordinates, for a page that draws them as SVG."""

import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np

from advance_tf.extras import requires_extra

with requires_extra("report"):
    from matplotlib.ticker import MaxNLocator

# Size of a panel and its margins, in units of the SVG.
WIDTH, HEIGHT = 320, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 24
_SKIPPED = ("epoch", "seconds")
# Of each term, the loss and the shares of the transfer terms have a panel: the value is
# the loss without its weight, and the shares at a place sum to 1. Scores of the test
# pairs are for `metrics.epochs`.
_WITHOUT_PANEL = re.compile(r".+_(value|weight)|scene_share_.+|test_.+")
_SHARE = re.compile(r"(?P<term>.+)_share_(?P<place>.+)")
_LOGARITHMIC = "learning_rate"
_MIN_SPAN = 1e-4

Tick = tuple[float, str]
Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Line:
    """The curve of a quantity in one split.

    Attributes:
        split: "training" or "validation".
        points: distances from the left and the top, for epochs in which the
            quantity is a number.
    """

    split: str
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One quantity over the epochs, on an area of WIDTH × HEIGHT.

    Attributes:
        name: name of the quantity, or names of quantities with equal values.
        lines: curves of the splits that have the quantity.
        last: split → value in the last epoch that has one.
        x_ticks: distances from the left and their texts.
        y_ticks: distances from the top and their texts.
        left: left edge of the plotting area.
        right: right edge of the plotting area.
        top: upper edge of the plotting area.
        bottom: lower edge of the plotting area.
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


def quantities(log: Mapping[str, np.ndarray]) -> list[str]:
    """Lists the quantities of a log that have a panel.

    Args:
        log: columns of `plots.read_log`.

    Returns:
        Names without `val_`, the learning rate last.

    >>> quantities({"epoch": [], "learning_rate": [], "loss": [], "val_loss": []})
    ['loss', 'learning_rate']
    """
    names = list(dict.fromkeys(name.removeprefix("val_") for name in log))
    names = [
        name
        for name in names
        if name not in _SKIPPED and not _WITHOUT_PANEL.fullmatch(name)
    ]
    names.sort(key=_LOGARITHMIC.__eq__)
    return names


@dataclasses.dataclass(frozen=True)
class TermRow:
    """One term of the objective in the last epoch.

    Attributes:
        name: name of the term.
        weight: its weight in the objective.
        value: its loss without the weight, mean over the epoch.
        shares: place → share of the gradient norm there, first and last epoch.
    """

    name: str
    weight: float
    value: float
    shares: Mapping[str, tuple[float, float]]


def term_rows(log: Mapping[str, np.ndarray]) -> list[TermRow]:
    """Lists the terms of the objective with their shares of the gradients.

    Args:
        log: columns of `plots.read_log`, as of `training.term_shares.TermShares`.

    Returns:
        A row for each term; none for a log without shares.

    >>> log = {
    ...     "scene_weight": np.ones(2),
    ...     "scene_value": np.array([2.0, 1.5]),
    ...     "scene_share_scene_logits": np.array([0.9, 0.8]),
    ... }
    >>> (row,) = term_rows(log)
    >>> row.name, row.value, row.shares
    ('scene', 1.5, {'scene logits': (0.9, 0.8)})
    """
    shares: dict[str, dict[str, tuple[float, float]]] = {}
    for name, values in log.items():
        match = _SHARE.fullmatch(name)
        measured = values[np.isfinite(values)]
        if match and len(measured):
            place = match["place"].replace("_", " ")
            ends = (float(measured[0]), float(measured[-1]))
            shares.setdefault(match["term"], {})[place] = ends
    return [
        TermRow(term, float(log[f"{term}_weight"][-1]), _last(log, term), of_term)
        for term, of_term in shares.items()
    ]


def _last(log: Mapping[str, np.ndarray], term: str) -> float:
    return float(log.get(f"{term}_value", [np.nan])[-1])


def curve_panels(log: Mapping[str, np.ndarray]) -> list[Panel]:
    """Computes a panel for each quantity of a log, the learning rate last.

    Args:
        log: columns of `plots.read_log`; `epoch` is the horizontal axis.

    Returns:
        Panels of the quantities that have a number.

    >>> log = {"epoch": np.array([1.0, 2.0]), "loss": np.array([2.0, 1.0])}
    >>> (panel,) = curve_panels(log)
    >>> panel.name, panel.last
    ('loss', {'training': 1.0})
    """
    panels = (_panel(log, equal) for equal in _group_equal(log, quantities(log)))
    return [panel for panel in panels if panel.lines]


def _group_equal(log: Mapping[str, np.ndarray], names: list[str]) -> list[list[str]]:
    """Groups names of equal columns, such as accuracy and weighted recall."""
    groups: dict[tuple[bytes | None, ...], list[str]] = {}
    for name in names:
        columns = (log.get(name), log.get(f"val_{name}"))
        key = tuple(None if c is None else np.asarray(c).tobytes() for c in columns)
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def _panel(log: Mapping[str, np.ndarray], equal: list[str]) -> Panel:
    name, title = equal[0], ", ".join(equal)
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
    finite = np.concatenate([rows[np.isfinite(rows)] for rows in values.values()])
    y_values, y_texts = _ticks(finite, logarithmic)
    x_range = (epoch.min(), epoch.max() if np.ptp(epoch) else epoch.max() + 1)
    x_values = MaxNLocator(5, integer=True).tick_values(*x_range)
    x_values = x_values[(x_values >= epoch.min()) & (x_values <= epoch.max())]
    to_x = _axis(x_range, _LEFT, WIDTH - _RIGHT)
    to_y = _axis((y_values[0], y_values[-1]), HEIGHT - _BOTTOM, _TOP)
    lines = [
        Line(
            split,
            tuple(
                (to_x(e), to_y(value))
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
        tuple((to_x(e), f"{e:g}") for e in x_values),
        tuple((to_y(v), text) for v, text in zip(y_values, y_texts, strict=True)),
    )


def _axis(
    values: tuple[float, float], first: float, last: float
) -> Callable[[float], float]:
    """The linear map from a range of values to the positions first to last."""

    def position(value: float) -> float:
        share = (value - values[0]) / (values[1] - values[0])
        return round(float(first + share * (last - first)), 1)

    return position


def _ticks(values: np.ndarray, logarithmic: bool) -> tuple[list[float], list[str]]:
    """Rounded values that enclose `values`, at least two, and their texts.

    A relative range below _MIN_SPAN is widened to it, because the texts of its
    ticks would not fit in the margin.
    """
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        low, high = np.floor(low), np.ceil(high)
    if low == high:
        low, high = low - 1, high + 1
    elif not logarithmic:
        missing = _MIN_SPAN * max(abs(low), abs(high)) - (high - low)
        low, high = low - max(missing, 0) / 2, high + max(missing, 0) / 2
    locator = MaxNLocator(4, steps=(1, 2, 5, 10), integer=logarithmic)
    ticks = locator.tick_values(low, high)
    # Rounding to a thousandth of the step removes the error of summed steps, such
    # as 0.30000000000000004.
    digits = 3 - int(np.floor(np.log10(ticks[1] - ticks[0])))
    rounded = [round(float(value), digits) + 0.0 for value in ticks]
    return rounded, [f"{10**v:.0e}" if logarithmic else f"{v:g}" for v in rounded]
