"""Splits: exact sizes in each scene, no shared site, the same on every machine."""

import collections
import csv
import hashlib
import json
import random

import pytest

from advance_tf import labels
from advance_tf.data import pairing, splits
from tests.data.factories import create_pairs
from tests.imports import ROOT

STEMS = ROOT / "tests/golden/advance_stems.json"


def sites_of(pairs, assigned):
    """The sites of each split of each scene."""
    found = collections.defaultdict(lambda: collections.defaultdict(set))
    for pair, split in zip(pairs, assigned, strict=True):
        found[pair.scene][split].add(pair.site)
    return found


def check_by_site(pairs, seed=0):
    """Checks the sizes floor(0.7 n), floor(0.1 n), rest, and that no site is shared."""
    assigned = splits.split_by_site(pairs, 0.7, 0.1, seed)
    found = sites_of(pairs, assigned)
    for scene in found:
        sites = {pair.site for pair in pairs if pair.scene == scene}
        training, validation = 7 * len(sites) // 10, len(sites) // 10
        sizes = [len(found[scene][split]) for split in splits.SPLITS]
        assert sizes == [training, validation, len(sites) - training - validation]
    by_split = [
        set().union(*(s[split] for s in found.values())) for split in splits.SPLITS
    ]
    assert not by_split[0] & by_split[1]
    assert not by_split[0] & by_split[2]
    assert not by_split[1] & by_split[2]
    return assigned


def create_advance_sized_pairs():
    """Pairs with the numbers of sites and pairs of ADVANCE's scenes."""
    stems, site = {}, 0
    with labels.asset_path("scenes.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            pairs, sites = int(row["pairs"]), int(row["sites"])
            stems[row["scene"]] = [
                f"{site + k % sites:05d}_{k // sites}" for k in range(pairs)
            ]
            site += sites
    return create_pairs(stems)


def test_sizes_for_the_numbers_of_advance():
    pairs = create_advance_sized_pairs()
    assert len(pairs) == 5075
    assert len({pair.site for pair in pairs}) == 2696
    check_by_site(pairs)


def test_the_stems_of_advance():
    stems = json.loads(STEMS.read_text(encoding="utf-8"))
    pairs = create_pairs(stems)
    assert len(pairs) == 5075
    assert sorted(stems) == list(labels.scenes())
    scenes_of = collections.defaultdict(set)
    for pair in pairs:
        scenes_of[pair.site].add(pair.scene)
    # 2,696 is both the sum over scenes and the number of different sites.
    assert len(scenes_of) == 2696
    assert all(len(scenes) == 1 for scenes in scenes_of.values())
    assert check_by_site(pairs, 0) != check_by_site(pairs, 1)


def test_sites_are_ordered_by_their_hash():
    pairs = create_pairs({"lake": [f"{site:05d}" for site in range(10)]})
    assigned = splits.split_by_site(pairs, 0.7, 0.1, seed=5)
    order = sorted(
        range(10),
        key=lambda site: hashlib.sha256(b"5:lake:%05d" % site).hexdigest(),
    )
    expected = ["test"] * 10
    for site in order[:7]:
        expected[site] = "training"
    expected[order[7]] = "validation"
    assert list(assigned) == expected


def test_the_order_of_the_files_does_not_matter():
    pairs = create_advance_sized_pairs()
    shuffled = random.Random(1).sample(pairs, len(pairs))
    for split in (splits.split_by_site, splits.split_by_pair):
        split_of = dict(zip(pairs, split(pairs), strict=True))
        assert split(shuffled) == tuple(split_of[pair] for pair in shuffled)


@pytest.mark.parametrize("split", [splits.split_by_site, splits.split_by_pair])
def test_the_split_of_a_seed_never_changes(split):
    """Other versions and machines must reproduce a manifest."""
    text = ",".join(split(create_advance_sized_pairs(), seed=7))
    assert (
        hashlib.sha256(text.encode()).hexdigest()[:16]
        == {
            splits.split_by_site: "fb2414643606582f",
            splits.split_by_pair: "824e1b5a0f10ba37",
        }[split]
    )


@pytest.mark.parametrize("count", [1, 9, 10, 20, 30, 100, 1000])
def test_floors_are_those_of_the_decimal_fractions(count):
    pairs = create_pairs({"lake": [f"{site:05d}" for site in range(count)]})
    # 0.29 * 100 and 0.57 * 100 are less than 29 and 57 in binary floating point.
    for percent in (10, 29, 30, 57, 60, 70, 90):
        sizes = collections.Counter(splits.split_by_site(pairs, percent / 100, 0.0))
        assert sizes["training"] == percent * count // 100
        assert sizes["validation"] == 0


def test_a_site_in_two_scenes_is_in_one_split_only():
    shared = {f"{site:05d}" for site in range(0, 40, 2)}
    stems = {
        "airport": [f"{site:05d}" for site in range(40)],
        "lake": [f"{site}_1" for site in sorted(shared)]
        + [f"{site:05d}" for site in range(40, 60)],
    }
    pairs = create_pairs(stems)
    splits_of = collections.defaultdict(set)
    for pair, split in zip(pairs, splits.split_by_site(pairs), strict=True):
        splits_of[pair.site].add(split)
    assert all(len(found) == 1 for found in splits_of.values())
    lake = [next(iter(splits_of[f"{site:05d}"])) for site in range(40, 60)]
    # 20 sites count for the lake; the other 20 count for the airport.
    assert collections.Counter(lake) == {"training": 14, "validation": 2, "test": 4}


def test_a_split_by_pair_has_exact_sizes_and_leaks_sites():
    pairs = create_advance_sized_pairs()
    assigned = splits.split_by_pair(pairs, 0.7, 0.1, seed=0)
    for scene in labels.scenes():
        sizes = collections.Counter(
            split
            for pair, split in zip(pairs, assigned, strict=True)
            if pair.scene == scene
        )
        count = sum(sizes.values())
        assert sizes["training"] == 7 * count // 10
        assert sizes["validation"] == count // 10
    found = sites_of(pairs, assigned)["airport"]
    assert found["training"] & found["test"]


@pytest.mark.parametrize("fractions", [(0.0, 0.1), (1.1, 0.0), (0.7, 0.4), (0.7, -0.1)])
def test_fractions_out_of_range_are_an_error(fractions):
    with pytest.raises(ValueError, match="^train_fraction must be in"):
        splits.split_by_site(create_pairs({"lake": ["00001"]}), *fractions)


def create_numbered_pairs(**counts):
    """Pairs with the stems a0, a1, … of each scene, from scene → number of pairs."""
    return [
        pairing.Pair(f"{scene}{n}", scene, scene, "", "")
        for scene, count in counts.items()
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "stems"),
    [
        (1, ["c1"]),
        (2, ["b0", "d2"]),
        (4, ["a1", "b0", "c1", "d2"]),
        (6, ["a0", "a2", "b0", "c1", "d1", "d3"]),
        (9, ["a0", "a1", "a2", "b0", "c0", "c2", "d0", "d2", "d4"]),
    ],
)
def test_pairs_are_spread_over_scenes(count, stems):
    found = splits.spread_over_scenes(create_numbered_pairs(a=3, b=1, c=3, d=5), count)
    assert [pair.stem for pair in found] == stems


