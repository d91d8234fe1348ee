"""The surface of a grid: numbers at their place, the best one framed."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from advance_tf.visualization.surface import surface_figure


def test_every_score_stands_at_its_alpha_and_beta():
    scores = np.array([[0.1, 0.2, 0.3], [0.4, 0.9, 0.6]])
    axes = surface_figure(scores, (0.1, 10), (0, 0.001, 1), title="F").axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written[(1, 1)] == "90.0"
    assert written[(2, 0)] == "30.0"
    assert len(written) == 6
    (frame,) = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert frame.get_xy() == (0.5, 0.5)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "0.001", "1"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0.1", "10"]


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 1\].*received \(1, 2\)"):
        surface_figure([[0.1, 0.2]], (1, 2), (0,))
