"""The encoded pairs that an export is calibrated and checked on."""

import itertools
from collections import Counter

import pytest

from advance_tf import labels
from advance_tf.config import Config
from advance_tf.data.layout import Pair
from advance_tf.data.manifest import Manifest
from advance_tf.training.provenance import Media
from advance_tf.training.workdir import Run

# 65 or 66 pairs of each scene.
PAIRS = 857


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 857 training pairs and a test pair, sorted; files hold their names."""
    folder = tmp_path_factory.mktemp("data")
    scenes = sorted(labels.scenes()[place % 13] for place in range(PAIRS))
    pairs = [
        Pair(f"{place:05d}", scene, f"{place:05d}", f"{place}.jpg", f"{place}.wav")
        for place, scene in enumerate([*scenes, scenes[0]])
    ]
    for pair in pairs:
        for name in (pair.image, pair.sound):
            (folder / name).write_bytes(name.encode())
    chosen = ("training",) * PAIRS + ("test",)
    return Run(folder, Config(), Manifest(pairs, chosen, "site", 0), None, "", "")


def places_of(run, split, number):
    """Places in the manifest of the pairs that are given."""
    found = Media(run, run.workdir, lambda image, sound: (image, sound)).some(
        split, number
    )
    places = [int(image.removesuffix(b".jpg")) for image, _ in found]
    assert [sound for _, sound in found] == [b"%d.wav" % place for place in places]
    return places


def test_some_pairs_are_of_every_scene_and_reach_the_end_of_the_list(run):
    places = places_of(run, "training", 100)
    assert places == sorted(set(places))
    assert len(places) == 100
    counts = Counter(run.manifest.pairs[place].scene for place in places)
    assert sorted(counts) == sorted(labels.scenes())
    assert set(counts.values()) == {7, 8}
    # A share is of 8 to 10 pairs; one of each, the last of the list among them.
    ends = [-1, *places, PAIRS]
    assert max(b - a for a, b in itertools.pairwise(ends)) <= 10
    assert sum(place >= PAIRS - 64 for place in places) >= 7


@pytest.mark.parametrize("number", [13, 26, 429])
def test_some_pairs_are_evenly_of_the_scenes(run, number):
    places = places_of(run, "training", number)
    counts = Counter(run.manifest.pairs[place].scene for place in places)
    assert sum(counts.values()) == number
    assert set(counts.values()) == {number // 13}


def test_a_split_with_fewer_pairs_gives_all(run):
    assert places_of(run, "test", 100) == [PAIRS]
    assert places_of(run, "training", 5000) == list(range(PAIRS))
    images, scenes = Media(run, run.workdir, lambda image, _: image).all("test")
    assert (images, scenes) == ([b"857.jpg"], [0])


def test_a_missing_file_is_named(run, tmp_path):
    with pytest.raises(ValueError, match=r"857\.jpg must exist"):
        Media(run, tmp_path, lambda *pair: pair).some("test", 1)
