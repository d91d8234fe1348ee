"""The cache stores decoded pairs exactly and detects changed sources."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from advance_tf.config import DataConfig, FeatureConfig
from advance_tf.config_variants import RESIZINGS
from advance_tf.data import cache as cache_module
from advance_tf.data.cache import PairCache
from advance_tf.data.dataset import make_dataset
from advance_tf.data.manifest import make_manifest
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.data.sampling import TrainingEpochs
from advance_tf.features.frontend import waveform_from_bytes
from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import log_mel_db

# The sounds last 1.5 s: they are repeated to 2 s, or cut to 1 s.
REPEATED = FeatureConfig(image_size=32, clip_seconds=2.0)
CUT = FeatureConfig(image_size=32, clip_seconds=1.0)


@pytest.fixture(scope="module")
def pairs(fabricated_advance):
    manifest = make_manifest(DataConfig(data_dir=str(fabricated_advance)))
    return manifest.pairs_of("all")[::25]


@pytest.fixture
def copied_data(fabricated_advance, pairs, tmp_path):
    """A copy of the pairs' files that a test may modify."""
    for pair in pairs:
        for name in (pair.image, pair.sound):
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(fabricated_advance / name, tmp_path / "data" / name)
    return tmp_path / "data"


def fill(cache, pairs, data_dir):
    return cache.fill(pairs, data_dir, progress=False)


@pytest.mark.parametrize(("features", "is_long"), [(REPEATED, False), (CUT, True)])
def test_stores_image_log_mel_and_length(
    pairs, fabricated_advance, tmp_path, features, is_long
):
    cache = PairCache(tmp_path, features)
    assert fill(cache, pairs, fabricated_advance) == len(pairs)
    read = tf.function(cache.read)
    for pair in pairs:
        path = tf.constant(str(cache.path(pair, fabricated_advance)))
        image, log_mel, found_long = read(path)
        contents = (fabricated_advance / pair.image).read_bytes()
        np.testing.assert_array_equal(image, decode_image(contents, 32))
        contents = (fabricated_advance / pair.sound).read_bytes()
        expected = log_mel_db(waveform_from_bytes(contents, features), features)
        np.testing.assert_allclose(log_mel, expected, atol=1e-4)
        assert bool(found_long) == is_long
    paths = cache.path_rows(pairs, fabricated_advance)
    assert cache.has_long_recordings(paths) == is_long


def test_training_reads_a_repeated_sound_from_the_cache(pairs, copied_data, tmp_path):
    """Only a long recording is decoded again; here the recordings are removed."""
    cache = PairCache(tmp_path / "cache", REPEATED)
    fill(cache, pairs, copied_data)

    files = PairFiles(pairs, copied_data, REPEATED, cache=cache)
    datasets = [
        make_dataset(files, 2, training=training)
        for training in (None, TrainingEpochs())
    ]
    for pair in pairs:
        os.remove(copied_data / pair.sound)
    for dataset in datasets:
        assert sum(len(targets["scene"]) for _, targets in dataset) == len(pairs)


def test_one_long_recording_among_repeated_ones_is_cut_at_random(tmp_path):
    pairs = []
    for number, seconds in enumerate((0.5, 0.5, 4.0)):
        pair = Pair(f"{number}", "lake", f"{number}", f"{number}.png", f"{number}.wav")
        (tmp_path / pair.image).write_bytes(
            tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy()
        )
        wave = np.random.default_rng(number).normal(0, 0.1, int(16_000 * seconds))
        soundfile.write(tmp_path / pair.sound, wave, 16_000)
        pairs.append(pair)
    cache = PairCache(tmp_path / "cache", REPEATED)
    fill(cache, pairs, tmp_path)
    assert cache.has_long_recordings(cache.path_rows(pairs, tmp_path))
    assert not cache.has_long_recordings(cache.path_rows(pairs[:2], tmp_path))
    files = PairFiles(pairs, tmp_path, REPEATED, cache=cache)
    dataset = make_dataset(files, 3, training=TrainingEpochs(), rows=range(3))
    centre = make_dataset(files, 3)
    (trained, _), (evaluated, _) = next(iter(dataset)), next(iter(centre))
    gaps = np.abs(trained["log_mel"] - evaluated["log_mel"]).max(axis=(1, 2))
    assert (gaps > 1e-3).tolist() == [False, False, True]


@pytest.mark.parametrize("changed", ["image", "sound"])
def test_a_source_with_another_time_is_decoded_again(
    pairs, copied_data, tmp_path, changed
):
    cache = PairCache(tmp_path / "cache", CUT)
    assert fill(cache, pairs, copied_data) == len(pairs)
    assert fill(cache, pairs, copied_data) == 0
    source = copied_data / getattr(pairs[1], changed)
    before = source.stat()
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
    assert fill(cache, pairs, copied_data) == 1


