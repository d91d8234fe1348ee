"""The manifest: CSV, hash, audit, and the scan of a folder."""

import dataclasses
import hashlib
import logging

import pytest

from advance_tf.config import DataConfig
from advance_tf.data import manifest as manifest_module
from advance_tf.data.manifest import Manifest, make_manifest
from tests.data.factories import create_pairs, write_files, write_pair_files

HEADER = "stem,scene,site,split,image,sound,protocol,split_seed\n"
ROWS = (
    "00001,lake,00001,training,vision/lake/00001.jpg,sound/lake/00001.wav,site,3\n"
    "00001_1,lake,00001,training,vision/lake/00001_1.jpg,sound/lake/00001_1.wav,site,3\n"
    "00002,sports land,00002,test,vision/sports land/00002.jpg,"
    "sound/sports land/00002.wav,site,3\n"
)


def create_manifest(protocol="site", splits=("training", "training", "test")):
    pairs = create_pairs({"lake": ["00001", "00001_1"], "sports land": ["00002"]})
    return Manifest(tuple(pairs), tuple(splits), protocol, 3)


def test_the_csv_is_canonical_and_is_read_back(tmp_path):
    path = tmp_path / "runs" / "manifest.csv"
    create_manifest().save(path)
    assert path.read_bytes() == (HEADER + ROWS).encode()
    assert Manifest.load(path) == create_manifest()
    assert create_manifest().sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_csv_of_several_parts_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_module, "_PART_ROWS", 2)
    test_the_csv_is_canonical_and_is_read_back(tmp_path)


def test_line_endings_and_a_byte_order_mark_do_not_change_the_hash(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + ROWS).replace("\n", "\r\n").encode())
    assert Manifest.load(path).sha256 == create_manifest().sha256


def test_positions_of_a_split_may_be_none():
    manifest = create_manifest()
    for split in ("training", "test", "all"):
        found = [manifest.pairs[position] for position in manifest.positions(split)]
        assert found == manifest.pairs_of(split)
    assert manifest.positions("validation") == []
    with pytest.raises(ValueError, match="split"):
        manifest.positions("train")


def test_pairs_of_a_split():
    assert [pair.stem for pair in create_manifest().pairs_of("training")] == [
        "00001",
        "00001_1",
    ]
    assert [pair.stem for pair in create_manifest().pairs_of("all")] == [
        "00001",
        "00001_1",
        "00002",
    ]
    with pytest.raises(ValueError, match="`split='validation'` must have pairs"):
        create_manifest().pairs_of("validation")
    with pytest.raises(
        ValueError, match="^split must be one of training, .*received train"
    ):
        create_manifest().pairs_of("train")


def test_a_site_in_two_splits_is_an_error(tmp_path):
    path = tmp_path / "manifest.csv"
    create_manifest(splits=("training", "test", "test")).save(path)
    with pytest.raises(ValueError, match=r"site.*00001 \(test, training\)"):
        Manifest.load(path)


def test_a_split_by_pair_may_share_sites_and_is_labelled(tmp_path):
    path = tmp_path / "manifest.csv"
    create_manifest("pair", splits=("training", "test", "test")).save(path)
    leaky = Manifest.load(path)
    assert leaky.label == "leaky: places shared between training and test"
    assert create_manifest().label == ""


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_a_file_in_two_splits_is_an_error_even_by_pair(kind):
    manifest = create_manifest("pair")
    first, *rest, last = manifest.pairs
    same = dataclasses.replace(last, **{kind: getattr(first, kind)})
    with pytest.raises(ValueError, match=f"No {kind} may be in two splits"):
        dataclasses.replace(manifest, pairs=(first, *rest, same)).audit()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stem,scene", "name,scene", "must be a manifest with the columns"),
        (ROWS, "", "at least one row"),
        ("lake,00001,training", "lake,1,training", "line 2: the site must be"),
        (",sports land,", ",volcano,", "scene must be one of .*received volcano"),
        (",test,", ",dev,", "split must be one of .*received dev"),
        ("site,3", "site,4", "line 3: protocol and split_seed must be the same"),
        ("sound/lake/00001.wav", "../00001.wav", "line 2: paths must be below"),
        ("vision/lake/00001.jpg", "/00001.jpg", "line 2: paths must be below"),
        (",site,3\n", ",site\n", "line 2: a row must have 8 values"),
        (",site,3", ",random,3", "protocol must be one of site, pair"),
        (",site,3", ",site,x", "split_seed must be an integer; received 'x'"),
        (
            "00002",
            "00001",
            "A stem may occur only once; received more than one of 00001",
        ),
    ],
)
def test_an_invalid_file_is_an_error(tmp_path, old, new, message):
    path = tmp_path / "manifest.csv"
    text = HEADER + ROWS
    if "line 3" in message:
        text = text.replace(old, new, 1)
    else:
        text = text.replace(old, new)
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        Manifest.load(path)
    assert str(path) in str(raised.value)


