"""Folds by site: no site in two folds, scenes spread evenly, and no test pairs."""

import collections

import pytest

from advance_tf import labels
from advance_tf.data.manifest import Manifest
from advance_tf.data.splits import TRAINING, split_by_site
from advance_tf.experiments.folds import (
    cross_validation,
    site_ratio,
    split_into_folds,
    training_folds,
)
from tests.data.factories import create_pairs

FOLDS = 5


@pytest.fixture(scope="module")
def manifest():
    """Scenes of 10 to 22 sites, with one to three pairs each."""
    stems, site = {}, 0
    for number, scene in enumerate(labels.scenes()):
        own = range(site, site + 10 + number)
        site = own.stop
        stems[scene] = [f"{n:05d}_{k}" for n in own for k in range(1 + number % 3)]
    pairs = tuple(create_pairs(stems))
    return Manifest(pairs, split_by_site(pairs), "site", 0)


def sites_of(manifest, split):
    return {pair.site for pair in manifest.pairs_of(split)}


def test_every_site_is_in_one_fold_and_the_scenes_are_spread(manifest):
    fold_of = split_into_folds(manifest.pairs, FOLDS)
    folds = collections.defaultdict(set)
    counts = collections.Counter()
    for pair, fold in zip(manifest.pairs, fold_of, strict=True):
        folds[pair.site].add(int(fold))
        counts[pair.scene, int(fold)] += 1
    assert {len(found) for found in folds.values()} == {1}
    for scene in labels.scenes():
        of_scene = [counts[scene, fold] for fold in range(FOLDS)]
        # At most two sites of three pairs more or less than an even spread.
        assert max(of_scene) - min(of_scene) <= 6
    assert split_into_folds(manifest.pairs, FOLDS).tolist() == fold_of.tolist()
    assert split_into_folds(manifest.pairs, FOLDS, 1).tolist() != fold_of.tolist()


def test_each_site_is_tested_once(manifest):
    manifests = cross_validation(manifest, FOLDS)
    tested = [sites_of(each, "test") for each in manifests]
    assert set().union(*tested) == sites_of(manifest, "all")
    assert sum(map(len, tested)) == len(sites_of(manifest, "all"))
    for each in manifests:
        assert each.pairs == manifest.pairs
        sizes = [len(sites_of(each, split)) for split in ("training", "validation")]
        share = sizes[1] / len(sites_of(manifest, "all"))
        assert 0.03 < share <= 0.1
        training = {pair.scene for pair in each.pairs_of("training")}
        assert training == set(labels.scenes())
    ratio = sum(
        len(sites_of(each, "test")) / len(sites_of(each, "training"))
        for each in manifests
    )
    assert site_ratio(manifests) == pytest.approx(ratio / FOLDS)


def test_folds_of_the_training_split_have_no_other_pair(manifest):
    training = set(manifest.pairs_of("training"))
    manifests = training_folds(manifest, FOLDS)
    held_out = []
    for each in manifests:
        assert set(each.pairs) == training
        assert set(each.splits) == {"training", "validation"}
        held_out += sites_of(each, "validation")
        with pytest.raises(ValueError, match="the manifest has none"):
            each.pairs_of("test")
    assert sorted(held_out) == sorted(sites_of(manifest, "training"))


def test_impossible_folds_are_refused():
    pairs = create_pairs({"lake": ["00001", "00002"], "beach": ["00003"]})
    with pytest.raises(ValueError, match="folds must be at least 2; received 1"):
        split_into_folds(pairs, 1)
    with pytest.raises(ValueError, match="received 3 sites for 4 folds"):
        split_into_folds(pairs, 4)
    text = "beach are in one of 2. Add sites of the scene, or use another number of `f"
    with pytest.raises(ValueError, match=f"all sites of {text}olds`"):
        split_into_folds(pairs, 2)
    pairs = create_pairs({"lake": ["00001", "00002"], "beach": ["00003", "00004"]})
    with pytest.raises(ValueError, match=r"the largest, \w+, has 2. Lower `folds`"):
        split_into_folds(pairs, 3)
    manifest = Manifest(tuple(pairs), (TRAINING,) * 4, "site", 0)
    with pytest.raises(ValueError, match="has 2. Lower `grid_folds`"):
        training_folds(manifest, 3)


@pytest.mark.parametrize("count", [10, 28])
def test_no_validation_site_is_lost_by_rounding(count):
    """1/9 of the 9 other sites is one, of 25 or 26 it is two."""
    pairs = tuple(create_pairs({"lake": [f"{n:05d}" for n in range(count)]}))
    manifest = Manifest(pairs, (TRAINING,) * count, "site", 0)
    for each in cross_validation(manifest, 10):
        others = count - each.splits.count("test")
        assert each.splits.count("validation") == others // 9