def test_all_pairs_are_selected_if_there_are_fewer():
    every = create_numbered_pairs(a=2, b=1)
    assert splits.spread_over_scenes(every, 10) == every


def read_published():
    """Rows of the published split: (scene, stem) → split, in the file's order."""
    path = labels.asset_path("advance_split_seed0.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (row["scene"], row["stem"]): row["split"] for row in csv.DictReader(file)
        }


def test_the_published_split_is_that_of_the_splitter_for_the_stems_of_advance():
    published = read_published()
    pairs = create_pairs(json.loads(STEMS.read_text(encoding="utf-8")))
    assert [(pair.scene, pair.stem) for pair in pairs] == list(published)
    assigned = splits.split_by_site(pairs)
    assert assigned == tuple(published.values())
    assert splits.published_split(pairs) == assigned
    assert collections.Counter(assigned) == {
        "training": 3539,
        "validation": 482,
        "test": 1054,
    }


def test_the_published_split_keeps_its_pairs_where_others_are_missing():
    pairs = create_pairs(json.loads(STEMS.read_text(encoding="utf-8")))[::3]
    expected = read_published()
    assert splits.published_split(pairs, allow_missing=True) == tuple(
        expected[pair.scene, pair.stem] for pair in pairs
    )
    with pytest.raises(ValueError, match=r"received fewer; 3383 are missing: airport"):
        splits.published_split(pairs)


def test_other_pairs_have_no_published_split():
    pairs = create_pairs({"lake": ["99999"]})
    with pytest.raises(ValueError, match="received others: lake/99999; 5075 are mis"):
        splits.published_split(pairs, allow_missing=True)