def test_every_pair_must_have_a_split():
    with pytest.raises(ValueError, match="received 2 for 3"):
        create_manifest(splits=("training", "test"))


def config(data_dir, **settings):
    return DataConfig(data_dir=str(data_dir), **settings)


def test_a_folder_is_scanned_and_split(tmp_path):
    keys = [f"lake/{site:05d}{k}" for site in range(10) for k in ("", "_1")]
    write_pair_files(tmp_path, *keys)
    manifest = make_manifest(config(tmp_path, split_seed=4))
    assert [f"{pair.scene}/{pair.stem}" for pair in manifest.pairs] == sorted(keys)
    sizes = {name: manifest.splits.count(name) for name in set(manifest.splits)}
    assert sizes == {"training": 14, "validation": 2, "test": 4}
    assert (manifest.protocol, manifest.split_seed) == ("site", 4)
    by_pair = make_manifest(config(tmp_path, split_protocol="pair"))
    assert by_pair.protocol == "pair"
    assert by_pair.splits != make_manifest(config(tmp_path)).splits


@pytest.mark.parametrize(
    ("name", "value"),
    [("split_seed", 1), ("train_fraction", 0.5), ("validation_fraction", 0.2)],
)
def test_the_published_split_takes_no_settings(tmp_path, name, value):
    write_pair_files(tmp_path, "airport/00063_1")
    settings = {"split_protocol": "published", "allow_missing": True}
    assert make_manifest(config(tmp_path, **settings)).splits == ("training",)
    with pytest.raises(ValueError, match=f"^{name} must be .*; received {value}"):
        make_manifest(config(tmp_path, **settings, **{name: value}))


def test_skipped_files_are_logged(tmp_path, caplog):
    write_pair_files(tmp_path, *(f"lake/{site:05d}" for site in range(10)))
    write_files(tmp_path, "vision/lake/00099.jpg")
    with pytest.raises(ValueError, match="vision/lake/00099.jpg"):
        make_manifest(config(tmp_path))
    with caplog.at_level(logging.WARNING, manifest_module.__name__):
        manifest = make_manifest(config(tmp_path, allow_missing=True))
    assert len(manifest.pairs) == 10
    assert "unpaired image (1): vision/lake/00099.jpg" in caplog.text


def test_an_empty_training_split_is_an_error(tmp_path):
    write_pair_files(tmp_path, "lake/00001")
    with pytest.raises(
        ValueError, match="train_fraction must leave pairs for training"
    ):
        make_manifest(config(tmp_path))


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="received an empty file and 0 rows"):
        Manifest.load(tmp_path / "manifest.csv")


def test_limits_of_the_split_are_stated():
    pairs = create_pairs({"lake": ["00001", "00002"], "beach": ["00003"]})
    assert not Manifest(tuple(pairs), ("training",) * 3, "site", 0).warnings
    order = [pair.scene for pair in pairs]
    splits = tuple("test" if scene == "beach" else "training" for scene in order)
    (warning,) = Manifest(tuple(pairs), splits, "site", 0).warnings
    assert warning.startswith("beach has no training pair")
    one = Manifest((pairs[-1],), ("training",), "site", 0)
    assert one.warnings[0].startswith("The data have one scene, lake")
