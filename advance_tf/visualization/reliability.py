"""Reliability diagrams: how often predictions of a confidence are right."""

from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from advance_tf.visualization.canvas import INK, head, new_figure, plain

_ACCURACY = "#1f5fa8"
# Confidence above accuracy, and below it.
_GAPS = ("#f0a35e", "#86b3e0")


class Reliability(Protocol):
    """What is drawn of a set of predictions; NaN in an empty bin."""

    @property
    def confidence(self) -> np.ndarray:
        """Mean top probability of each bin [bins]."""

    @property
    def accuracy(self) -> np.ndarray:
        """Share of right predictions of each bin [bins]."""

    @property
    def counts(self) -> np.ndarray:
        """Samples of each bin [bins]."""

    @property
    def edges(self) -> np.ndarray:
        """Of the bins [bins + 1]."""

    @property
    def ece(self) -> float:
        """Expected calibration error in [0, 1]."""


class Calibration(Protocol):
    """Reliability before and after temperature scaling."""

    @property
    def temperature(self) -> float:
        """T."""

    @property
    def refusal(self) -> str:
        """Why T was not fitted, "" where it was."""

    @property
    def before(self) -> Reliability:
        """Without it."""

    @property
    def after(self) -> Reliability:
        """With it."""

    @property
    def nll_before(self) -> float:
        """Negative log-likelihood in nats."""

    @property
    def nll_after(self) -> float:
        """The same with it."""


def reliability_figure(
    calibration: Calibration, *, title: str = "", label: str = ""
) -> Figure:
    """Accuracy by confidence before and after temperature scaling, side by side.

    A bar is the accuracy of a bin; hatched is the gap from it to the bin's mean
    confidence. Below stand the samples of each bin.

    Args:
        calibration: of a split, the same samples before and after.
        title: stands above the panels.
        label: what must be said of the figures; stands above everything.

    Returns:
        A figure for `png`. Its axes are the two diagrams, then the two
        histograms.

    Source: the diagrams of Guo et al., ICML 2017, Figure 1.
    """
    figure = new_figure(9.6, 6.6)
    grid = figure.add_gridspec(2, 2, height_ratios=(3.4, 1))
    diagrams = [figure.add_subplot(grid[0, column]) for column in (0, 1)]
    histograms = [
        figure.add_subplot(grid[1, column], sharex=diagrams[column])
        for column in (0, 1)
    ]
    t = "unscaled" if calibration.refusal else f"at T = {calibration.temperature:.2f}"
    sides = (
        ("as trained", calibration.before, calibration.nll_before),
        (t, calibration.after, calibration.nll_after),
    )
    most = max(int(side.counts.max()) for _, side, _ in sides)
    for axes, below, (name, side, nll) in zip(diagrams, histograms, sides, strict=True):
        _draw_diagram(axes, side)
        _draw_histogram(below, side, most)
        scores = f"{name}:  ECE {100 * side.ece:.1f} %,  NLL {nll:.3f}"
        axes.set_xlabel(scores, fontsize=11, color=INK, fontweight="bold", labelpad=6)
    diagrams[0].set_ylabel("accuracy", fontsize=10, color=INK)
    histograms[0].set_ylabel("pairs", fontsize=10, color=INK)
    _add_legend(diagrams[1])
    head(figure, title, label)
    return figure


def _draw_diagram(axes, side: Reliability) -> None:
    there = side.counts > 0
    left, width = side.edges[:-1][there], np.diff(side.edges)[there]
    accuracy, confidence = side.accuracy[there], side.confidence[there]
    bars = {"align": "edge", "edgecolor": "white", "linewidth": 0.6}
    axes.bar(left, accuracy, width, color=_ACCURACY, **bars)
    # Where the model was not sure enough the gap is the upper end of the bar,
    # where it was too sure it stands on the bar.
    bars |= {"hatch": "////"}
    sides = (confidence > accuracy, confidence < accuracy)
    for color, wrong in zip(_GAPS, sides, strict=True):
        axes.bar(
            left[wrong],
            (confidence - accuracy)[wrong],
            width[wrong],
            bottom=accuracy[wrong],
            color=color,
            **bars,
        )
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    plain(axes)
    axes.tick_params(labelbottom=False)


def _add_legend(axes) -> None:
    names = (
        "accuracy",
        "too sure: confidence above it",
        "not sure enough: confidence below it",
    )
    handles = [
        Patch(facecolor=color, edgecolor="white", hatch=hatch, label=name)
        for color, hatch, name in zip(
            (_ACCURACY, *_GAPS), (None, "////", "////"), names, strict=True
        )
    ]
    axes.legend(
        handles=handles, loc="upper left", fontsize=8.5, labelcolor=INK, framealpha=0.9
    )


def _draw_histogram(axes, side: Reliability, most: int) -> None:
    axes.bar(
        side.edges[:-1],
        side.counts,
        np.diff(side.edges),
        align="edge",
        color="#8fa9c4",
        edgecolor="white",
        linewidth=0.6,
    )
    axes.set_ylim(0, 1.1 * most)
    axes.set_xlabel("confidence: the largest probability", fontsize=10, color=INK)
    plain(axes)
