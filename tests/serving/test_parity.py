"""The encoded pairs for calibration and parity checks."""

import dataclasses
import itertools
from collections import Counter
from unittest import mock

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.config import Config
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.runs.workdir import Run
from advance_tf.serving import parity
from advance_tf.serving.parity import (
    Decoded,
    EncodedPairs,
    litert_skew,
    reference_probs,
)
from tests.serving.factories import create_source

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
    (block,) = EncodedPairs(run).blocks("test")
    assert [pair.image for pair in block] == [b"857.jpg"]
    assert EncodedPairs(run).scenes("test").tolist() == [0]
    blocks = list(EncodedPairs(run).blocks("training", 100))
    assert [len(each) for each in blocks] == [100] * (PAIRS // 100) + [PAIRS % 100]


def test_a_missing_file_is_named(run, tmp_path):
    with pytest.raises(ValueError, match=r"857\.jpg must exist"):
        EncodedPairs(dataclasses.replace(run, data_dir=tmp_path)).some("test", 1)


def sounds_and_probs(source, waveforms):
    """Pairs of these sounds, and their probabilities in memory."""
    side = source.features.image_size
    shape = (len(waveforms), side, side, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    decoded = Decoded(image, np.asarray(waveforms, np.float32))
    return decoded, reference_probs(source, decoded)


def shifted(expected, size):
    probs = expected["scene_probs"].astype(np.float64)
    probs[0, 0] += size
    return {"scene_probs": probs}


def measured(source, waveforms):
    """The rounding that the check measures on pairs of these sounds."""
    pairs = sounds_and_probs(source, waveforms)
    with pytest.raises(ValueError, match="4 times the rounding") as raised:
        litert_skew(source, *pairs, shifted(pairs[1], 0.5))
    text = str(raised.value).split("in memory, ")[1]
    return float(text.split(",")[0]), pairs


def test_litert_may_differ_as_far_as_a_log_mel_in_float32_rounds(monkeypatch):
    source = create_source()
    samples, rate_hz = source.features.clip_samples, source.features.sample_rate_hz
    times = np.arange(samples) / rate_hz
    noise = np.random.default_rng(0).normal(0, 0.1, (2, samples))
    rounding, pairs = measured(source, [np.sin(6.28 * hz * times) for hz in (440, 997)])
    without, others = measured(source, noise)
    # Beside a tone, bands of low energy are lost in float32.
    assert rounding > 10 * without
    monkeypatch.setattr(parity, "LITE_TOLERANCE", 1e-3 * rounding)
    skew = litert_skew(source, *pairs, shifted(pairs[1], 3 * rounding))
    assert skew["float32 LiteRT"] == pytest.approx(3 * rounding, rel=0.01)
    assert skew["rounding of float32 in memory"] == pytest.approx(rounding, rel=0.1)
    for (decoded, expected), size in ((pairs, 6), (others, 3)):
        with pytest.raises(ValueError, match=r"on these pairs\); by float32 LiteRT"):
            litert_skew(source, decoded, expected, shifted(expected, size * rounding))


def test_a_small_difference_of_litert_needs_no_measurement():
    source = create_source()
    pairs = sounds_and_probs(source, np.zeros((2, source.features.clip_samples)))
    assert len(litert_skew(source, *pairs, shifted(pairs[1], 9e-5))) == 1


@pytest.mark.parametrize("has_message", [True, False])
def test_a_layer_that_cannot_be_created_again_leaves_the_plain_tolerance(
    monkeypatch, has_message
):
    source = create_source()
    head = source.recognizer.get_layer("scene_head")
    settings = {**head.get_config(), "unknown": 1}
    monkeypatch.setattr(head, "get_config", lambda: settings)
    if not has_message:
        failing = mock.Mock(side_effect=TypeError)
        monkeypatch.setattr(parity, "rounding", failing)
    decoded, expected = sounds_and_probs(source, np.zeros((2, 160_000)))
    message = r"within 0.0001; by float32 .* could not be measured: .*\. Nothing was"
    with pytest.raises(ValueError, match=message):
        litert_skew(source, decoded, expected, shifted(expected, 2e-4))


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_nan_is_the_largest_difference(names):
    found = {"a": [0.5 + 1e-7], "b": [np.nan]}
    expected = {name: np.array([0.5]) for name in names}
    assert np.isnan(parity.largest_difference(expected, found))
