"""Scenes and their colours."""

import itertools

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.visualization.canvas import new_figure
from advance_tf.visualization.scene_scatter import STYLES, scatter_scenes


def _lab(color):
    """CIELAB of an sRGB colour under D65."""
    rgb = np.array(list(bytes.fromhex(color[1:]))) / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722]]
    to_xyz.append([0.0193, 0.1192, 0.9505])
    xyz = np.array(to_xyz) @ linear / [0.9505, 1, 1.089]
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * root[1]]) - [
        *(0, 0),
        200 * root[2],
    ]


def test_every_scene_looks_different():
    assert len(STYLES) == len(labels.scenes()) == len(set(STYLES))
    # A difference of 2 is just noticed side by side.
    for (first, _), (second, _) in itertools.combinations(STYLES, 2):
        assert np.linalg.norm(_lab(first) - _lab(second)) > 30, (first, second)


def test_the_rarest_scene_lies_on_top():
    axes = new_figure(4, 3).add_subplot()
    scatter_scenes(axes, np.zeros((6, 2)), [2, 2, 2, 0, 1, 1], "abc", size=9, unit="x")
    over = {c.get_label()[0]: c.get_zorder() for c in axes.collections}
    assert over["a"] > over["b"] > over["c"]


@pytest.mark.parametrize(
    ("points", "true", "message"),
    [
        (np.zeros((2, 3)), [0, 0], r"received \(2, 3\), 2"),
        (np.zeros((2, 2)), [0], r"received \(2, 2\), 1"),
        (np.zeros((2, 2)), [0, 3], "received 0 to 3"),
        (np.zeros((2, 2)), [-1, 0], "received -1 to 0"),
    ],
)
def test_what_does_not_fit_is_refused(points, true, message):
    axes = new_figure(4, 3).add_subplot()
    with pytest.raises(ValueError, match=message):
        scatter_scenes(axes, points, true, "abc", size=9, unit="pairs")
