"""Partly frozen towers on stored activations, against training on the files."""

import dataclasses
import shutil

import numpy as np
import pytest

from advance_tf import config as config_module
from advance_tf import labels
from advance_tf.config import Config, FeatureConfig
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.models.backbones.registry import FAMILIES
from advance_tf.models.heads import build_heads, copy_heads, with_mask
from advance_tf.models.recognizer import build_recognizer
from advance_tf.training import activations, callbacks, embeddings, frozen
from tests.models.backbones.tiny import TinyStaged
from tests.training import factories
from tests.training.resumption import assert_resumed, train, train_until_killed

# As long as the sounds, so that no clip is cut at random.
FEATURES = FeatureConfig(image_size=32, clip_seconds=1.5)


@pytest.fixture(autouse=True, scope="module")
def staged():
    """A small backbone with stages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "tiny", TinyStaged)
        patch.setattr(config_module, "STAGED", (*config_module.STAGED, "tiny"))
        yield


def build_config(folder, transfer="none", model=None, **training):
    config = factories.build_config(
        folder, transfer, **{"augmentation": "none", "epochs": 3, **training}
    )
    settings = {
        "image_backbone": "tiny",
        "audio_backbone": "tiny",
        "image_frozen_stages": 4,
        "audio_frozen_stages": 4,
        "dropout": 0.0,
        "normalize_embeddings": True,
        **(model or {}),
    }
    return dataclasses.replace(
        config,
        features=FEATURES,
        model=dataclasses.replace(config.model, **settings),
    )


@pytest.fixture(scope="module")
def manifest(fabricated_advance):
    return factories.build_manifest(fabricated_advance)


@pytest.fixture(scope="module")
def knowledge(manifest):
    return factories.build_scene_knowledge(manifest)


@pytest.fixture(scope="module")
def config(fabricated_advance, tmp_path_factory):
    config = build_config(
        fabricated_advance, "kl_audiovisual", tower_learning_rate=0.001
    )
    cache = dataclasses.replace(
        config.data, cache_dir=str(tmp_path_factory.mktemp("cache"))
    )
    return dataclasses.replace(config, data=cache)


@pytest.fixture(scope="module")
def finished(config, manifest, knowledge, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, *train(folder, config, manifest, knowledge)


def load(folder, config):
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    recognizer.load_weights(folder / callbacks.BEST_WEIGHTS)
    return recognizer


def logits_of_files(recognizer, config, manifest, rows):
    data_dir = config.data.data_dir
    files = PairFiles(manifest.pairs, data_dir, config.features, "waveform")
    batches = make_dataset(files, 16, rows=rows)
    inputs = batches.map(lambda inputs, _: with_mask(recognizer, inputs))
    return recognizer.predict(inputs, verbose=0)


def test_training_equals_that_on_the_files(
    finished, config, manifest, knowledge, tmp_path
):
    """Losses, scores and trained weights, epoch by epoch."""
    folder, progress, arrays, rows = finished
    on_files = factories.with_training(config, cached_views=0)
    assert not activations.trains_on_stored(on_files)
    expected_progress, _, expected = train(
        tmp_path / "run", on_files, manifest, knowledge
    )
    assert progress.best_epoch == expected_progress.best_epoch
    assert rows[0].keys() == expected[0].keys()
    assert "transfer_share_audio_tower" in rows[0]
    for found, row in zip(rows, expected, strict=True):
        # The shares are measured on a batch of another size.
        for name, value in row.items():
            if "_share_" in name:
                continue
            assert float(found[name]) == pytest.approx(float(value), abs=1e-4), name
    used = list(range(0, 40, 3))
    logits = [
        logits_of_files(load(path, config), config, manifest, used)
        for path in (folder, tmp_path / "run")
    ]
    for name, values in logits[0].items():
        np.testing.assert_allclose(values, logits[1][name], atol=1e-3)
    # Frozen stages are neither in the checkpoint nor changed.
    assert max(array.ndim for array in arrays.values()) == 4
    assert (3, 3, 3, 6) not in {array.shape for array in arrays.values()}


def test_only_what_is_behind_the_cut_is_trained(finished, config):
    before = frozen.frozen_recognizer(config)
    after = load(finished[0], config)
    for tower in ("image_tower", "audio_tower"):
        for layer in after.get_layer(tower).layers:
            if not layer.weights:
                continue
            old = before.get_layer(tower).get_layer(layer.name).get_weights()
            same = [
                np.array_equal(a, b)
                for a, b in zip(old, layer.get_weights(), strict=True)
            ]
            # The bias before a batch norm has no gradient.
            assert all(same) == ("second" not in layer.name), layer.name


def test_the_trained_recognizer_equals_its_stored_activations(
    finished, config, manifest
):
    folder = finished[0]
    recognizer = load(folder, config)
    rows = list(range(0, 40, 3))
    stored = activations.stored_embeddings(
        recognizer,
        config,
        manifest.pairs,
        frozen.embedding_folder(config, folder),
        rows=rows,
    )
    heads = build_heads(config.model, stored.sizes, config.transfer.transfer)
    copy_heads(recognizer, heads)
    found = heads(stored.rows(range(len(rows))))
    expected = logits_of_files(recognizer, config, manifest, rows)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4)


def test_a_killed_run_resumes_to_the_same_state(
    finished, config, manifest, knowledge, tmp_path, monkeypatch
):
    def refused(*args, **kwargs):
        raise AssertionError("activations are computed again")

    monkeypatch.setattr(embeddings, "make_dataset", refused)
    run = tmp_path / "run", config, manifest, knowledge
    train_until_killed(2, *run)
    assert_resumed(2, finished[1:], *run)


@pytest.mark.parametrize(
    ("transfer", "model"),
    [
        ("event", {"modality_dropout": 0.5, "audio_frozen_stages": 5}),
        ("sq_audio", {"modality": "image", "audio_frozen_stages": 0}),
    ],
)
def test_other_settings_are_trained(
    fabricated_advance, manifest, knowledge, tmp_path, transfer, model
):
    """With one tower frozen as a whole, or not in use, and with test pairs scored."""
    config = build_config(
        fabricated_advance, transfer, model, epochs=1, test_epochs=True, cached_views=2
    )
    assert activations.trains_on_activations(config)
    _, arrays, rows = train(tmp_path / "run", config, manifest, knowledge)
    # The second convolution of one tower, with its two moments.
    kernels = [a for a in arrays.values() if a.shape == (3, 3, 6, 6)]
    assert len(kernels) == 3
    used = np.flatnonzero(np.array(manifest.splits) == "test").tolist()
    recognizer = load(tmp_path / "run", config)
    logits = logits_of_files(recognizer, config, manifest, used)["scene_logits"]
    scenes = [labels.scenes().index(manifest.pairs[row].scene) for row in used]
    expected = factories.weighted_f(np.array(scenes), logits.argmax(axis=1))
    assert float(rows[0]["test_f_score"]) == pytest.approx(expected, abs=1e-6)
    stored = activations.compute_activations(
        recognizer,
        config,
        manifest.pairs,
        frozen.embedding_folder(config, tmp_path / "run"),
        rows=used,
    )
    assert isinstance(stored.views["image"][0][0], np.memmap)
    assert stored.shapes["image"] == (8, 8, 6)
    assert len(stored.shapes["audio"]) == 1


def test_damaged_activations_are_an_error_with_a_way_out(
    finished, config, manifest, tmp_path
):
    folder = tmp_path / "embeddings"
    shutil.copytree(frozen.embedding_folder(config, finished[0]), folder)
    for path in folder.glob("*-4-*/*.npy"):
        path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"npy must be complete; .* Remove .*\.json"):
        activations.compute_activations(
            load(finished[0], config), config, manifest.pairs, folder, rows=[0]
        )


@pytest.mark.parametrize(
    ("model", "views", "expected"),
    [
        ({}, 1, True),
        ({"audio_frozen_stages": 5}, 2, True),
        ({"image_frozen_stages": 5, "audio_frozen_stages": 5}, 1, False),
        ({"audio_frozen_stages": 0}, 1, False),
        ({"audio_frozen_stages": 0, "modality": "image"}, 1, True),
        ({"audio_frozen_stages": 5, "modality": "sound"}, 1, False),
        ({}, 0, False),
        # A ResNet that is frozen in part is trained on the files.
        ({"audio_backbone": "resnet"}, 1, False),
        ({"audio_backbone": "resnet", "audio_frozen_stages": 5}, 1, True),
    ],
)
def test_when_activations_are_stored(model, views, expected):
    config = build_config("data", model=model, cached_views=views)
    assert activations.trains_on_activations(config) == expected
    assert not activations.trains_on_activations(Config())
