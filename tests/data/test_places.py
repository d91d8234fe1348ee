"""Sites by distance, the leak audit and the split by blocks."""

import collections
import csv
import logging
import unicodedata

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.config import Config, DataConfig
from advance_tf.data import splits
from advance_tf.data.advance import load_advance
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.data.pairing import Pair
from advance_tf.data.places import (
    EARTH_METRES,
    Place,
    audit_places,
    cluster_places,
    places_of,
    read_places,
    write_places,
)
from advance_tf.data.spatial_blocks import split_by_block
from advance_tf.runs.training import find_manifest
from tests.data.factories import write_pair_files

DEGREE = EARTH_METRES * np.pi / 180


def test_places_are_joined_by_distance_overlap_and_recording():
    # 0, 400 and 800 m are a chain; 5,000 m is alone; 10,000 m shares a recording.
    north = np.array([0, 400, 800, 5000, 10_000]) / DEGREE
    longitudes = np.full(5, 9.5)
    assert cluster_places(47 + north, longitudes).tolist() == [0, 0, 0, 1, 2]
    assert cluster_places(47 + north, longitudes, site_metres=300).tolist() == [
        *range(5)
    ]
    overlap = cluster_places(47 + north, longitudes, site_metres=300, tile_metres=401)
    assert overlap.tolist() == [0, 0, 0, 1, 2]
    shared = cluster_places(47 + north, longitudes, recordings=["", "a", "b", "c", "a"])
    assert shared.tolist() == [0, 0, 0, 1, 0]
    # Squares overlap at the corner although their centres are farther than a side.
    east = 380 / (DEGREE * np.cos(np.radians(47)))
    corner = ([47, 47 + 380 / DEGREE], [9.5, 9.5 + east])
    assert cluster_places(*corner, site_metres=400).tolist() == [0, 1]
    assert cluster_places(*corner, site_metres=400, tile_metres=400).tolist() == [0, 0]
    # At the meridian of 180°.
    assert cluster_places([0, 0], [179.999, -179.999]).tolist() == [0, 0]
    assert cluster_places([], []).tolist() == []


def pairs_at(places):
    """A pair for each place, of the scene of its parity."""
    pairs = [
        Pair(f"{n:05d}", ("beach", "lake")[n % 2], place.site, f"{n}.jpg", f"{n}.wav")
        for n, place in enumerate(places)
    ]
    return pairs, dict(zip((p.stem for p in pairs), places, strict=True))


def test_the_audit_measures_distances_and_recordings():
    places = [
        Place("00000", 47.0, 9.5, "a"),
        Place("00001", 47.0 + 499 / DEGREE, 9.5, "b"),
        Place("00002", 48.0, 9.5, "a"),
    ]
    pairs, found = pairs_at(places)
    with pytest.raises(ValueError, match=r"00000 \(training\) and 00001 \(test\), 499"):
        audit_places(pairs, ["training", "test", "training"], found)
    with pytest.raises(ValueError, match="No recording may be in two splits.*a"):
        audit_places(pairs, ["training", "training", "test"], found)
    audit_places(pairs, ["training"] * 3, found)
    far = [places[0], Place("00001", 47.0 + 501 / DEGREE, 9.5, "b")]
    audit_places(pairs[:2], ["training", "test"], pairs_at(far)[1])
    # Another distance of the data set.
    wide = [*far[:1], Place("00001", 47.0 + 501 / DEGREE, 9.5, "b", 600.0)]
    with pytest.raises(ValueError, match="at least 600 m"):
        audit_places(pairs[:2], ["training", "test"], pairs_at(wide)[1])


