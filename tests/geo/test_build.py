"""Section 3 from recordings to a folder in ADVANCE's layout, and its corrections."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import soundfile

from advance_tf.config import DataConfig
from advance_tf.data.coordinates import read_coordinates
from advance_tf.data.manifest import make_manifest
from advance_tf.data.places import read_places
from advance_tf.data.recordings import ClipRule
from advance_tf.geo import build as building
from advance_tf.geo.balance import balance_scenes, shift_place
from advance_tf.geo.build import build_dataset
from advance_tf.geo.corrections import read_corrections
from advance_tf.geo.data_card import data_card
from advance_tf.geo.imagery import Imagery
from advance_tf.geo.plan import BuildSettings, plan_dataset
from advance_tf.geo.recordings import read_recordings
from tests.geo.factories import (
    GEOD,
    place,
    scene_map,
    square,
    write_extract,
    write_raster,
    write_recording,
    write_table,
)

SETTINGS = BuildSettings(
    ground_metres=100,
    pixels=32,
    rate_hz=8000,
    clip_seconds=4,
    least_pairs=2,
    shift_below=4,
    shift_metres=20,
    site_metres=150,
)
# East in metres, scene; the sixth lies 100 m from the fifth.
PLACES = (
    *((0, "forest"), (1000, "forest"), (2000, "forest"), (3000, "forest")),
    *((5000, "farmland"), (5100, "farmland"), (6500, "farmland"), (9000, "beach")),
)
TAGS = {
    "forest": {"landuse": "forest"},
    "farmland": {"landuse": "farmland"},
    "beach": {"natural": "beach"},
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    areas = [(TAGS[scene], square(east, 0, 90)) for east, scene in PLACES]
    extract = write_extract(folder / "a.osm.pbf", areas=areas)
    values = np.random.default_rng(0).integers(1, 255, (3, 60, 1100), np.uint8)
    values[:, :, 735:765] = 0  # no data around 6,500 m
    raster = write_raster(folder / "a_20240501.tif", values, center=(4500, 0), nodata=0)
    rows = []
    for number, (east, _) in enumerate(PLACES):
        name = f"{number}.wav"
        write_recording(folder / name, 3 + number, seed=number)
        rows.append((name, *place(east, 0), "CC0", "Ada"))
    write_recording(folder / "short.wav", 1.5)
    (folder / "broken.wav").write_text("RIFF")
    rows += [("short.wav", *place(0, 0), "", ""), ("broken.wav", *place(0, 0), "", "")]
    rows += [("zero.wav", 0, 0, "", ""), ("0.flac", *place(4000, 200), "", "")]
    soundfile.write(folder / "0.flac", np.zeros(40_000), 8000)
    columns = ("file", "latitude", "longitude", "license", "author")
    return extract, raster, write_table(folder / "r.csv", rows, columns)


def planned(inputs, settings=SETTINGS, corrections=None):
    extract, raster, table = inputs
    found, rejected = read_recordings(table)
    with Imagery([raster]) as imagery:
        return plan_dataset(
            *(found, scene_map(extract, settings.ground_metres), imagery, settings),
            rejections=rejected,
            corrections=corrections,
        )


@pytest.fixture(scope="module")
def plan(inputs):
    return planned(inputs)


def build(plan, inputs, data_dir, settings=SETTINGS):
    with Imagery([inputs[1]]) as imagery:
        return build_dataset(plan, imagery, data_dir, settings)


@pytest.fixture(scope="module")
def built(plan, inputs, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("built") / "data"
    result = build(plan, inputs, data_dir)
    assert (result.written, result.up_to_date, result.failed) == (14, 0, ())
    return data_dir


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_scenes_are_dropped_shifted_or_kept():
    scenes = ["a"] * 9 + ["b"] * 10 + ["c"] * 99 + ["d"] * 100
    assert balance_scenes(scenes) == {
        **{"a": "dropped", "b": "shifted", "c": "shifted", "d": "kept"}
    }


def test_shifts_are_as_long_as_asked():
    moved = shift_place(47.0, 9.5, 50)
    for azimuth, (latitude, longitude) in zip(
        (0, 90, 180, -90), moved.values(), strict=True
    ):
        angle, _, metres = GEOD.inv(9.5, 47.0, longitude, latitude)
        assert metres == pytest.approx(50, abs=1e-6)
        assert abs(angle) == pytest.approx(abs(azimuth), abs=1e-3)


def test_every_recording_is_used_or_refused_with_a_reason(plan):
    used = {one.recording.name for one in plan.pairs}
    refused = {one.name: one for one in plan.rejections}
    assert plan.received == 12
    assert used == {"0.wav", "1.wav", "2.wav", "3.wav", "4.wav", "5.wav"}
    assert len(used) + len(refused) == plan.received
    steps = {name: one.step for name, one in refused.items()}
    assert steps == {
        "short.wav": "recording",
        "broken.wav": "recording",
        "zero.wav": "recording",
        "0.flac": "label",
        "6.wav": "imagery",
        "7.wav": "balance",
    }
    assert "1.50 s" in refused["short.wav"].reason
    assert "beach has 1 pairs" in refused["7.wav"].reason
    # Four forests are enough; two farmlands get four images each.
    assert {k: v for k, v in plan.counts.items() if v} == {"forest": 4, "farmland": 10}


def test_near_places_and_shifted_images_are_one_site(plan):
    farmland = {one.pair.site for one in plan.pairs if one.pair.scene == "farmland"}
    forest = [one.pair.site for one in plan.pairs if one.pair.scene == "forest"]
    assert len(farmland) == 1
    assert len(set(forest)) == 4
    seeds = {
        (one.recording.name, one.cut_seed)
        for one in plan.pairs
        if one.pair.scene == "farmland"
    }
    assert len(seeds) == 10


def test_the_folder_is_a_data_set(built):
    manifest = make_manifest(DataConfig(data_dir=str(built)))
    assert len(manifest.pairs) == 14
    assert len({pair.site for pair in manifest.pairs}) == 5
    image = building_image(built / manifest.pairs[0].image)
    assert image.shape == (3, 32, 32)
    sound = soundfile.info(built / manifest.pairs[0].sound)
    assert (sound.samplerate, sound.frames, sound.channels) == (8000, 32_000, 1)
    # Figure 4 reads the coordinates.
    assert read_coordinates(built / "sites.csv").keys() == {
        pair.site for pair in manifest.pairs
    }
    cuts = {
        (built / pair.sound).read_bytes()
        for pair in manifest.pairs
        if pair.scene == "farmland"
    }
    assert len(cuts) == 10


def building_image(path):
    import rasterio

    with rasterio.open(path) as raster:
        return raster.read()


def test_evidence_rejections_and_credits_are_written(built):
    provenance = {row["stem"]: row for row in rows_of(built / "provenance.csv")}
    assert provenance.keys() == read_places(built).keys()
    row = next(r for r in provenance.values() if r["recording"] == "1.wav")
    evidence = json.loads(row["evidence"])
    assert evidence["features"][0] == {
        "id": "w2",
        "scene": "forest",
        "tags": {"landuse": "forest"},
        "metres": 0.0,
    }
    assert evidence["shares"]["forest"] == pytest.approx(0.81, abs=2e-3)
    assert row["image_date"] == "2024-05-01"
    assert float(row["ground_resolution_metres"]) == pytest.approx(10, rel=2e-3)
    assert (row["license"], row["author"], row["label_rule"]) == (
        *("CC0", "Ada", "inside"),
    )
    assert len(rows_of(built / "rejected.csv")) == 6
    text = (built / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert "OpenStreetMap contributors" in text
    assert "- 1.wav: Ada, licence: CC0" in text
    card = (built / "DATA_CARD.md").read_text(encoding="utf-8")
    assert "14 pairs of image and sound at 5 sites, from 6 of 12 recordings" in card
    assert "| farmland | 10 | 8 | 1 |" in card


def test_a_second_call_writes_what_is_missing(plan, inputs, tmp_path, monkeypatch):
    write = building.write_jpeg
    written = []

    def some(path, image):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(path, image)

    monkeypatch.setattr(building, "write_jpeg", some)
    with pytest.raises(KeyboardInterrupt):
        build(plan, inputs, tmp_path / "d")
    monkeypatch.setattr(building, "write_jpeg", write)
    result = build(plan, inputs, tmp_path / "d")
    assert (result.written, result.up_to_date) == (11, 3)
    assert build(plan, inputs, tmp_path / "d").written == 0
    # Another clip length is another data set.
    other = dataclasses.replace(SETTINGS, clip_seconds=5.0)
    with pytest.raises(ValueError, match=r"one set of settings.*`clip_seconds` 4"):
        build(plan, inputs, tmp_path / "d", other)
    (tmp_path / "d" / "build.json").write_text("{")
    with pytest.raises(ValueError, match=r"build\.json must hold the settings of the"):
        build(plan, inputs, tmp_path / "d")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "file.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be empty"):
        build(plan, inputs, tmp_path / "e")


def test_corrections_of_the_review_change_the_data_set(inputs, built, tmp_path):
    path = write_table(
        tmp_path / "corrections.csv",
        [
            ("0.wav", "", "reject", "", "wind"),
            ("1.wav", "", "correct", "farmland", ""),
            ("4.wav", "north", "reject", "", ""),
            ("5.wav", "", "accept", "", ""),
        ],
        ("recording", "shift", "decision", "scene", "remark"),
    )
    corrected = planned(inputs, corrections=read_corrections(path))
    refused = {one.name: one.reason for one in corrected.rejections}
    assert refused["0.wav"] == "rejected in the review. wind"
    assert "4.wav, shifted to the north" in refused
    # Three farmlands and two forests, all with shifted images, without one.
    assert {k: v for k, v in corrected.counts.items() if v} == {
        **{"farmland": 14, "forest": 10}
    }
    label = next(o.label for o in corrected.pairs if o.recording.name == "1.wav")
    assert (label.scene, label.rule) == ("farmland", "review")
    assert label.evidence["features"][0]["scene"] == "forest"
    build(corrected, inputs, built)
    manifest = make_manifest(DataConfig(data_dir=str(built)))
    assert len(manifest.pairs) == 24
    assert not list(built.glob("*/*/*-partial*"))


def test_a_shifted_image_is_not_moved_to_a_scene_that_is_too_rare(inputs, tmp_path):
    columns = ("recording", "shift", "decision", "scene", "remark")
    rows = [
        ("4.wav", "north", "correct", "beach", ""),
        ("4.wav", "east", "correct", "lake", ""),
        ("4.wav", "south", "correct", "forest", ""),
    ]
    path = write_table(tmp_path / "corrections.csv", rows, columns)
    corrected = planned(inputs, corrections=read_corrections(path))
    kept = {k: v for k, v in corrected.counts.items() if v}
    assert kept == {"forest": 5, "farmland": 7}
    refused = {one.name: one.reason for one in corrected.rejections}
    for side, scene, count in (("north", "beach", 1), ("east", "lake", 0)):
        assert refused[f"4.wav, shifted to the {side}"] == (
            f"{scene} has {count} pairs; a scene needs at least 2"
        )


def test_decisions_that_are_not_valid(tmp_path):
    columns = ("recording", "decision", "scene")
    path = write_table(tmp_path / "c.csv", [("a.wav", "correct", "moon")], columns)
    with pytest.raises(ValueError, match=r"line 2.*'moon'"):
        read_corrections(path)
    with pytest.raises(ValueError, match="columns recording and decision"):
        read_corrections(write_table(tmp_path / "d.csv", [("a",)], ("recording",)))


def test_settings_that_no_clip_can_have_are_refused():
    for rate_hz in (4000, 300_000):
        rule = f"rate_hz must be 0 or from 8000 to 192000; received {rate_hz}"
        with pytest.raises(ValueError, match=rule):
            BuildSettings(rate_hz=rate_hz)
    assert BuildSettings(rate_hz=0).clip_rule(7) == ClipRule(0, 2.0, 10.0, 7)


def test_the_card_counts_recordings_that_are_repeated(plan):
    """The recordings last 3 to 8 s."""
    for clip_seconds, count in ((5.0, 3), (4.0, 2)):
        rules = dataclasses.replace(SETTINGS, clip_seconds=clip_seconds)
        text = f"{count} of at most {clip_seconds:g} s are repeated."
        assert text in data_card(plan, rules)
