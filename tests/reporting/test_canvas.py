"""Number formats, and the colours and order of scenes."""

import itertools

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.reporting import canvas
from advance_tf.reporting.canvas import SCENE_STYLES, new_figure, scatter_scenes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.99934, "0.9993"),
        (0.834, "0.83"),
        (0.0951, "0.10"),
        (0.0031, "0.0031"),
        (1e-5, "<0.0001"),
    ],
)
def test_probabilities_keep_their_significant_digits(value, text):
    assert canvas.probability(value) == text


def test_number_formats():
    assert canvas.percent(0.12345) == "12.3"
    assert canvas.percent(float("nan")) == "–"
    assert canvas.signed(-1.234) == "−1.23"
    assert canvas.signed(0.5, 1) == "+0.5"
    assert canvas.signed(-0.001) == "+0.00"


def _lab(color):
    """CIELAB coordinates of an sRGB colour under D65."""
    rgb = np.array(list(bytes.fromhex(color[1:]))) / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722]]
    to_xyz.append([0.0193, 0.1192, 0.9505])
    xyz = np.array(to_xyz) @ linear / [0.9505, 1, 1.089]
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array(
        [116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])]
    )


def test_scene_styles_are_distinguishable():
    assert len(SCENE_STYLES) == len(labels.scenes()) == len(set(SCENE_STYLES))
    # A difference of 2 is just noticeable.
    for (first, _), (second, _) in itertools.combinations(SCENE_STYLES, 2):
        assert np.linalg.norm(_lab(first) - _lab(second)) > 30, (first, second)


def test_rare_scenes_are_drawn_over_frequent_ones():
    axes = new_figure(4, 3).add_subplot()
    scatter_scenes(axes, np.zeros((6, 2)), [2, 2, 2, 0, 1, 1], "abc", size=9, unit="x")
    order = {c.get_label()[0]: c.get_zorder() for c in axes.collections}
    assert order["a"] > order["b"] > order["c"]


@pytest.mark.parametrize(
    ("points", "true", "message"),
    [
        (np.zeros((2, 3)), [0, 0], r"received \(2, 3\), 2"),
        (np.zeros((2, 2)), [0], r"received \(2, 2\), 1"),
        (np.zeros((2, 2)), [0, 3], "received 0 to 3"),
        (np.zeros((2, 2)), [-1, 0], "received -1 to 0"),
    ],
)
def test_scatter_rejects_mismatched_arguments(points, true, message):
    axes = new_figure(4, 3).add_subplot()
    with pytest.raises(ValueError, match=message):
        scatter_scenes(axes, points, true, "abc", size=9, unit="pairs")
