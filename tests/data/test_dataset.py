"""Batches: order, augmentation, caching, resuming and errors."""

import dataclasses
import functools

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import DataConfig, FeatureConfig
from advance_tf.data import augment
from advance_tf.data.cache import PairCache
from advance_tf.data.dataset import epoch_indices, make_dataset, scene_numbers
from advance_tf.data.manifest import make_manifest
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.data.rows import StoredRows
from advance_tf.data.sampling import TrainingEpochs, epoch_order
from advance_tf.features.frontend import waveform_from_bytes
from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize

FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)
EPOCHS = TrainingEpochs(seed=3)


@pytest.fixture(scope="module")
def pairs(fabricated_advance):
    manifest = make_manifest(DataConfig(data_dir=str(fabricated_advance)))
    return manifest.pairs_of("all")[::6]


def collect(dataset):
    """All batches of one pass, concatenated."""
    inputs, targets = zip(*dataset.as_numpy_iterator(), strict=True)
    return tuple(
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in (inputs, targets)
    )


def test_evaluation_keeps_the_order_and_every_pair(pairs, fabricated_advance):
    dataset = make_dataset(PairFiles(pairs, fabricated_advance, FEATURES), 4)
    inputs, targets = collect(dataset)
    scenes = [labels.scenes().index(pair.scene) for pair in pairs]
    assert targets["scene"].tolist() == scenes
    assert inputs["image"].shape == (len(pairs), 32, 32, 3)
    assert inputs["log_mel"].shape == (len(pairs), 40, 64)
    for row in (0, len(pairs) - 1):
        image = (fabricated_advance / pairs[row].image).read_bytes()
        np.testing.assert_array_equal(inputs["image"][row], decode_image(image, 32))
        sound = (fabricated_advance / pairs[row].sound).read_bytes()
        clip = waveform_from_bytes(tf.constant(sound), FEATURES)
        expected = normalize(log_mel_db(clip, FEATURES), load_stats(FEATURES))
        np.testing.assert_allclose(inputs["log_mel"][row], expected, atol=1e-5)
    again, _ = collect(dataset)
    np.testing.assert_array_equal(inputs["image"], again["image"])


def make_training_dataset(pairs, folder, epochs=EPOCHS, cache=None, **options):
    files = PairFiles(pairs, folder, FEATURES, cache=cache)
    return make_dataset(files, 4, training=epochs, **options)


def test_training_drops_the_incomplete_batch_and_reshuffles(pairs, fabricated_advance):
    rows = {"row": np.arange(len(pairs), dtype=np.float32)}
    dataset = make_training_dataset(pairs, fabricated_advance, targets=rows)
    first, second = collect(dataset), collect(dataset)
    assert len(first[1]["row"]) == len(pairs) // 4 * 4
    assert len(set(first[1]["row"])) == len(first[1]["row"])
    assert first[1]["row"].tolist() != second[1]["row"].tolist()


@pytest.mark.parametrize("cached", [False, True])
def test_the_graph_does_not_grow_with_the_pairs(
    pairs, fabricated_advance, tmp_path, cached
):
    """Neither paths nor targets are constants of the graph."""
    cache = PairCache(tmp_path, FEATURES) if cached else None
    if cache is not None:
        cache.fill(pairs[:1], fabricated_advance, progress=False)

    def graph_bytes(count):
        rows = np.zeros((count, 100), np.float32)
        dataset = make_training_dataset(
            [pairs[0]] * count, fabricated_advance, targets={"row": rows}, cache=cache
        )
        graph = tf.raw_ops.DatasetToGraphV2(
            input_dataset=dataset._variant_tensor, external_state_policy=1
        )
        return len(graph.numpy())

    assert graph_bytes(2000) == pytest.approx(graph_bytes(10), abs=100)


def test_rows_of_a_file_are_the_targets(pairs, fabricated_advance, tmp_path):
    table = np.random.default_rng(0).normal(size=(len(pairs), 3)).astype(np.float32)
    (tmp_path / "table").write_bytes(table.tobytes())
    file = (tmp_path / "table").open("rb", buffering=0)
    rows = StoredRows(file, 0, table.shape, np.float32)
    order = np.arange(len(pairs), dtype=np.int64)
    _, targets = collect(
        make_training_dataset(
            pairs, fabricated_advance, targets={"row": rows, "order": order}
        )
    )
    assert targets["order"].tolist() != sorted(targets["order"])
    np.testing.assert_array_equal(targets["row"], table[targets["order"]])


def test_targets_follow_their_pairs(pairs, fabricated_advance):
    rows = {"row": np.arange(len(pairs), dtype=np.float32)}
    _, targets = collect(make_training_dataset(pairs, fabricated_advance, targets=rows))
    scenes = [labels.scenes().index(pairs[int(row)].scene) for row in targets["row"]]
    assert targets["scene"].tolist() == scenes


