"""The coastline at known places, and sites at their coordinates."""

import io

import numpy as np
import pytest
from matplotlib.path import Path
from PIL import Image

from advance_tf import labels
from advance_tf.data.coordinates import PlacedSites
from advance_tf.visualization import world_map
from advance_tf.visualization.canvas import png
from advance_tf.visualization.scene_scatter import STYLES

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
def test_land_is_where_it_is(name, place, is_land):
    rings = world_map.coastline()
    around = sum(Path(np.concatenate([r, r[:1]])).contains_point(place) for r in rings)
    assert around % 2 == is_land, name


def test_rings_stay_on_the_map():
    rings = world_map.coastline()
    assert len(rings) > 100
    for ring in rings:
        assert len(ring) >= 3
        assert (np.abs(ring) <= [180, 90]).all()
        # No line crosses the map from one side to the other, but the pole's.
        across = np.abs(np.diff(ring[:, 0], append=ring[0, 0])) > 20
        assert not across[ring[:, 1] > -90].any()


def test_land_and_water_are_filled_so():
    """The Caspian Sea is a hole also where the picture is drawn."""
    places = _places((-179.0, 89.0))
    figure = world_map.world_map_figure(places)
    picture = Image.open(io.BytesIO(png(figure))).convert("RGB")
    (axes,) = figure.axes
    for (longitude, latitude), color in [
        ((51.0, 41.5), world_map._SEA),
        ((-150.0, 10.0), world_map._SEA),
        ((13.4, 52.5), world_map._LAND),
    ]:
        x, y = axes.transData.transform((longitude, latitude))
        pixel = picture.getpixel((round(x), round(picture.height - y)))
        assert pixel == tuple(bytes.fromhex(color[1:]))


def test_a_site_is_drawn_at_its_coordinates():
    scenes = labels.scenes()
    lake, forest = scenes.index("lake"), scenes.index("forest")
    figure = world_map.world_map_figure(
        _places((13.4, 52.5), (-105, 39.7), (151.2, -33.9), scenes=[lake, forest, lake])
    )
    (axes,) = figure.axes
    drawn = {c.get_label(): c.get_offsets().tolist() for c in axes.collections}
    assert drawn == {
        "forest  (1)": [[-105, 39.7]],
        "lake  (2)": [[13.4, 52.5], [151.2, -33.9]],
    }
    # Degrees are as long across as upwards, and the axes show the world.
    assert axes.get_aspect() == 1
    assert (axes.get_xlim(), axes.get_ylim()) == ((-180, 180), (-60, 90))
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == list(drawn)
    colors = [tuple(c.get_facecolor()[0][:3]) for c in axes.collections]
    expected = [bytes.fromhex(STYLES[k][0][1:]) for k in (forest, lake)]
    np.testing.assert_allclose(np.array(colors) * 255, list(map(list, expected)))


def test_a_site_in_the_south_brings_the_south():
    (axes,) = world_map.world_map_figure(_places((166.7, -77.8))).axes
    assert axes.get_ylim() == (-90, 90)


def test_what_is_missing_is_said():
    figure = world_map.world_map_figure(
        _places((0, 0), missing=1200, unknown=3), title="a run", label="synthetic"
    )
    (axes,) = figure.axes
    assert axes.get_xlabel() == (
        "1 site; 1,200 more without coordinates; 3 with coordinates not in the data set"
    )
    assert axes.get_title(loc="left") == "a run"
    assert figure.get_suptitle() == "synthetic"
    (plain,) = world_map.world_map_figure(_places((0, 0))).axes
    assert plain.get_xlabel() == "1 site"
    names = [text.get_text() for text in plain.get_xticklabels()]
    assert names == ["180°", "120° W", "60° W", "0°", "60° E", "120° E", "180°"]
    names = [text.get_text() for text in plain.get_yticklabels()]
    assert names == ["60° S", "30° S", "0°", "30° N", "60° N", "90° N"]