def test_settings_have_separate_files_but_statistics_share_them(
    pairs, copied_data, tmp_path
):
    cache = PairCache(tmp_path / "cache", CUT)
    fill(cache, pairs, copied_data)
    stats = dataclasses.replace(CUT, log_mel_stats="stats.csv")
    assert fill(PairCache(tmp_path / "cache", stats), pairs, copied_data) == 0
    for change in ({"image_size": 40}, {"clip_seconds": 2.0}, {"mel_bins": 32}):
        other = PairCache(tmp_path / "cache", dataclasses.replace(CUT, **change))
        assert fill(other, pairs, copied_data) == len(pairs)
        assert fill(cache, pairs, copied_data) == 0


def test_an_interrupted_fill_is_resumed(pairs, copied_data, tmp_path, monkeypatch):
    cache = PairCache(tmp_path / "cache", CUT)
    real, written = cache_module.replacing, []

    def interrupted(path):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        return real(path)

    monkeypatch.setattr(cache_module, "replacing", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(cache, pairs, copied_data)
    monkeypatch.undo()
    files = sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert files == sorted(written)
    assert fill(cache, pairs, copied_data) == len(pairs) - 2


def test_pairs_before_a_broken_sound_are_kept_and_the_error_names_it(
    pairs, copied_data, tmp_path
):
    broken = copied_data / pairs[3].sound
    contents = broken.read_bytes()
    broken.write_bytes(contents[:-20])
    cache = PairCache(tmp_path / "cache", CUT)
    with pytest.raises(ValueError, match="truncated") as raised:
        fill(cache, pairs, copied_data)
    assert str(broken) in str(raised.value)
    kept = [cache.path(pair, copied_data).exists() for pair in pairs]
    assert kept == [True] * 3 + [False] * (len(pairs) - 3)
    broken.write_bytes(contents)
    assert fill(cache, pairs, copied_data) == len(pairs) - 3


def test_the_error_names_a_missing_source(pairs, copied_data, tmp_path):
    missing = copied_data / pairs[2].image
    missing.unlink()
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        fill(PairCache(tmp_path / "cache", CUT), pairs, copied_data)
    assert str(missing) in str(raised.value)


def test_caches_of_earlier_versions_are_decoded_again(tmp_path):
    """Their files have no fingerprint."""
    earlier = FeatureConfig(log_mel_precision="float64", image_resize="bilinear")
    assert PairCache(tmp_path, earlier).folder.name != "cf998219a4603ce7"
    folders = {
        PairCache(tmp_path, dataclasses.replace(earlier, image_resize=method)).folder
        for method in RESIZINGS
    }
    assert len(folders) == len(RESIZINGS)


def test_a_damaged_cache_file_is_named_with_a_way_out(pairs, copied_data, tmp_path):
    cache = PairCache(tmp_path / "cache", CUT)
    fill(cache, pairs, copied_data)
    path = cache.path(pairs[1], copied_data)
    contents = path.read_bytes()
    files = PairFiles(pairs, copied_data, CUT, cache=cache)
    dataset = make_dataset(files, 2)
    damaged = [("it has", contents[:-7])]
    # A bit in the log-mel, the image, the mark of long recordings, the fingerprint.
    for place in (1, len(contents) - 100, len(contents) - 9, len(contents) - 1):
        changed = bytearray(contents)
        changed[place] ^= 1
        damaged.append(("it is damaged", bytes(changed)))
    for problem, found in damaged:
        path.write_bytes(found)
        rule = f"The cache file {path} must be a valid file of .*; {problem}"
        with pytest.raises(ValueError, match=f"{rule}.* Remove it; the next run"):
            with files.errors():
                list(dataset)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{path} must be complete; it has 0 bytes"):
        cache.has_long_recordings(cache.path_rows(pairs[1:2], copied_data))
    path.write_bytes(contents)
    assert len(list(dataset)) == -(-len(pairs) // 2)


def test_a_bmp_of_an_earlier_cache_is_decoded_again(pairs, copied_data, tmp_path):
    pair = dataclasses.replace(pairs[0], image="vision/a.bmp")
    shutil.copy(copied_data / pairs[0].image, copied_data / pair.image)
    names = [cache_module._source_keys([one], copied_data) for one in (pairs[0], pair)]
    sources = []
    for name in (pair.image, pair.sound):
        path = copied_data.resolve() / name
        status = path.stat()
        sources.append([str(path), status.st_size, status.st_mtime_ns])
    before = cache_module._digest(json.dumps(sources))
    found = [next(name) for name in names]
    assert before != found[1]
    assert found[0] != found[1]