def test_blocks_are_in_one_split_and_fractions_are_met():
    rng = np.random.default_rng(0)
    places = [
        Place(f"{n:05d}", rng.uniform(46, 48), rng.uniform(8, 11)) for n in range(2000)
    ]
    pairs, found = pairs_at(places)
    splits = split_by_block(pairs, found, seed=3)
    counts = collections.Counter(splits)
    for split, share in {"training": 0.7, "validation": 0.1, "test": 0.2}.items():
        assert counts[split] / 2000 == pytest.approx(share, abs=0.02)
        lakes = sum(
            s == split for p, s in zip(pairs, splits, strict=True) if p.scene == "lake"
        )
        assert lakes / 1000 == pytest.approx(share, abs=0.03)
    # Rows of the grid are 10 km high: places of two rows are in one block if both
    # are within the same 10 km.
    north = np.array([place.latitude for place in places]) * DEGREE
    east = np.array([place.longitude for place in places])
    parts = np.array(splits)
    order = np.lexsort((east, np.floor(north / 10_000)))
    changes = (parts[order][1:] != parts[order][:-1]).mean()
    # Of independent places 46 % of neighbours would be in two splits.
    assert changes < 0.25
    assert split_by_block(pairs, found, seed=3) == splits
    assert split_by_block(pairs, found, seed=4) != splits
    assert set(split_by_block(pairs, found, 1.0, 0.0)) == {"training"}


def test_a_site_across_blocks_is_in_one_split():
    places = [Place("00000", 47 + n / 50, 9.5) for n in range(50)]
    pairs, found = pairs_at(places)
    assert len(set(split_by_block(pairs, found, 0.5, 0.2, block_kilometres=1))) == 1
    with pytest.raises(ValueError, match="needs the coordinates of every pair"):
        split_by_block(pairs, {})


def data_set(folder, places):
    """A folder of empty pairs with their sites.csv."""
    stems = [f"{n:05d}" for n in range(len(places))]
    for name, ending in (("vision", "jpg"), ("sound", "wav")):
        (folder / name / "lake").mkdir(parents=True)
        for stem in stems:
            (folder / name / "lake" / f"{stem}.{ending}").write_bytes(b"content")
    pairs = [Pair(stem, "lake", "", "", "") for stem in stems]
    write_places(folder, pairs, dict(zip(stems, places, strict=True)))
    return DataConfig(data_dir=str(folder))


