"""Runs with frozen towers: stored embeddings, complete weights, exact resume."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from advance_tf import labels
from advance_tf.data import augment
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.features.frontend import Frontend
from advance_tf.metrics.scores import scene_scores
from advance_tf.models.recognizer import build_recognizer
from advance_tf.models.weights import TowerMetadata, save_tower
from advance_tf.training import callbacks, embeddings, frozen
from advance_tf.training.heads import train_heads
from tests.training import factories
from tests.training.resumption import assert_resumed, train, train_until_killed


def build_config(folder, transfer="none", model=None, **training):
    config = factories.build_config(folder, transfer, **training)
    settings = {
        "image_frozen_stages": 5,
        "audio_frozen_stages": 5,
        "normalize_embeddings": True,
        **(model or {}),
    }
    return dataclasses.replace(
        config, model=dataclasses.replace(config.model, **settings)
    )


@pytest.fixture(scope="module")
def manifest(fabricated_advance):
    return factories.build_manifest(fabricated_advance)


@pytest.fixture(scope="module")
def knowledge(manifest):
    return factories.build_scene_knowledge(manifest)


@pytest.fixture(scope="module")
def cached(fabricated_advance, tmp_path_factory):
    """A configuration with a shared folder of embeddings, and weights of a tower."""
    folder = tmp_path_factory.mktemp("cache")
    config = build_config(fabricated_advance, "kl_audiovisual", epochs=4)
    tower = build_recognizer(config.model, config.features).get_layer("image_tower")
    save_tower(folder / "image.npz", tower, TowerMetadata("image", 10, 2))
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, cache_dir=str(folder)),
        model=dataclasses.replace(
            config.model, image_weights=str(folder / "image.npz")
        ),
    )


@pytest.fixture(scope="module")
def finished(cached, manifest, knowledge, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, *train(folder, cached, manifest, knowledge)


@pytest.fixture
def no_towers(monkeypatch):
    """Makes every computation of an embedding an error."""

    def refused(*args, **kwargs):
        raise AssertionError("an embedding is computed")

    monkeypatch.setattr(embeddings, "make_dataset", refused)


def run_towers(config, manifest, folder, rows):
    """Logits of the stored recognizer on the files, and on the embeddings' heads."""
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    recognizer.load_weights(folder / callbacks.BEST_WEIGHTS)
    files = PairFiles(manifest.pairs, config.data.data_dir, config.features)
    batches = make_dataset(files, 16, rows=rows)
    return recognizer.predict(batches.map(lambda inputs, _: inputs), verbose=0)


def test_the_run_holds_the_towers_and_the_heads_of_train_heads(
    finished, cached, manifest, knowledge, no_towers
):
    folder, progress, arrays, _ = finished
    # Neither the towers nor their embeddings are in the checkpoint.
    assert max(array.size for array in arrays.values()) <= 32 * 527
    splits = np.array(manifest.splits)
    used = np.flatnonzero(splits != "test")
    stored = embeddings.compute_embeddings(
        frozen.frozen_recognizer(cached),
        cached,
        manifest.pairs,
        frozen.embedding_folder(cached, folder),
        rows=used.tolist(),
    )
    training, validation = (
        np.flatnonzero(splits[used] == split) for split in ("training", "validation")
    )
    model = train_heads(cached, stored, training, validation, knowledge=knowledge)
    assert model.progress == progress
    expected = model.logits(validation)
    found = run_towers(cached, manifest, folder, used[validation].tolist())
    assert (
        found.keys()
        == expected.keys()
        == {
            "scene_logits",
            "audiovisual_event_logits",
        }
    )
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3)


def test_test_pairs_are_scored_after_each_epoch_on_request(cached, manifest, tmp_path):
    training = dataclasses.replace(cached.training, epochs=2, test_epochs=True)
    config = dataclasses.replace(cached, training=training)
    config = dataclasses.replace(
        config, transfer=dataclasses.replace(config.transfer, transfer="none")
    )
    progress, _, rows = train(tmp_path / "run", config, manifest, None)
    used = np.flatnonzero(np.array(manifest.splits) == "test")
    logits = run_towers(config, manifest, tmp_path / "run", used.tolist())
    scenes = [manifest.pairs[row].scene for row in used]
    true = [labels.scenes().index(scene) for scene in scenes]
    expected = scene_scores(true, logits["scene_logits"])
    row = rows[progress.best_epoch - 1]
    for score, value in expected.items():
        assert float(row[f"test_{score}"]) == pytest.approx(value, abs=1e-6)


def test_a_killed_run_resumes_to_the_same_state(
    finished, cached, manifest, knowledge, tmp_path, no_towers
):
    """Also when the file of the tower has been replaced."""
    weights = tmp_path / "image.npz"
    shutil.copy(cached.model.image_weights, weights)
    model = dataclasses.replace(cached.model, image_weights=str(weights))
    config = dataclasses.replace(cached, model=model)
    run = tmp_path / "run", config, manifest, knowledge
    train_until_killed(3, *run)
    tower = build_recognizer(config.model, config.features).get_layer("image_tower")
    save_tower(weights, tower, TowerMetadata("image", 10, 2))
    assert_resumed(3, finished[1:], *run)


def test_a_finished_run_is_not_changed(finished, cached, manifest, knowledge):
    folder, progress, *_ = finished
    before = (folder / callbacks.CHECKPOINT).stat().st_mtime_ns
    assert train(folder, cached, manifest, knowledge)[0] == progress
    assert (folder / callbacks.CHECKPOINT).stat().st_mtime_ns == before