def test_a_seed_is_reproducible_and_a_later_epoch_resumes(pairs, fabricated_advance):
    dataset = make_training_dataset(pairs, fabricated_advance)
    passes = [collect(dataset)[0] for _ in range(3)]
    again = collect(make_training_dataset(pairs, fabricated_advance))[0]
    later, other = (
        collect(make_training_dataset(pairs, fabricated_advance, epochs))[0]
        for epochs in (TrainingEpochs(3, first_epoch=2), TrainingEpochs(4))
    )
    for name in ("image", "log_mel"):
        np.testing.assert_array_equal(passes[0][name], again[name])
        np.testing.assert_array_equal(passes[2][name], later[name])
        assert np.abs(passes[0][name] - other[name]).max() > 0.1


@pytest.mark.parametrize("training", [None, EPOCHS])
def test_cached_equals_uncached(pairs, fabricated_advance, tmp_path, training):
    cache = PairCache(tmp_path, FEATURES)
    assert cache.fill(pairs, fabricated_advance, progress=False) == len(pairs)
    plain, cached = (
        make_training_dataset(pairs, fabricated_advance, training, own)
        for own in (None, cache)
    )
    for expected, found in zip(collect(plain), collect(cached), strict=True):
        for name in expected:
            np.testing.assert_allclose(
                found[name], expected[name], rtol=0, atol=1e-5, err_msg=name
            )


