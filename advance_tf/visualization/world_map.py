"""Figure 4 of the paper: where the sites are, over a plain coastline."""

import csv

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from advance_tf import labels
from advance_tf.data.coordinates import PlacedSites
from advance_tf.visualization.canvas import INK, head, new_figure
from advance_tf.visualization.scene_scatter import scatter_scenes

_LAND, _SHORE, _SEA = "#e6e3dc", "#a9a498", "#f5f8fb"
# The ice south of it is left out where there is no site on it.
_SOUTH_DEGREES = -60.0


def coastline() -> list[np.ndarray]:
    """The outlines of the land of the world.

    A ring inside another one is water (the Caspian Sea).

    Returns:
        Rings [points, 2] float64 of longitude in [-180, 180] and latitude in
        [-90, 90] degrees; the last point joins the first.

    Source: see coastline.csv in assets/README.md.
    """
    with labels.asset_path("coastline.csv").open(newline="", encoding="utf-8") as file:
        rows = [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]
    table = np.array(rows)
    begins = np.flatnonzero(np.diff(table[:, 0])) + 1
    return np.split(table[:, 1:], begins)


def world_map_figure(
    places: PlacedSites, *, title: str = "", label: str = ""
) -> Figure:
    """The sites on an equirectangular map, coloured by scene.

    x is the longitude and y the latitude in degrees.

    Args:
        places: sites with coordinates; how many have none is written below.
        title: stands above the map.
        label: what must be said of the data; stands above everything.

    Returns:
        A figure for `png`.

    Source: Figure 4 of the paper.
    """
    points = np.stack([places.longitudes_degrees, places.latitudes_degrees], axis=1)
    south = -90.0 if points[:, 1].min() < _SOUTH_DEGREES else _SOUTH_DEGREES
    figure = new_figure(13.0, 1.15 + 10.3 * (90 - south) / 360)
    axes = figure.add_subplot()
    axes.add_patch(_land())
    scatter_scenes(axes, points, places.scenes, labels.scenes(), size=20, unit="sites")
    axes.set(xlim=(-180, 180), ylim=(south, 90), aspect="equal", facecolor=_SEA)
    across, upwards = range(-180, 181, 60), range(int(south), 91, 30)
    axes.set_xticks(across, [_degrees(x, "W", "E") for x in across])
    axes.set_yticks(upwards, [_degrees(y, "S", "N") for y in upwards])
    axes.tick_params(labelsize=9, labelcolor=INK, length=3, color=_SHORE)
    axes.grid(color="white", linewidth=0.6, zorder=1.5)
    axes.spines[:].set_color(_SHORE)
    axes.set_xlabel(_caption(places), fontsize=10, color=INK)
    head(figure, title, label)
    return figure


def _land() -> PathPatch:
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
    """-60 as 60° W; 180° is both east and west."""
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
