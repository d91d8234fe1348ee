"""Shards read like the folder that they were written from."""

import json
import os
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.checksums import file_sha256
from advance_tf.config import FeatureConfig
from advance_tf.data.advance import load_advance
from advance_tf.data.layout import read_notice, scan
from advance_tf.data.media_errors import media_errors
from advance_tf.data.shards import open_shards, write_shards
from advance_tf.data.synthetic.pairs import write_pairs
from advance_tf.features.frontend import Frontend
from advance_tf.inference.examples import find_examples
from advance_tf.parts import Shard

FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "folder"
    write_pairs(folder, sites_per_scene=1, progress=False)
    return folder


@pytest.fixture
def shards(folder, tmp_path):
    path = tmp_path / "shards"
    pairs = scan(folder).pairs
    # Two processes: the first leaves the index to the second.
    assert write_shards(folder, pairs, path, shard=Shard(1, 2), pairs_per_file=10) == 2
    assert not (path / "shards.json").exists()
    assert write_shards(folder, pairs, path, shard=Shard(0, 2), pairs_per_file=10) == 0
    return path


def batches(data_dir, cache_dir=None, epochs=2):
    dataset = load_advance(data_dir, train_fraction=1, validation_fraction=0)
    found = dataset.as_tf_dataset(
        "training", FEATURES, batch_size=4, seed=3, cache_dir=cache_dir
    )
    return dataset, [batch for _ in range(epochs) for batch in found]


def test_manifest_and_batches_are_those_of_the_folder(folder, shards, tmp_path):
    dataset, expected = batches(folder)
    sharded, received = batches(shards)
    assert sharded.manifest.sha256 == dataset.manifest.sha256
    assert read_notice(shards) == read_notice(folder) != ""
    _, cached = batches(shards, tmp_path / "cache")
    for found in (received, cached):
        assert len(found) == len(expected) == 12
        for (inputs, targets), (inputs_2, targets_2) in zip(
            found, expected, strict=True
        ):
            for name in inputs:
                np.testing.assert_allclose(
                    inputs[name], inputs_2[name], rtol=0, atol=1e-5, err_msg=name
                )
            np.testing.assert_array_equal(targets["scene"], targets_2["scene"])


def test_index_and_records_describe_the_pairs(folder, shards):
    index = json.loads((shards / "shards.json").read_text())
    assert [one["pairs"] for one in index["files"]] == [10, 10, 6]
    for one in index["files"]:
        path = shards / one["file"]
        assert file_sha256(path) == one["sha256"]
        assert path.stat().st_size == one["bytes"]
    record = next(iter(tf.data.TFRecordDataset(str(shards / "pairs-00001.tfrecord"))))
    features = tf.train.Example.FromString(record.numpy()).features.feature
    assert set(features) == set(index["schema"])
    pair = scan(folder).pairs[10]
    assert features["stem"].bytes_list.value == [pair.stem.encode()]
    expected = (folder / pair.sound).read_bytes()
    assert features["sound"].bytes_list.value == [expected]


def test_examples_to_predict_are_those_of_the_folder(folder, shards):
    expected, received = find_examples(folder)[0], find_examples(shards)[0]
    assert [one.name for one in received] == [one.name for one in expected]
    frontend = Frontend(FEATURES)
    for one, other in zip(expected[:3], received[:3], strict=True):
        np.testing.assert_array_equal(
            frontend.read_image(one.image), frontend.read_image(other.image)
        )
        np.testing.assert_array_equal(
            frontend.read_waveform(one.sound), frontend.read_waveform(other.sound)
        )


def damage(shards, change):
    path = shards / "pairs-00001.tfrecord"
    path.write_bytes(change(path.read_bytes()))


def test_a_shard_that_is_cut_off_is_named(shards):
    damage(shards, lambda contents: contents[:-1])
    with pytest.raises(ValueError, match=r"pairs-00001.tfrecord is damaged.*bytes"):
        load_advance(shards)


def test_a_changed_byte_is_named_by_checksum_and_when_it_is_read(shards):
    open_shards(shards).verify()
    damage(shards, lambda c: c[:5000] + bytes([c[5000] ^ 1]) + c[5001:])
    with pytest.raises(ValueError, match=r"pairs-00001.tfrecord is damaged.*SHA-256"):
        open_shards(shards).verify()
    dataset = load_advance(shards, train_fraction=1, validation_fraction=0)
    with pytest.raises(ValueError, match=r"pairs-00001.tfrecord must be complete"):
        with media_errors(dataset.pairs, shards, FEATURES):
            list(dataset.as_tf_dataset("training", FEATURES, batch_size=4))
    broken = find_examples(shards)[0][10]
    with pytest.raises(ValueError, match=r"pairs-00001.tfrecord must be complete"):
        Frontend(FEATURES).read_image(broken.image)


def test_a_damaged_shard_is_written_again(folder, shards):
    before = (shards / "pairs-00001.tfrecord").read_bytes()
    damage(shards, lambda contents: contents[:-1])
    (shards / "pairs-00000.tfrecord").unlink()
    assert write_shards(folder, scan(folder).pairs, shards, pairs_per_file=10) == 0
    assert (shards / "pairs-00001.tfrecord").read_bytes() == before
    open_shards(shards).verify()


def test_shards_are_not_written_beside_files_nor_from_shards(folder, shards, tmp_path):
    pairs = scan(folder).pairs
    other = tmp_path / "other"
    (other / "ADVANCE_sound" / "sound").mkdir(parents=True)
    for target, named in ((folder, "vision"), (other, "ADVANCE_sound/sound")):
        with pytest.raises(ValueError, match=f"folder of its own .*/{named}"):
            write_shards(folder, pairs, target)
        assert not (target / "parts").exists()
    with pytest.raises(ValueError, match="must be a folder of files .* holds shards"):
        write_shards(shards, pairs, tmp_path / "again")


def test_old_temporary_files_are_removed(folder, tmp_path):
    target = tmp_path / "shards"
    old, new = target / "a-1-partial.tfrecord", target / "a-2-partial.tfrecord"
    part = target / "parts" / "a-3-partial.json"
    part.parent.mkdir(parents=True)
    for path in (old, new, part):
        path.touch()
    for path in (old, part):
        os.utime(path, (time.time() - 90_000,) * 2)  # 25 h; a day is the limit.
    write_shards(folder, scan(folder).pairs[:1], target)
    assert [path.exists() for path in (old, new, part)] == [False, True, False]


def test_shards_of_files_that_were_changed_are_refused(folder, tmp_path):
    """Also where the size is the same, as of WAV files of one length."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    write_shards(copy, scan(copy).pairs, tmp_path / "shards")
    sound = copy / scan(copy).pairs[0].sound
    contents = bytearray(sound.read_bytes())
    contents[-1] ^= 1
    sound.write_bytes(contents)
    with pytest.raises(ValueError, match="must share the same work"):
        write_shards(copy, scan(copy).pairs, tmp_path / "shards")
