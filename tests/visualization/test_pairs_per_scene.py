"""The bars of pairs, read back from their axes."""

import numpy as np

from advance_tf import labels
from advance_tf.data.layout import Pair, site_of
from advance_tf.data.manifest import Manifest
from advance_tf.data.splits import SPLITS
from advance_tf.visualization.canvas import png
from advance_tf.visualization.pairs_per_scene import pairs_per_scene_figure


def _manifest():
    """Lake: 5 pairs of 2 sites; airport: 1 pair."""
    rows = [
        *(("lake", f"00001_{k}", "training") for k in range(3)),
        *(("lake", "00002", "validation"), ("lake", "00002_1", "validation")),
        ("airport", "00003", "test"),
    ]
    pairs = tuple(
        Pair(stem, scene, site_of(stem), f"{stem}.jpg", f"{stem}.wav")
        for scene, stem, _ in rows
    )
    return Manifest(pairs, tuple(split for *_, split in rows), "site", 0)


def test_bars_are_as_long_as_the_counts():
    (axes,) = pairs_per_scene_figure(_manifest()).axes
    assert axes.yaxis_inverted()
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == list(labels.scenes())
    lake, airport = names.index("lake"), names.index("airport")
    expected = np.zeros((3, 13))
    expected[:2, lake] = 3, 2
    expected[2, airport] = 1
    drawn = [[bar.get_width() for bar in bars] for bars in axes.containers]
    np.testing.assert_array_equal(drawn, expected)
    begins = [bars[lake].get_x() for bars in axes.containers]
    assert begins == [0, 3, 5]
    colors = {bars[0].get_facecolor() for bars in axes.containers}
    assert len(colors) == 3


def test_sites_and_splits_are_written():
    figure = pairs_per_scene_figure(_manifest(), title="a run", label="synthetic")
    (axes,) = figure.axes
    written = {text.xy: text.get_text() for text in axes.texts}
    scenes = labels.scenes()
    assert written[5, scenes.index("lake")] == "5  (2 sites)"
    assert written[1, scenes.index("airport")] == "1  (1 site)"
    assert written[0, scenes.index("beach")] == "0  (0 sites)"
    assert axes.get_xlabel() == "pairs (6 of 3 sites in all)"
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == [f"{s}  ({n})" for s, n in zip(SPLITS, (3, 2, 1), strict=True)]
    assert axes.get_title(loc="left") == "a run"
    assert figure.get_suptitle() == "synthetic"


def test_the_same_manifest_is_the_same_picture():
    first, second = (png(pairs_per_scene_figure(_manifest())) for _ in "12")
    assert first == second