def test_best_weights_that_were_removed_are_written_again_or_missed(
    cached, manifest, knowledge, tmp_path, no_towers
):
    folder = tmp_path / "run"
    config = factories.with_training(cached, epochs=1)
    progress, *_ = train(folder, config, manifest, knowledge)
    recognizer = frozen.frozen_recognizer(config)
    callbacks.load_best_weights(folder, recognizer)
    expected = recognizer.get_weights()
    # Of the finished run, and of one that goes on; a tiny rate changes no score.
    longer = factories.with_training(config, epochs=2, learning_rate=1e-9)
    for following, epochs in ((config, 1), (longer, 2)):
        (folder / callbacks.BEST_WEIGHTS).unlink()
        found, *_ = train(folder, following, manifest, knowledge)
        assert found == dataclasses.replace(progress, epochs=epochs)
        callbacks.load_best_weights(folder, recognizer)
        for own, value in zip(recognizer.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(own, value)
    (folder / callbacks.BEST_WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"those of the best epoch, 1\. Restore it"):
        train(folder, longer, manifest, knowledge)


@pytest.fixture(scope="module")
def recognizer(fabricated_advance):
    return frozen.frozen_recognizer(build_config(fabricated_advance))


def expected_embeddings(recognizer, config, folder, pair, seed=None):
    """Embeddings of a pair by front end and towers; augmented if `seed` is given."""
    frontend = Frontend(config.features)
    image = frontend.decode_image((folder / pair.image).read_bytes(), pair.image)
    offset = 0.5
    if seed is not None:
        image = augment.augment_image(image, seed)
        offset = augment.random_offset(seed)
    sound = (folder / pair.sound).read_bytes()
    clip = frontend.decode_waveform(sound, offset, pair.sound)
    inputs = {"image": image, "audio": frontend.log_mel(clip[None])[0, ..., None]}
    return {
        tower: recognizer.get_layer(f"{tower}_tower")(given[None])[0]
        for tower, given in inputs.items()
    }


def test_embeddings_are_those_of_the_towers_and_their_views(
    fabricated_advance, manifest, recognizer, tmp_path
):
    """View 0 is the pair; the others are augmented, and the sounds cut elsewhere."""
    config = build_config(fabricated_advance, cached_views=3)
    found = embeddings.compute_embeddings(
        recognizer, config, manifest.pairs, tmp_path, rows=[7, 2], augmented=[2]
    )
    pairs = [manifest.pairs[row] for row in (7, 2)]
    assert found.keys == tuple((pair.scene, pair.stem) for pair in pairs)
    seed = augment.element_seed(0, tf.constant(2), tf.constant(2))
    for row, view, own_seed in ((0, 0, None), (1, 0, None), (1, 2, seed)):
        expected = expected_embeddings(
            recognizer, config, fabricated_advance, pairs[row], own_seed
        )
        for tower, values in expected.items():
            np.testing.assert_allclose(
                found.views(tower)[view, row], values, rtol=1e-3, atol=1e-4
            )
    for tower in ("image", "audio"):
        views = found.views(tower)
        np.testing.assert_array_equal(views[:, 0], views[[0, 0, 0], 0])
        for first, second in ((0, 1), (1, 2), (0, 2)):
            assert np.abs(views[first, 1] - views[second, 1]).max() > 1e-4


def test_only_what_is_missing_is_computed(
    fabricated_advance, manifest, recognizer, tmp_path, monkeypatch
):
    for pair in manifest.pairs[:3]:
        for name in (pair.image, pair.sound):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(fabricated_advance / name, tmp_path / name)
    config = build_config(tmp_path)
    computed = []

    def counting(*args, rows, **kwargs):
        computed.append(list(rows))
        return make_dataset(*args, rows=rows, **kwargs)

    monkeypatch.setattr(embeddings, "make_dataset", counting)

    def compute(rows, config=config):
        computed.clear()
        return embeddings.compute_embeddings(
            recognizer, config, manifest.pairs, tmp_path / "store", rows=rows
        )

    first = compute([0, 1])
    assert computed == [[0, 1]]
    np.testing.assert_array_equal(compute([1, 0]).image, first.image[::-1])
    assert computed == []
    # A file is written again.
    os.utime(tmp_path / manifest.pairs[1].sound, ns=(1, 1))
    compute([0, 1, 2])
    assert computed == [[1, 2]]
    # One input: the embeddings of its tower are stored already; zeros are computed.
    single = dataclasses.replace(config.model, modality="image")
    compute([0, 2], dataclasses.replace(config, model=single))
    assert computed == [[0]]
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_the_key_depends_on_weights_and_the_features_of_the_tower(recognizer):
    tower = recognizer.get_layer("audio_tower")
    before = embeddings.tower_digest(tower)
    assert embeddings.tower_digest(recognizer.get_layer("image_tower")) != before
    bias = tower.get_layer("bn1").beta
    bias.assign_add(np.full(bias.shape, 1e-6, np.float32))
    assert embeddings.tower_digest(tower) != before
    bias.assign_sub(np.full(bias.shape, 1e-6, np.float32))
    larger = dataclasses.replace(factories.FEATURES, image_size=64)
    louder = dataclasses.replace(factories.FEATURES, dynamic_range_db=70.0)
    every = {
        *embeddings.feature_settings(factories.FEATURES, "image"),
        *embeddings.feature_settings(factories.FEATURES, "audio"),
    }
    assert every == {field.name for field in dataclasses.fields(factories.FEATURES)}
    for tower, same, other in (("image", louder, larger), ("audio", larger, louder)):
        settings = embeddings.feature_settings(factories.FEATURES, tower)
        assert embeddings.feature_settings(same, tower) == settings
        assert embeddings.feature_settings(other, tower) != settings
