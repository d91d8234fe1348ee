"""load_advance and AdvanceDataset against the manifest and make_dataset."""

import dataclasses

import numpy as np
import pytest

from advance_tf.config import Config, DataConfig, FeatureConfig
from advance_tf.data import AdvanceDataset, load_advance
from advance_tf.data.cache import PairCache
from advance_tf.data.dataset import make_dataset
from advance_tf.data.layout import NOTICE
from advance_tf.data.manifest import LEAKY, Manifest, make_manifest
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.sampling import TrainingEpochs
from tests.data.factories import create_pairs, write_files, write_pair_files

FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)


def collect(batches):
    """All batches of one pass, concatenated."""
    inputs, targets = zip(*batches.as_numpy_iterator(), strict=True)
    return {
        name: np.concatenate([part[name] for part in parts])
        for parts in (inputs, targets)
        for name in parts[0]
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.fixture(scope="module")
def dataset(fabricated_advance):
    """13 scenes of 10 sites and one pair each: 91 training, 13 validation, 26 test."""
    return load_advance(str(fabricated_advance), split_seed=3)


@pytest.fixture(scope="module")
def small_dataset(dataset):
    """Every sixth pair of the data set, so that tests decode few files."""
    manifest = dataclasses.replace(
        dataset.manifest,
        pairs=dataset.manifest.pairs[::6],
        splits=dataset.manifest.splits[::6],
    )
    return AdvanceDataset(manifest, dataset.data_dir)


def test_pairs_splits_and_sites_are_those_of_the_manifest(dataset, fabricated_advance):
    manifest = make_manifest(DataConfig(data_dir=str(fabricated_advance), split_seed=3))
    assert dataset.manifest == manifest
    assert dataset.data_dir == fabricated_advance
    assert dataset.pairs == manifest.pairs
    assert dataset.splits == manifest.splits
    assert dataset.sites == tuple(f"{site:05d}" for site in range(130))
    sizes = [dataset.splits.count(name) for name in ("training", "validation", "test")]
    assert sizes == [91, 13, 26]


def test_sites_are_distinct_and_sorted(tmp_path):
    pairs = create_pairs({"lake": ["00002", "00002_1"], "beach": ["00003", "00001"]})
    manifest = Manifest(tuple(pairs), ("training",) * 4, "site", 0)
    assert AdvanceDataset(manifest, tmp_path).sites == ("00001", "00002", "00003")


@pytest.mark.parametrize("name", ["training", "validation", "test", "all"])
def test_the_pairs_of_a_split(dataset, name):
    expected = [
        pair
        for pair, split in zip(dataset.pairs, dataset.splits, strict=True)
        if name in ("all", split)
    ]
    assert dataset.pairs_of(name) == expected


def test_an_unknown_or_an_empty_split_is_an_error(fabricated_advance):
    dataset = load_advance(fabricated_advance, validation_fraction=0.0)
    with pytest.raises(ValueError, match="^split must be one of training, .*train"):
        dataset.pairs_of("train")
    with pytest.raises(ValueError, match="`split='validation'` must have pairs"):
        dataset.as_tf_dataset("validation", FEATURES)


def test_split_options_are_those_of_the_configuration(fabricated_advance):
    options = {"split_protocol": "pair", "split_seed": 5, "train_fraction": 0.5}
    dataset = load_advance(fabricated_advance, validation_fraction=0.2, **options)
    config = DataConfig(
        data_dir=str(fabricated_advance), validation_fraction=0.2, **options
    )
    assert dataset.manifest == make_manifest(config)
    sizes = [dataset.splits.count(name) for name in ("training", "validation", "test")]
    assert sizes == [65, 26, 39]
    with pytest.raises(ValueError, match="^train_fraction must be greater than 0"):
        load_advance(fabricated_advance, train_fraction=0.0)
    with pytest.raises(
        ValueError, match="^split_protocol must be one of site, pair, published"
    ):
        load_advance(fabricated_advance, split_protocol="scene")


def test_the_side_of_blocks_is_that_of_the_configuration(tmp_path):
    write_pair_files(tmp_path, *(f"lake/{site:05d}" for site in range(20)))
    rows = [f"{site:05d},{46 + site / 20},8" for site in range(20)]
    (tmp_path / "sites.csv").write_text("\n".join(["stem,latitude,longitude", *rows]))
    manifests = []
    for side in (10.0, 60.0):
        dataset = load_advance(tmp_path, split_protocol="block", block_kilometres=side)
        config = DataConfig(
            data_dir=str(tmp_path), split_protocol="block", block_kilometres=side
        )
        assert dataset.manifest == make_manifest(config)
        manifests.append(dataset.manifest)
    assert manifests[0] != manifests[1]


def test_unpaired_files_are_an_error_or_left_out(tmp_path):
    write_pair_files(tmp_path, *(f"lake/{site:05d}" for site in range(10)))
    write_files(tmp_path, "vision/lake/00010.jpg")
    with pytest.raises(ValueError, match="vision/lake/00010.jpg"):
        load_advance(tmp_path)
    assert len(load_advance(tmp_path, allow_missing=True).pairs) == 10


def test_an_existing_manifest_is_used_as_object_or_file(dataset, tmp_path):
    path = tmp_path / "manifest.csv"
    dataset.manifest.save(path)
    for manifest in (dataset.manifest, path, str(path)):
        found = load_advance(dataset.data_dir, manifest=manifest, split_seed=99)
        assert found.manifest == dataset.manifest
    with pytest.raises(FileNotFoundError):
        load_advance(dataset.data_dir, manifest=tmp_path / "missing.csv")


def test_the_label_joins_notice_and_split(tmp_path):
    write_pair_files(tmp_path, *(f"lake/{site:05d}" for site in range(10)))
    assert load_advance(tmp_path).label == ""
    assert load_advance(tmp_path, split_protocol="pair").label == LEAKY
    write_files(tmp_path, NOTICE, contents=b"synthetic data: test\nmore\n")
    assert load_advance(tmp_path).label == "synthetic data: test"
    by_pair = load_advance(tmp_path, split_protocol="pair")
    assert by_pair.label == f"synthetic data: test; {LEAKY}"


def test_batches_of_evaluation_equal_make_dataset(small_dataset):
    pairs = small_dataset.pairs_of("test")
    rows = {"row": np.arange(len(pairs), dtype=np.float32)}
    found = collect(
        small_dataset.as_tf_dataset("test", FEATURES, batch_size=2, targets=rows)
    )
    data_dir = small_dataset.data_dir
    files = PairFiles(pairs, data_dir, FEATURES)
    expected = make_dataset(files, 2, targets=rows)
    assert_equal(found, collect(expected))
    # The incomplete last batch is kept.
    np.testing.assert_array_equal(found["row"], rows["row"])
    assert found["image"].shape == (len(pairs), 32, 32, 3)
    assert found["log_mel"].shape == (len(pairs), 40, 64)


def test_batches_of_training_are_shuffled_and_augmented_by_seed(small_dataset):
    pairs = small_dataset.pairs_of("training")
    options = {"batch_size": 4, "seed": 7}
    found = collect(small_dataset.as_tf_dataset("training", FEATURES, **options))
    files = PairFiles(pairs, small_dataset.data_dir, FEATURES)
    expected = make_dataset(files, 4, training=TrainingEpochs(seed=7))
    assert_equal(found, collect(expected))
    assert len(found["scene"]) == len(pairs) // 4 * 4


def test_augmentation_can_be_switched_off_and_on(small_dataset):
    data_dir = small_dataset.data_dir
    for split, augment in (("training", False), ("test", True)):
        pairs = small_dataset.pairs_of(split)
        found = small_dataset.as_tf_dataset(
            split, FEATURES, batch_size=2, augment=augment
        )
        files = PairFiles(pairs, data_dir, FEATURES)
        training = TrainingEpochs() if augment else None
        expected = make_dataset(files, 2, training=training)
        assert_equal(collect(found), collect(expected))


def test_the_cache_is_filled_and_gives_the_same_batches(small_dataset, tmp_path):
    options = {"batch_size": 2, "cache_dir": tmp_path}
    found = collect(small_dataset.as_tf_dataset("test", FEATURES, **options))
    expected = small_dataset.as_tf_dataset("test", FEATURES, batch_size=2)
    assert_equal(found, collect(expected))
    pairs, cache = small_dataset.pairs_of("test"), PairCache(tmp_path, FEATURES)
    assert cache.fill(pairs, small_dataset.data_dir, progress=False) == 0


def test_the_default_features_are_those_of_the_paper(small_dataset):
    inputs, targets = small_dataset.as_tf_dataset("test", batch_size=1).element_spec
    assert inputs["image"].shape.as_list() == [None, 256, 256, 3]
    assert inputs["log_mel"].shape.as_list() == [None, 400, 64]
    assert targets["scene"].dtype == "int32"


def test_configure_sets_folder_and_split_only(fabricated_advance):
    options = {
        "split_protocol": "pair",
        "split_seed": 4,
        "train_fraction": 0.5,
        "validation_fraction": 0.2,
        "allow_missing": True,
    }
    dataset = load_advance(fabricated_advance, **options)
    kept = {"cache_dir": "cache", "tf_data_service": "grpc://host:5050"}
    config = Config(data=DataConfig(data_dir="other", **kept))
    found = dataset.configure(config)
    assert found.data == DataConfig(data_dir=str(fabricated_advance), **kept, **options)
    assert dataclasses.replace(found, data=config.data) == config


def test_protocol_and_seed_are_those_of_the_manifest(dataset):
    stored = dataset.manifest
    assert AdvanceDataset(stored, dataset.data_dir).config == DataConfig(
        data_dir=str(dataset.data_dir), split_seed=3
    )
    loaded = load_advance(
        dataset.data_dir, manifest=stored, split_protocol="pair", split_seed=9
    )
    assert (loaded.config.split_protocol, loaded.config.split_seed) == ("site", 3)
