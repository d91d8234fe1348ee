"""Figures 3 and 4 of the paper: pairs of each scene, and a map of the sites."""

import csv

import numpy as np

from advance_tf import labels
from advance_tf.data.coordinates import PlacedSites
from advance_tf.data.manifest import Manifest
from advance_tf.data.splits import SPLITS
from advance_tf.extras import requires_extra
from advance_tf.reporting.canvas import (
    INK,
    add_title,
    new_figure,
    scatter_scenes,
    style_axes,
)

with requires_extra("report"):
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

_COLORS = ("#1f5fa8", "#e9a23b", "#b5477a")
_LAND, _SHORE, _SEA = "#e6e3dc", "#a9a498", "#f5f8fb"
# Antarctica, south of this latitude, is drawn only where it has a site.
_SOUTH_DEGREES = -60.0


def pairs_per_scene_figure(
    manifest: Manifest, *, title: str = "", label: str = ""
) -> Figure:
    """Draws the pairs of each scene as bars, divided by split.

    Args:
        manifest: pairs and splits.
        title: title above the bars.
        label: notice about the data, written above the title; "" for none.

    Returns:
        A figure for `canvas.png`; the first scene is the topmost bar, and the
        number of sites is written at the end of each bar.

    Source: Figure 3 of the paper, without the splits.
    """
    scenes = labels.scenes()
    counts, sites = _counts(manifest)  # [splits, scenes], [scenes]
    figure = new_figure(9.2, 1.5 + 0.36 * len(scenes))
    axes = figure.add_subplot()
    start = np.zeros(len(scenes), np.int64)
    for split, color, row in zip(SPLITS, _COLORS, counts, strict=True):
        axes.barh(
            range(len(scenes)),
            row,
            left=start,
            height=0.72,
            color=color,
            edgecolor="white",
            linewidth=0.6,
            label=f"{split}  ({row.sum():,})",
        )
        start += row
    for bar, (pairs, count) in enumerate(zip(start, sites, strict=True)):
        axes.annotate(
            f"{pairs:,}  ({count:,} {'site' if count == 1 else 'sites'})",
            (pairs, bar),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
        )
    # Leaves space for the text at the end of the longest bar.
    axes.set_xlim(0, 1.22 * max(start.max(), 1))
    axes.set_yticks(range(len(scenes)), scenes)
    axes.invert_yaxis()
    total = len({pair.site for pair in manifest.pairs})
    axes.set_xlabel(
        f"pairs ({len(manifest.pairs):,} of {total:,} sites in all)",
        fontsize=10,
        color=INK,
    )
    style_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.legend(loc="upper right", fontsize=9, labelcolor=INK, title="split (pairs)")
    add_title(figure, title, label)
    return figure


def _counts(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Pairs [splits, scenes] and sites [scenes], int64."""
    scenes = labels.scenes()
    counts = np.zeros((len(SPLITS), len(scenes)), np.int64)
    sites: list[set[str]] = [set() for _ in scenes]
    for pair, split in zip(manifest.pairs, manifest.splits, strict=True):
        scene = scenes.index(pair.scene)
        counts[SPLITS.index(split), scene] += 1
        sites[scene].add(pair.site)
    return counts, np.array([len(own) for own in sites])


def coastline() -> list[np.ndarray]:
    """Returns the outlines of the world's land.

    A ring inside another one is water (the Caspian Sea).

    Returns:
        Rings [points, 2] float64 of longitude in [-180, 180] and latitude in
        [-90, 90] degrees; the last point is connected to the first.

    Source: see coastline.csv in assets/README.md.

    >>> coastline()[0].shape[1]
    2
    """
    with labels.asset_path("coastline.csv").open(newline="", encoding="utf-8") as file:
        rows = [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]
    table = np.array(rows)
    starts = np.flatnonzero(np.diff(table[:, 0])) + 1
    return np.split(table[:, 1:], starts)


def world_map_figure(
    places: PlacedSites, *, title: str = "", label: str = ""
) -> Figure:
    """Draws the sites on an equirectangular map, in the colours of their scenes.

    x is the longitude and y the latitude in degrees.

    Args:
        places: sites with coordinates; the number of sites without coordinates is
            written below the map.
        title: title above the map.
        label: notice about the data, written above the title; "" for none.

    Returns:
        A figure for `canvas.png`.

    Source: Figure 4 of the paper.
    """
    points = np.stack([places.longitudes_degrees, places.latitudes_degrees], axis=1)
    south = -90.0 if points[:, 1].min() < _SOUTH_DEGREES else _SOUTH_DEGREES
    figure = new_figure(13.0, 1.15 + 10.3 * (90 - south) / 360)
    axes = figure.add_subplot()
    axes.add_patch(_land_patch())
    scatter_scenes(axes, points, places.scenes, labels.scenes(), size=20, unit="sites")
    axes.set(xlim=(-180, 180), ylim=(south, 90), aspect="equal", facecolor=_SEA)
    longitudes, latitudes = range(-180, 181, 60), range(int(south), 91, 30)
    axes.set_xticks(longitudes, [_degrees(x, "W", "E") for x in longitudes])
    axes.set_yticks(latitudes, [_degrees(y, "S", "N") for y in latitudes])
    axes.tick_params(labelsize=9, labelcolor=INK, length=3, color=_SHORE)
    axes.grid(color="white", linewidth=0.6, zorder=1.5)
    axes.spines[:].set_color(_SHORE)
    axes.set_xlabel(_caption(places), fontsize=10, color=INK)
    add_title(figure, title, label)
    return figure


def _land_patch() -> PathPatch:
    rings = [np.concatenate([ring, ring[:1]]) for ring in coastline()]
    codes = []
    for ring in rings:
        codes += [Path.MOVETO, *[Path.LINETO] * (len(ring) - 2), Path.CLOSEPOLY]
    return PathPatch(
        Path(np.concatenate(rings), codes),
        facecolor=_LAND,
        edgecolor=_SHORE,
        linewidth=0.5,
        zorder=1,
    )


def _degrees(degrees: int, negative: str, positive: str) -> str:
    """Formats -60 as 60° W; 0° and 180° have no direction."""
    if degrees in (-180, 0, 180):
        return f"{abs(degrees)}°"
    return f"{abs(degrees)}° {positive if degrees > 0 else negative}"


def _caption(places: PlacedSites) -> str:
    count = len(set(places.sites))
    parts = [f"{count:,} {'site' if count == 1 else 'sites'}"]
    if places.missing:
        parts.append(f"{places.missing:,} more without coordinates")
    if places.unknown:
        parts.append(f"{places.unknown:,} with coordinates not in the data set")
    return "; ".join(parts)