def test_training_cuts_a_long_recording_differently_in_each_epoch(
    fabricated_advance, pairs, tmp_path
):
    """The sounds last 1.5 s and the clips 1 s; evaluation does not vary."""
    cache = PairCache(tmp_path, FEATURES)
    cache.fill(pairs[:1], fabricated_advance, progress=False)
    files = PairFiles(pairs[:1], fabricated_advance, FEATURES, cache=cache)
    dataset = make_dataset(files, 1, training=TrainingEpochs())
    first, second = (collect(dataset)[0]["log_mel"] for _ in range(2))
    assert np.abs(first - second).max() > 0.01
    evaluation = make_dataset(files, 1)
    first, second = (collect(evaluation)[0]["log_mel"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_augmentation_depends_on_seed_epoch_and_pair(pairs, fabricated_advance):
    """It does not depend on the thread or on the position in the order."""
    rows = {"row": np.arange(len(pairs), dtype=np.float32)}
    epochs = TrainingEpochs(3, first_epoch=5)
    dataset = make_training_dataset(pairs, fabricated_advance, epochs, targets=rows)
    inputs, targets = collect(dataset)
    for image, row in zip(inputs["image"], targets["row"].astype(int), strict=True):
        contents = (fabricated_advance / pairs[row].image).read_bytes()
        pair_seed = augment.element_seed(3, tf.constant(5), tf.constant(row))
        expected = augment.augment_image(decode_image(contents, 32), pair_seed)
        np.testing.assert_allclose(image, expected, atol=1e-3)


def test_shuffling_uses_every_element_once_and_resumes():
    def order(first_epoch, passes=1, seed=3):
        order_of = functools.partial(TrainingEpochs(seed).order, 50)
        indices = epoch_indices(50, order_of, first_epoch)
        return [list(indices.as_numpy_iterator()) for _ in range(passes)]

    passes = order(0, passes=4)
    for epoch, elements in enumerate(passes):
        assert {number for number, _ in elements} == {epoch}
        assert sorted(index for _, index in elements) == list(range(50))
    assert order(2, passes=2) == passes[2:]
    orders = [[index for _, index in elements] for elements in passes]
    assert len(set(map(tuple, orders))) == 4
    assert [index for _, index in order(0, seed=4)[0]] != orders[0]


def test_order_is_numpys_permutation_of_seed_and_epoch():
    """A resumed run of an earlier version gets the orders that it would have had."""
    indices = epoch_indices(20, functools.partial(EPOCHS.order, 20), 5)
    for epoch in (5, 6):
        order = np.random.default_rng((3, epoch)).permutation(20)
        expected = [(epoch, index) for index in order]
        assert list(indices.as_numpy_iterator()) == expected


@pytest.mark.parametrize("training", [None, EPOCHS])
def test_a_broken_sound_is_an_error_that_names_it(
    pairs, fabricated_advance, tmp_path, training
):
    (tmp_path / "data").symlink_to(fabricated_advance)
    linked = [
        dataclasses.replace(
            pair, image=f"data/{pair.image}", sound=f"data/{pair.sound}"
        )
        for pair in pairs[:4]
    ]
    (tmp_path / "cut.wav").write_bytes(
        (fabricated_advance / pairs[2].sound).read_bytes()[:-9]
    )
    linked[2] = dataclasses.replace(linked[2], sound="cut.wav")
    files = PairFiles(linked, tmp_path, FEATURES)
    dataset = make_dataset(files, 2, training=training)
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        collect(dataset)
    assert f"The sound {tmp_path / 'cut.wav'} must be a" in raised.value.message


def test_no_pairs_or_a_target_of_another_length_are_an_error(pairs, fabricated_advance):
    with pytest.raises(ValueError, match="at least one pair"):
        make_dataset(PairFiles([], fabricated_advance, FEATURES), 4)
    with pytest.raises(ValueError, match="'row' must have a row for each"):
        targets = {"row": np.zeros(2)}
        files = PairFiles(pairs, fabricated_advance, FEATURES)
        make_dataset(files, 4, targets=targets)


def test_without_shuffling_elements_are_in_order():
    dataset = epoch_indices(5, first_epoch=7)
    for _ in range(2):
        assert list(dataset.as_numpy_iterator()) == [(7, n) for n in range(5)]
    assert int(dataset.cardinality()) == 5


def test_a_changed_source_is_decoded_again_and_others_are_not(tmp_path):
    pair = Pair("00001", "lake", "00001", "vision/lake/00001.png", "sound/lake/1.wav")
    for path in (pair.image, pair.sound):
        (tmp_path / path).parent.mkdir(parents=True)
    picture = np.full((4, 4, 3), 10, np.uint8)
    encoded = tf.io.encode_png(picture).numpy()
    (tmp_path / pair.image).write_bytes(encoded)
    soundfile.write(tmp_path / pair.sound, np.zeros(8000), 16_000)
    cache = PairCache(tmp_path / "cache", FEATURES)
    assert cache.fill([pair], tmp_path, progress=False) == 1
    assert cache.fill([pair], tmp_path, progress=False) == 0
    (tmp_path / pair.image).write_bytes(tf.io.encode_png(picture + 1).numpy() + b"  ")
    assert cache.fill([pair], tmp_path, progress=False) == 1
    image, _, is_long = cache.read(tf.constant(str(cache.path(pair, tmp_path))))
    np.testing.assert_array_equal(image, np.full((32, 32, 3), 11))
    assert not bool(is_long)
    other = PairCache(tmp_path / "cache", dataclasses.replace(FEATURES, image_size=40))
    assert other.path(pair, tmp_path) != cache.path(pair, tmp_path)


def test_pairs_before_a_broken_image_are_kept_and_the_error_names_it(
    pairs, fabricated_advance, tmp_path
):
    broken = dataclasses.replace(pairs[3], stem="broken", image="broken.jpg")
    (tmp_path / "data").symlink_to(fabricated_advance)
    good = [
        dataclasses.replace(
            pair, image=f"data/{pair.image}", sound=f"data/{pair.sound}"
        )
        for pair in pairs[:3]
    ]
    broken = dataclasses.replace(broken, sound=good[0].sound)
    contents = (fabricated_advance / pairs[0].image).read_bytes()
    (tmp_path / "broken.jpg").write_bytes(contents[: len(contents) // 2])
    cache = PairCache(tmp_path / "cache", FEATURES)
    with pytest.raises(ValueError, match=r"broken\.jpg cannot be decoded: jpeg"):
        cache.fill([*good, broken], tmp_path, progress=False)
    kept = [cache.path(pair, tmp_path).exists() for pair in good]
    assert sum(kept) >= 1
    assert not cache.path(broken, tmp_path).exists()
    assert not list((tmp_path / "cache").rglob("*partial*"))


@pytest.mark.parametrize("sampling", ["balanced", "fixed"])
def test_training_draws_the_pairs_of_its_sampling(pairs, fabricated_advance, sampling):
    rows = {"row": np.arange(len(pairs))}
    epochs = TrainingEpochs(3, 2, sampling, keep_last_batch=True)
    dataset = make_training_dataset(pairs, fabricated_advance, epochs, targets=rows)
    scenes = scene_numbers(pairs) if sampling == "balanced" else None
    for epoch in (2, 3):
        order = epoch_order(
            len(pairs), seed=3, epoch=epoch, balance=scenes, fixed=scenes is None
        )
        assert collect(dataset)[1]["row"].tolist() == order.tolist()


def test_rows_are_read_in_their_order_with_the_augmentation_of_an_epoch(
    pairs, fabricated_advance
):
    number, epochs = {"row": np.arange(len(pairs))}, TrainingEpochs(3, first_epoch=1)
    inputs, targets = collect(
        make_training_dataset(
            pairs, fabricated_advance, epochs, targets=number, rows=[6, 0, 3, 1, 2]
        )
    )
    assert targets["row"].tolist() == [6, 0, 3, 1, 2]
    complete = make_training_dataset(pairs, fabricated_advance, epochs, targets=number)
    expected, order = collect(complete)
    for row, position in enumerate(targets["row"]):
        (found,) = np.flatnonzero(order["row"] == position)
        for name, values in inputs.items():
            np.testing.assert_array_equal(values[row], expected[name][found])
