"""The axes of reliability diagrams, and the calibration of a run."""

from types import SimpleNamespace

import numpy as np
import pytest

from advance_tf.reporting.calibration import reliability_figure
from advance_tf.reporting.canvas import png

EDGES = np.linspace(0, 1, 5)


def _side(confidence, accuracy, counts, ece):
    return SimpleNamespace(
        confidence=np.array(confidence),
        accuracy=np.array(accuracy),
        counts=np.array(counts),
        edges=EDGES,
        ece=ece,
    )


@pytest.fixture
def calibration():
    nan = np.nan
    return SimpleNamespace(
        temperature=1.5,
        refusal="",
        before=_side([nan, 0.4, 0.7, 0.9], [nan, 0.5, 0.2, 0.9], [0, 2, 5, 10], 0.123),
        after=_side([nan, 0.4, nan, 0.8], [nan, 0.3, nan, 1.0], [0, 10, 0, 7], 0.045),
        nll_before=2.0,
        nll_after=1.25,
    )


def _bars(axes):
    """(left, bottom, top) of each bar, rounded."""
    boxes = [patch.get_bbox() for patch in axes.patches]
    return [(round(b.xmin, 9), round(b.ymin, 9), round(b.ymax, 9)) for b in boxes]


def test_bars_show_accuracies_and_gaps(calibration):
    before, after, *_ = reliability_figure(calibration).axes
    accuracies = [(0.25, 0, 0.5), (0.5, 0, 0.2), (0.75, 0, 0.9)]
    # Overconfident in (½, ¾]: gap above the accuracy; underconfident in (¼, ½].
    assert _bars(before) == [*accuracies, (0.5, 0.2, 0.7), (0.25, 0.4, 0.5)]
    assert _bars(after) == [
        *((0.25, 0, 0.3), (0.75, 0, 1.0)),
        *((0.25, 0.3, 0.4), (0.75, 0.8, 1.0)),
    ]
    colors = [patch.get_facecolor() for patch in before.patches]
    assert len({colors[0], colors[3], colors[4]}) == 3
    (diagonal,) = before.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])


def test_histograms_share_one_scale(calibration):
    *_, before, after = reliability_figure(calibration).axes
    assert [top for _, _, top in _bars(before)] == [0, 2, 5, 10]
    assert [top for _, _, top in _bars(after)] == [0, 10, 0, 7]
    assert before.get_ylim() == after.get_ylim() == (0, 11)


def test_panels_state_the_scores(calibration):
    figure = reliability_figure(calibration, title="a run", label="synthetic")
    before, after, *_ = figure.axes
    assert before.get_xlabel() == "as trained:  ECE 12.3 %,  NLL 2.000"
    assert after.get_xlabel() == "at T = 1.50:  ECE 4.5 %,  NLL 1.250"
    assert before.get_title(loc="left") == "a run"
    assert figure.get_suptitle() == "synthetic"
    assert png(figure) == png(
        reliability_figure(calibration, title="a run", label="synthetic")
    )


def test_second_panel_is_unscaled_when_the_fit_is_refused(calibration):
    calibration.refusal = "temperature not fitted"
    figure = reliability_figure(calibration, label=calibration.refusal)
    assert figure.axes[1].get_xlabel() == "unscaled:  ECE 4.5 %,  NLL 1.250"
    assert figure.get_suptitle() == "temperature not fitted"
