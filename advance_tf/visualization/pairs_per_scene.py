"""Figure 3 of the paper: how many pairs each scene has."""

import numpy as np
from matplotlib.figure import Figure

from advance_tf import labels
from advance_tf.data.manifest import Manifest
from advance_tf.data.splits import SPLITS
from advance_tf.visualization.canvas import INK, head, new_figure, plain

_COLORS = ("#1f5fa8", "#e9a23b", "#b5477a")


def pairs_per_scene_figure(
    manifest: Manifest, *, title: str = "", label: str = ""
) -> Figure:
    """The pairs of each scene as bars, divided by split, with their sites.

    Args:
        manifest: pairs and splits.
        title: stands above the bars.
        label: what must be said of the data; stands above everything.

    Returns:
        A figure for `png`; the first scene is the topmost bar.

    Source: Figure 3 of the paper, without the splits.
    """
    scenes = labels.scenes()
    counts, sites = _counts(manifest)
    figure = new_figure(9.2, 1.5 + 0.36 * len(scenes))
    axes = figure.add_subplot()
    begin = np.zeros(len(scenes), np.int64)
    for split, color, own in zip(SPLITS, _COLORS, counts, strict=True):
        axes.barh(
            range(len(scenes)),
            own,
            left=begin,
            height=0.72,
            color=color,
            edgecolor="white",
            linewidth=0.6,
            label=f"{split}  ({own.sum():,})",
        )
        begin += own
    for row, (pairs, places) in enumerate(zip(begin, sites, strict=True)):
        axes.annotate(
            f"{pairs:,}  ({places:,} {'site' if places == 1 else 'sites'})",
            (pairs, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
        )
    # The writing behind the longest bar needs room.
    axes.set_xlim(0, 1.22 * max(begin.max(), 1))
    axes.set_yticks(range(len(scenes)), scenes)
    axes.invert_yaxis()
    total = len({pair.site for pair in manifest.pairs})
    axes.set_xlabel(
        f"pairs ({len(manifest.pairs):,} of {total:,} sites in all)",
        fontsize=10,
        color=INK,
    )
    plain(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.legend(loc="upper right", fontsize=9, labelcolor=INK, title="split (pairs)")
    head(figure, title, label)
    return figure


def _counts(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Pairs [splits, scenes] and sites [scenes], int64."""
    scenes = labels.scenes()
    counts = np.zeros((len(SPLITS), len(scenes)), np.int64)
    places: list[set[str]] = [set() for _ in scenes]
    for pair, split in zip(manifest.pairs, manifest.splits, strict=True):
        scene = scenes.index(pair.scene)
        counts[SPLITS.index(split), scene] += 1
        places[scene].add(pair.site)
    return counts, np.array([len(sites) for sites in places])
