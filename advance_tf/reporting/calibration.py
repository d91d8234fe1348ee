"""The calibration of an evaluated run, and its reliability diagrams."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from advance_tf.extras import requires_extra
from advance_tf.inference.evaluation import evaluate
from advance_tf.metrics.calibration import Calibration, Reliability, calibrate
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.reporting.canvas import INK, add_title, new_figure, style_axes
from advance_tf.runs.workdir import Run, as_run

with requires_extra("report"):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

VALIDATION = "validation"
_FITTED_ON_SHOWN_PAIRS = "temperature fitted on pairs that are shown"
_NO_VALIDATION_PAIR = (
    "the temperature is fitted on validation, which has no pair. Split with a larger "
    "`validation_fraction`."
)
_ACCURACY_COLOR = "#1f5fa8"
# Confidence above accuracy, and below it.
_GAP_COLORS = ("#f0a35e", "#86b3e0")


@dataclasses.dataclass(frozen=True, eq=False)
class RunCalibration:
    """The calibration of an evaluated run, or the reason why there is none.

    Attributes:
        calibration: calibration of the evaluation, or None.
        pairs: number of pairs that the temperature is fitted on.
        remark: notice about the temperature for a label, such as why it was not
            fitted; "" for none.
        reason: why there is no calibration, with a remedy; "" where there is one.
    """

    calibration: Calibration | None
    pairs: int = 0
    remark: str = ""
    reason: str = ""


def calibrate_run(
    run: Run | str | pathlib.Path,
    evaluation: Evaluation,
    *,
    batch_size: int | None = None,
) -> RunCalibration:
    """Fits the temperature of a run on its validation pairs and evaluates it.

    Args:
        run: a loaded run with a manifest, or its folder.
        evaluation: evaluation of the run on any split.
        batch_size: pairs in a batch; by default as in training.

    Returns:
        The calibration of the evaluation. Where the evaluated pairs include those
        of the fit, the remark states it. Where the fit is refused, the temperature
        is 1 and the remark is the reason.

    Raises:
        ValueError: a file cannot be read.
    """
    run = as_run(run)
    manifest = run.manifest
    if manifest is None or VALIDATION not in manifest.splits:
        return RunCalibration(None, reason=_NO_VALIDATION_PAIR)
    validation = evaluation
    if evaluation.split != VALIDATION:
        validation = evaluate(run, VALIDATION, batch_size=batch_size)
    calibration = calibrate(
        validation.scene_probs,
        validation.true,
        evaluation.scene_probs,
        evaluation.true,
    )
    remark = calibration.refusal
    if not remark and evaluation.split in (VALIDATION, "all"):
        remark = _FITTED_ON_SHOWN_PAIRS
    return RunCalibration(calibration, len(validation.stems), remark)


def reliability_figure(
    calibration: Calibration, *, title: str = "", label: str = ""
) -> Figure:
    """Draws accuracy by confidence before and after temperature scaling.

    A bar is the accuracy of a bin; the hatched part is the gap between the accuracy
    and the mean confidence of the bin. Histograms below show the samples of each
    bin.

    Args:
        calibration: calibration of a split, with the same samples before and after.
        title: title above the diagrams.
        label: notice about the data, written above the title; "" for none.

    Returns:
        A figure for `canvas.png`. Its axes are the two diagrams, then the two
        histograms.

    Source: the diagrams of Guo et al., ICML 2017, Figure 1.

    >>> probs, true = np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 1])
    >>> len(reliability_figure(calibrate(probs, true, probs, true)).axes)
    4
    """
    figure = new_figure(9.6, 6.6)
    grid = figure.add_gridspec(2, 2, height_ratios=(3.4, 1))
    diagrams = [figure.add_subplot(grid[0, column]) for column in (0, 1)]
    histograms = [
        figure.add_subplot(grid[1, column], sharex=diagrams[column])
        for column in (0, 1)
    ]
    scaled = f"at T = {calibration.temperature:.2f}"
    sides = (
        ("as trained", calibration.before, calibration.nll_before),
        (
            "unscaled" if calibration.refusal else scaled,
            calibration.after,
            calibration.nll_after,
        ),
    )
    largest = max(int(side.counts.max()) for _, side, _ in sides)
    for axes, histogram, (name, side, nll) in zip(
        diagrams, histograms, sides, strict=True
    ):
        _draw_diagram(axes, side)
        _draw_histogram(histogram, side, largest)
        scores = f"{name}:  ECE {100 * side.ece:.1f} %,  NLL {nll:.3f}"
        axes.set_xlabel(scores, fontsize=11, color=INK, fontweight="bold", labelpad=6)
    diagrams[0].set_ylabel("accuracy", fontsize=10, color=INK)
    histograms[0].set_ylabel("pairs", fontsize=10, color=INK)
    _add_legend(diagrams[1])
    add_title(figure, title, label)
    return figure


def _draw_diagram(axes: Axes, side: Reliability) -> None:
    filled = side.counts > 0
    left, width = side.edges[:-1][filled], np.diff(side.edges)[filled]
    accuracy, confidence = side.accuracy[filled], side.confidence[filled]
    bars: dict[str, Any] = {"align": "edge", "edgecolor": "white", "linewidth": 0.6}
    axes.bar(left, accuracy, width, color=_ACCURACY_COLOR, **bars)
    # The gap is on top of the bar where the model is overconfident, and the upper
    # part of the bar where it is underconfident.
    bars |= {"hatch": "////"}
    signs = (confidence > accuracy, confidence < accuracy)
    for color, selected in zip(_GAP_COLORS, signs, strict=True):
        axes.bar(
            left[selected],
            (confidence - accuracy)[selected],
            width[selected],
            bottom=accuracy[selected],
            color=color,
            **bars,
        )
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    style_axes(axes)
    axes.tick_params(labelbottom=False)


def _add_legend(axes: Axes) -> None:
    names = (
        "accuracy",
        "overconfident: confidence above accuracy",
        "underconfident: confidence below accuracy",
    )
    handles = [
        Patch(facecolor=color, edgecolor="white", hatch=hatch, label=name)
        for color, hatch, name in zip(
            (_ACCURACY_COLOR, *_GAP_COLORS), (None, "////", "////"), names, strict=True
        )
    ]
    axes.legend(
        handles=handles, loc="upper left", fontsize=8.5, labelcolor=INK, framealpha=0.9
    )


def _draw_histogram(axes: Axes, side: Reliability, largest: int) -> None:
    axes.bar(
        side.edges[:-1],
        side.counts,
        np.diff(side.edges),
        align="edge",
        color="#8fa9c4",
        edgecolor="white",
        linewidth=0.6,
    )
    axes.set_ylim(0, 1.1 * largest)
    axes.set_xlabel("confidence: the largest probability", fontsize=10, color=INK)
    style_axes(axes)
