"""The bars of pairs by scene, the coastline, and the map of sites."""

import io

import numpy as np
import pytest
from matplotlib.path import Path
from PIL import Image

from advance_tf import labels
from advance_tf.data.coordinates import PlacedSites
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair, site_of
from advance_tf.data.splits import SPLITS
from advance_tf.reporting import dataset_figures
from advance_tf.reporting.canvas import SCENE_STYLES, png
from advance_tf.reporting.dataset_figures import pairs_per_scene_figure

# Longitude and latitude in degrees.
LAND = {
    "Berlin": (13.4, 52.5),
    "Denver": (-105.0, 39.7),
    "Alice Springs": (133.9, -23.7),
    "Nairobi": (36.8, -1.3),
    "Manaus": (-60.0, -3.1),
    "Chukotka, west of 180°": (179.0, 67.5),
    "Chukotka, east of 180°": (-175.0, 66.9),
    "South Pole": (0.0, -89.9),
    "Antarctica at 180°": (179.9, -86.0),
    "Greenland": (-40.0, 72.0),
}
WATER = {
    "mid-Pacific": (-150.0, 0.0),
    "west of the date line": (179.0, 30.0),
    "Atlantic": (-35.0, 30.0),
    "Indian Ocean": (80.0, -30.0),
    "Caspian Sea": (51.0, 41.5),
    "Mediterranean": (18.0, 35.0),
    "North Pole": (0.0, 89.0),
    "Hudson Bay": (-85.0, 59.0),
}


def _manifest():
    """A manifest with 5 pairs of 2 sites for lake, and 1 pair for airport."""
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


def test_bar_lengths_are_the_counts():
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
    starts = [bars[lake].get_x() for bars in axes.containers]
    assert starts == [0, 3, 5]
    colors = {bars[0].get_facecolor() for bars in axes.containers}
    assert len(colors) == 3


def test_figure_states_sites_and_splits():
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


def test_equal_manifests_give_equal_bytes():
    first, second = (png(pairs_per_scene_figure(_manifest())) for _ in "12")
    assert first == second


def _places(*degrees, scenes=None, missing=0, unknown=0):
    longitudes, latitudes = np.array(degrees, np.float64).T
    return PlacedSites(
        sites=tuple(f"{k:05d}" for k in range(len(degrees))),
        scenes=np.array(scenes or [0] * len(degrees)),
        latitudes_degrees=latitudes,
        longitudes_degrees=longitudes,
        missing=missing,
        unknown=unknown,
    )


@pytest.mark.parametrize(
    ("name", "place", "is_land"),
    [(name, place, True) for name, place in LAND.items()]
    + [(name, place, False) for name, place in WATER.items()],
)
def test_coastline_encloses_land_only(name, place, is_land):
    rings = dataset_figures.coastline()
    crossings = sum(
        Path(np.concatenate([r, r[:1]])).contains_point(place) for r in rings
    )
    assert crossings % 2 == is_land, name


def test_rings_are_within_the_map():
    rings = dataset_figures.coastline()
    assert len(rings) > 100
    for ring in rings:
        assert len(ring) >= 3
        assert (np.abs(ring) <= [180, 90]).all()
        # Only the line along the South Pole crosses the map.
        across = np.abs(np.diff(ring[:, 0], append=ring[0, 0])) > 20
        assert not across[ring[:, 1] > -90].any()


def test_land_and_water_have_their_colours():
    """The Caspian Sea is a hole in the drawn land."""
    places = _places((-179.0, 89.0))
    figure = dataset_figures.world_map_figure(places)
    picture = Image.open(io.BytesIO(png(figure))).convert("RGB")
    (axes,) = figure.axes
    for (longitude, latitude), color in [
        ((51.0, 41.5), dataset_figures._SEA),
        ((-150.0, 10.0), dataset_figures._SEA),
        ((13.4, 52.5), dataset_figures._LAND),
    ]:
        x, y = axes.transData.transform((longitude, latitude))
        pixel = picture.getpixel((round(x), round(picture.height - y)))
        assert pixel == tuple(bytes.fromhex(color[1:]))


def test_sites_are_drawn_at_their_coordinates():
    scenes = labels.scenes()
    lake, forest = scenes.index("lake"), scenes.index("forest")
    figure = dataset_figures.world_map_figure(
        _places((13.4, 52.5), (-105, 39.7), (151.2, -33.9), scenes=[lake, forest, lake])
    )
    (axes,) = figure.axes
    drawn = {c.get_label(): c.get_offsets().tolist() for c in axes.collections}
    assert drawn == {
        "forest  (1)": [[-105, 39.7]],
        "lake  (2)": [[13.4, 52.5], [151.2, -33.9]],
    }
    # Degrees have one length in both directions, and the axes show the world.
    assert axes.get_aspect() == 1
    assert (axes.get_xlim(), axes.get_ylim()) == ((-180, 180), (-60, 90))
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == list(drawn)
    colors = [tuple(c.get_facecolor()[0][:3]) for c in axes.collections]
    expected = [bytes.fromhex(SCENE_STYLES[k][0][1:]) for k in (forest, lake)]
    np.testing.assert_allclose(np.array(colors) * 255, list(map(list, expected)))


def test_antarctica_is_drawn_where_it_has_a_site():
    (axes,) = dataset_figures.world_map_figure(_places((166.7, -77.8))).axes
    assert axes.get_ylim() == (-90, 90)


def test_caption_states_sites_without_coordinates():
    figure = dataset_figures.world_map_figure(
        _places((0, 0), missing=1200, unknown=3), title="a run", label="synthetic"
    )
    (axes,) = figure.axes
    assert axes.get_xlabel() == (
        "1 site; 1,200 more without coordinates; 3 with coordinates not in the data set"
    )
    assert axes.get_title(loc="left") == "a run"
    assert figure.get_suptitle() == "synthetic"
    (plain,) = dataset_figures.world_map_figure(_places((0, 0))).axes
    assert plain.get_xlabel() == "1 site"
    names = [text.get_text() for text in plain.get_xticklabels()]
    assert names == ["180°", "120° W", "60° W", "0°", "60° E", "120° E", "180°"]
    names = [text.get_text() for text in plain.get_yticklabels()]
    assert names == ["60° S", "30° S", "0°", "30° N", "60° N", "90° N"]