def test_sites_csv_determines_the_sites_of_a_split(tmp_path):
    places = [Place(f"{n // 4:05d}", 40 + n // 4, 9.5, f"{n}.wav") for n in range(40)]
    config = data_set(tmp_path / "a", places)
    assert read_places(tmp_path / "a")["00007"] == places[7]
    manifest = make_manifest(config)
    # By name there would be 40 sites.
    assert len({pair.site for pair in manifest.pairs}) == 10
    manifest.save(tmp_path / "manifest.csv")
    assert type(manifest).load(tmp_path / "manifest.csv") == manifest
    block = make_manifest(DataConfig(data_dir=config.data_dir, split_protocol="block"))
    assert block.protocol == "block"
    assert len(block.pairs_of("training")) == 28


def test_a_split_with_near_sites_is_refused(tmp_path):
    near = [Place(f"{n:05d}", 47 + n * 300 / DEGREE, 9.5) for n in range(10)]
    with pytest.raises(ValueError, match="at least 500 m apart"):
        make_manifest(data_set(tmp_path / "a", near))


def test_a_table_of_sites_that_is_not_valid(tmp_path):
    assert read_places(tmp_path) == {}
    for text, message in (
        ("stem,latitude\n1,2\n", "it lacks longitude"),
        ("stem,latitude,longitude\n00001,north,9\n", "line 2.*numbers"),
        ("stem,latitude,longitude\n00001,95,9\n", "line 2.*95"),
        ("stem,site,latitude,longitude\n00001,ab,5,9\n", "line 2.*'ab'"),
        ("stem,latitude,longitude\n00001,5,9\n00001,6,9\n", "line 3.*'00001' again"),
    ):
        (tmp_path / "sites.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_places(tmp_path)


def test_stems_are_compared_in_one_form_of_unicode(tmp_path):
    stem = "00001_for\u00eat"
    other = unicodedata.normalize("NFD", stem)
    rows = f"stem,latitude,longitude\n{other},5,9\n"
    (tmp_path / "sites.csv").write_text(rows, encoding="utf-8")
    pair = Pair(stem, "lake", "00001", "", "")
    assert places_of([pair], tmp_path) == {stem: Place("00001", 5.0, 9.0)}
    (tmp_path / "sites.csv").write_text(f"{rows}{stem},6,9\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 3: a stem may have one row"):
        read_places(tmp_path)


@pytest.mark.parametrize("protocol", ["site", "pair", "published"])
def test_a_table_of_other_stems_is_refused(tmp_path, protocol, caplog):
    """As of a file with endings, which would leave out the audit."""
    stems = ("00063_1", "00063_2")  # Of ADVANCE, in the published training split.
    write_pair_files(tmp_path, *(f"airport/{stem}" for stem in stems))
    config = DataConfig(
        data_dir=str(tmp_path),
        split_protocol=protocol,
        train_fraction=0.7 if protocol == "published" else 1.0,
        validation_fraction=0.1 if protocol == "published" else 0.0,
        allow_missing=True,
    )
    header = "stem,site,latitude,longitude\n"
    (tmp_path / "sites.csv").write_text(f"{header}00063_1.jpg,00063,5,9\n")
    with pytest.raises(ValueError, match=r"1 rows have none of 2, but '00063_1\.jpg'"):
        make_manifest(config)
    (tmp_path / "sites.csv").write_text(header)
    with pytest.raises(ValueError, match="0 rows have none of 2, but no stem"):
        make_manifest(config)
    (tmp_path / "sites.csv").write_text(f"{header}00063_1,00063,5,9\n")
    with caplog.at_level(logging.WARNING, places_of.__module__):
        assert len(make_manifest(config).pairs) == 2
    assert caplog.text.count("lacks 1 of 2 pairs, such as 00063_2") == 1


def test_a_manifest_may_have_none_of_the_pairs_of_a_partial_table(tmp_path, caplog):
    config = data_set(tmp_path, [Place(f"{n:05d}", 47 + n, 9) for n in range(4)])
    whole = make_manifest(config)
    part = Manifest(whole.pairs[1:], whole.splits[1:], "site", 0)
    rows = (tmp_path / "sites.csv").read_text().splitlines()
    (tmp_path / "sites.csv").write_text("\n".join(rows[:2]))
    assert whole.pairs[0].stem in rows[1]
    assert load_advance(tmp_path, manifest=part).manifest is part
    found = find_manifest(tmp_path / "run", Config(data=config), part)
    assert found is part
    assert "lacks" not in caplog.text


def test_the_published_split_is_audited_by_distance(tmp_path):
    stem_of = {}
    with labels.asset_path("advance_split_seed0.csv").open() as file:
        for row in csv.DictReader(file):
            stem_of.setdefault(row["split"], (row["scene"], row["stem"]))
    keys = [stem_of[split] for split in ("training", "test")]
    write_pair_files(tmp_path, *("/".join(key) for key in keys))
    pairs = [Pair(stem, scene, stem[:5], "", "") for scene, stem in keys]
    assert splits.published_split(pairs, allow_missing=True) == ("training", "test")
    rows = [f"{stem},{47 + n * 400 / DEGREE},9" for n, (_, stem) in enumerate(keys)]
    (tmp_path / "sites.csv").write_text("\n".join(["stem,latitude,longitude", *rows]))
    config = DataConfig(
        data_dir=str(tmp_path), split_protocol="published", allow_missing=True
    )
    with pytest.raises(ValueError, match="at least 500 m apart.*400 m"):
        make_manifest(config)


def test_the_audit_allows_the_rounding_of_the_table(tmp_path):
    """Places 500.001 m apart are two sites, also after 7 decimals of a degree."""
    rng = np.random.default_rng(0)
    for number in range(20):
        latitude = 47 + rng.random()
        places = [
            Place("00000", latitude, 9.5),
            Place("00001", latitude + 500.001 / DEGREE, 9.5),
        ]
        sites = cluster_places([p.latitude for p in places], [9.5, 9.5])
        assert sites.tolist() == [0, 1]
        pairs, found = pairs_at(places)
        folder = tmp_path / str(number)
        folder.mkdir()
        write_places(folder, pairs, found)
        audit_places(pairs, ["training", "test"], read_places(folder))
    near = pairs_at([places[0], Place("00001", latitude + 499.97 / DEGREE, 9.5)])[1]
    with pytest.raises(ValueError, match="at least 500 m apart"):
        audit_places(pairs, ["training", "test"], near)
