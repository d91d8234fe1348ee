"""Coordinates: reading, validation, and matching with the data set."""

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data import coordinates
from advance_tf.data.pairing import Pair, site_of


def create_pairs(*names):
    """The pair of each "scene/stem"."""
    split = [name.split("/") for name in names]
    return [
        Pair(stem, scene, site_of(stem), f"{stem}.jpg", f"{stem}.wav")
        for scene, stem in split
    ]


def read_text(tmp_path, text):
    path = tmp_path / "coordinates.csv"
    path.write_text(text, encoding="utf-8")
    return coordinates.read_coordinates(path)


def test_sites_are_read(tmp_path):
    found = read_text(
        tmp_path,
        'latitude,note,site,longitude\n52.5,"two\nlines",00017,13.4\n-90,,00002,-180\n',
    )
    assert found == {"00017": (52.5, 13.4), "00002": (-90.0, -180.0)}


def test_the_first_stem_determines_the_site(tmp_path):
    found = read_text(
        tmp_path,
        "\ufeffstem,latitude,longitude\n00017_1,1,2\n00017,3,4\n00017_2,5,6\n"
        "00018_3,7,8\n",
    )
    assert found == {"00017": (3.0, 4.0), "00018": (7.0, 8.0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "received an empty file and 0 rows"),
        ("site,latitude,longitude\n", "at least one row; received site,lat.* 0 rows"),
        ("site,lat,lon\n00017,1,2\n", "received site,lat,lon and 1 rows"),
        ("place,latitude,longitude\n00017,1,2\n", r"site \(or stem\)"),
        (
            "site,latitude,longitude\n00017,1,2\n00018,90.1,2\n",
            r"coordinates.csv, line 3: latitude .*\[-90, 90\]; received '90.1'",
        ),
        ("site,latitude,longitude\n00017,1,-181\n", r"line 2: longitude .* '-181'"),
        ("site,latitude,longitude\n00017,1,nan\n", "longitude .* received 'nan'"),
        ("site,latitude,longitude\n00017,52°N,1\n", "latitude .* received '52°N'"),
        ("site,latitude,longitude\n00017,1\n", "line 2: a row must have 3 values"),
        ("site,latitude,longitude\n17,1,2\n", "five digits, .*received '17'"),
        ("site,latitude,longitude\n00017_1,1,2\n", "must be five .*'00017_1'"),
        ("stem,latitude,longitude\nlake,1,2\n", "must begin with five"),
        (
            "site,latitude,longitude\n00017,1,2\n00017,1,2\n",
            "line 3: a site may have one row; received '00017' again",
        ),
    ],
)
def test_an_invalid_file_is_an_error(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_text(tmp_path, text)


def test_matching_sites_are_returned_and_the_others_counted():
    pairs = create_pairs(
        "lake/00003", "lake/00001", "lake/00001_1", "beach/00002", "lake/9"
    )
    placed = coordinates.place_sites(
        pairs, {"00001": (1.0, 2.0), "00002": (3.0, 4.0), "77777": (0, 0)}
    )
    assert placed.sites == ("00002", "00001")
    scenes = labels.scenes()
    assert placed.scenes.tolist() == [scenes.index("beach"), scenes.index("lake")]
    np.testing.assert_array_equal(placed.latitudes_degrees, [3, 1])
    np.testing.assert_array_equal(placed.longitudes_degrees, [4, 2])
    # "00003", and "" for the stem "9", which has no site.
    assert (placed.missing, placed.unknown) == (2, 1)


def test_coordinates_of_another_data_set_are_an_error():
    with pytest.raises(ValueError, match="of the 2 sites .* received 1 other sites"):
        coordinates.place_sites(
            create_pairs("lake/00001", "lake/00002"), {"00003": (0.0, 0.0)}
        )
