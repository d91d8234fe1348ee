"""The encoded pairs for calibration and parity checks."""

import dataclasses
import itertools
from collections import Counter

import pytest

from advance_tf import labels
from advance_tf.config import Config
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.runs.workdir import Run
from advance_tf.serving.parity import EncodedPairs

# 65 or 66 pairs of each scene.
PAIRS = 857


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 857 training pairs and a test pair, sorted; files contain their name."""
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
    manifest = Manifest(tuple(pairs), chosen, "site", 0)
    return Run(folder, Config(), manifest, None, "", None, folder)


def places_of(run, split, number):
    """Positions in the manifest of the pairs of `some`."""
    found = EncodedPairs(run).some(split, number)
    places = [int(image.removesuffix(b".jpg")) for image, _ in found]
    assert [sound for _, sound in found] == [b"%d.wav" % place for place in places]
    return places


def test_some_pairs_cover_every_scene_and_the_end_of_the_list(run):
    places = places_of(run, "training", 100)
    assert places == sorted(set(places))
    assert len(places) == 100
    counts = Counter(run.manifest.pairs[place].scene for place in places)
    assert sorted(counts) == sorted(labels.scenes())
    assert set(counts.values()) == {7, 8}
    # One pair of each run of 8 to 10 pairs, also of the last one.
    ends = [-1, *places, PAIRS]
    assert max(b - a for a, b in itertools.pairwise(ends)) <= 10
    assert sum(place >= PAIRS - 64 for place in places) >= 7


@pytest.mark.parametrize("number", [13, 26, 429])
def test_some_pairs_are_spread_evenly_over_the_scenes(run, number):
    places = places_of(run, "training", number)
    counts = Counter(run.manifest.pairs[place].scene for place in places)
    assert sum(counts.values()) == number
    assert set(counts.values()) == {number // 13}


def test_a_smaller_split_is_returned_completely(run):
    assert places_of(run, "test", 100) == [PAIRS]
    assert places_of(run, "training", 5000) == list(range(PAIRS))
    images, scenes = EncodedPairs(run).all("test")
    assert [pair.image for pair in images] == [b"857.jpg"]
    assert scenes.tolist() == [0]


def test_a_missing_file_is_named(run, tmp_path):
    with pytest.raises(ValueError, match=r"857\.jpg must exist"):
        EncodedPairs(dataclasses.replace(run, data_dir=tmp_path)).some("test", 1)
