"""Recordings of tables and folders, and the rows that are refused."""

import io
import math
import struct

import geopandas
import guano
import numpy as np
import pytest
import shapely
import soundfile

from advance_tf.geo import recordings
from advance_tf.geo.recordings import place_problem, read_recordings
from tests.geo.factories import write_recording, write_table

REGION = (9.4, 47.0, 9.7, 47.3)


def test_each_bad_row_is_refused_with_its_reason(tmp_path):
    rows = [
        ("a.wav", "47.1", "9.5", "CC0", "Ada"),
        ("swapped.wav", "9.5", "47.1", "", ""),
        ("zero.wav", "0", "0.0", "", ""),
        ("range.wav", "47.1", "190", "", ""),
        ("latitude.wav", "100", "9.5", "", ""),
        ("empty.wav", "", "", "", ""),
        ("text.wav", "47.1", "east", "", ""),
        ("far.wav", "51.5", "0.1", "", ""),
        ("", "47.1", "9.5", "", ""),
        ("a.wav", "47.2", "9.5", "", ""),
        # The row before had no coordinates.
        ("empty.wav", "47.1", "9.5", "", ""),
    ]
    columns = ("file", "lat", "lon", "licence", "author")
    table = write_table(tmp_path / "r.csv", rows, columns)
    found, rejected = read_recordings(table, bounds=REGION)
    assert [(one.name, one.license, one.author) for one in found] == [
        ("a.wav", "CC0", "Ada"),
        ("empty.wav", "", ""),
    ]
    assert found[0].file == str(tmp_path / "a.wav")
    reasons = {one.name: one.reason for one in rejected}
    assert len(rejected) == len(rows) - 2
    assert "exchanged" in reasons["swapped.wav"]
    assert "(0, 0)" in reasons["zero.wav"]
    assert "out of range" in reasons["range.wav"]
    assert "exchanged" in reasons["latitude.wav"]
    assert reasons["empty.wav"] == "latitude and longitude are missing"
    assert "not a number" in reasons["text.wav"]
    assert "outside the region" in reasons["far.wav"]
    assert reasons["line 10"] == "the row names no file"
    assert reasons["a.wav"] == "the file is listed twice"


def test_points_of_another_projection_become_degrees(tmp_path):
    table = geopandas.GeoDataFrame(
        {"file": ["a.wav", "b.wav"], "author": ["Ada", None]},
        geometry=[shapely.Point(9.5, 47.1), None],
        crs=4326,
    ).to_crs(2056)
    table.to_file(tmp_path / "r.gpkg")
    found, rejected = read_recordings(tmp_path / "r.gpkg")
    assert found[0].latitude == pytest.approx(47.1, abs=1e-7)
    assert found[0].longitude == pytest.approx(9.5, abs=1e-7)
    assert found[0].author == "Ada"
    assert [one.reason for one in rejected] == ["latitude and longitude are missing"]
    plain = table.to_crs(4326)
    plain.to_file(tmp_path / "r.geojson")
    again, _ = read_recordings(tmp_path / "r.geojson")
    assert again[0].latitude == pytest.approx(47.1, abs=1e-6)


def test_a_folder_is_read_by_the_metadata_of_its_files(tmp_path):
    wav = write_recording(tmp_path / "day" / "20240501_120000.WAV")
    file = guano.GuanoFile(str(wav))
    file["GUANO|Version"] = "1.0"
    file["Loc Position"] = (47.1, 9.5)
    file.write(make_backup=False)
    write_recording(tmp_path / "plain.wav")
    ogg = tmp_path / "b.ogg"
    with soundfile.SoundFile(ogg, "w", 8000, 1) as sound:
        sound.artist = "Ada"
        sound.comment = "a place"
        sound.write([0.0] * 8000)
    found, rejected = read_recordings(tmp_path)
    assert [(one.name, one.latitude, one.longitude) for one in found] == [
        ("day/20240501_120000.WAV", 47.1, 9.5)
    ]
    assert [one.name for one in rejected] == ["b.ogg", "plain.wav"]


def encoded(kind):
    """A second of silence as a file of libsndfile."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(8000), 8000, format=kind)
    return buffer.getvalue()


def test_id3_and_vorbis_tags_hold_the_position(tmp_path):
    # A text frame of ID3 2.3 in UTF-8; sizes below 128 have one byte.
    text = b"\x03GEO_LOCATION\x0047.1;9.5"
    frame = b"TXXX" + struct.pack(">IH", len(text), 0) + text
    head = b"ID3\x03\0\0\0\0\0" + bytes([len(frame)])
    (tmp_path / "a.mp3").write_bytes(head + frame + encoded("MP3"))
    # Vorbis comments are a block of FLAC, here after the first one of 42 bytes.
    comments = [b"LATITUDE=47.2", b"LONGITUDE=9.6", b"ARTIST=Ada", b"LICENSE=CC0"]
    body = struct.pack("<II", 0, len(comments))
    body += b"".join(struct.pack("<I", len(one)) + one for one in comments)
    block = struct.pack(">I", 4 << 24 | len(body)) + body
    flac = encoded("FLAC")
    (tmp_path / "b.flac").write_bytes(flac[:42] + block + flac[42:])
    found, rejected = read_recordings(tmp_path)
    assert not rejected
    assert [(one.name, one.latitude, one.longitude) for one in found] == [
        ("a.mp3", 47.1, 9.5),
        ("b.flac", 47.2, 9.6),
    ]
    assert (found[1].author, found[1].license) == ("Ada", "CC0")


@pytest.mark.parametrize(
    "tags",
    [
        {"GEO_LOCATION": "47.1;9.5"},
        {"xyz": "+47.1+009.5/"},
        {"LATITUDE": "47.1", "LONGITUDE": "9.5"},
        {"Loc Position": (47.1, 9.5)},
    ],
)
def test_tags_of_several_formats_hold_a_position(tags):
    row = recordings._position(tags)
    assert (float(row["latitude"]), float(row["longitude"])) == (47.1, 9.5)


@pytest.mark.parametrize(
    "text", ["47.1 N, 9.5 W", "47°06'N 9°30'E", "Room 12, floor 3", "47.1", "1, 2, 3"]
)
def test_other_text_is_no_position(text):
    assert recordings._position({"location": text}) == {}


def test_valid_places_have_no_problem():
    assert place_problem(47.1, 9.5, REGION) == ""
    assert place_problem(-33.9, 151.2) == ""
    assert "not a number" in place_problem(47.1, math.nan)


def test_files_of_other_kinds_and_without_columns_are_errors(tmp_path):
    with pytest.raises(ValueError, match="lacks latitude"):
        read_recordings(write_table(tmp_path / "a.csv", [("a.wav",)], ("file",)))
    with pytest.raises(ValueError, match="recordings must be a folder"):
        read_recordings(tmp_path / "a.docx")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="at least one recording"):
        read_recordings(tmp_path / "none")


def test_a_region_across_the_180th_meridian():
    region = (179.0, -18.0, 181.0, -16.0)
    for longitude in (179.0, 180.0, -180.0, -179.0):
        assert place_problem(-17.0, longitude, region) == ""
    for longitude in (178.9, -178.9, 0.0):
        assert "outside the region" in place_problem(-17.0, longitude, region)
