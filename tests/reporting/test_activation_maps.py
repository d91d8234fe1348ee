"""Activation maps add up to the logits and are localized."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.models.heads import embedding_model
from advance_tf.models.recognizer import build_audio_tagger, build_recognizer
from advance_tf.reporting import activation_maps
from advance_tf.reporting.activation_maps import ActivationMaps
from advance_tf.runs.workdir import load_run
from tests.untrained_run import copy_run

FEATURES = FeatureConfig(image_size=64, clip_seconds=1.0)
SCENES = np.array([0, 7, 12])


def build_model(modality="both", transfer="none", dropout=0.0):
    """A recognizer with biases, in which both towers change the logits by about 1."""
    keras.utils.set_random_seed(3)
    model = build_recognizer(
        ModelConfig(
            modality=modality,
            image_depth=50,
            audio_depth=10,
            image_width=2,
            audio_width=4,
            dropout=dropout,
        ),
        FEATURES,
        transfer,
    )
    head = model.get_layer("scene_head")
    head.bias.assign(np.linspace(-1, 1, 13))
    towers = [model.get_layer(name) for name in ("image_tower", "audio_tower")]
    image = towers[0](batch()["image"]).numpy()
    sound = towers[1](batch()["log_mel"][..., None]).numpy()
    sizes = np.concatenate(
        [np.full(e.shape[1], np.abs(e).mean()) for e in (image, sound)]
    )
    head.kernel.assign(head.kernel.numpy() / sizes[:, None])
    return model


def batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.uniform(0, 255, (3, 64, 64, 3)).astype(np.float32),
        "log_mel": rng.normal(size=(3, 40, 64)).astype(np.float32),
    }


def parts_of(model, modality):
    """Embedding · kernel of each tower; the input of an unused tower is zeros."""
    kernel = model.get_layer("scene_head").kernel.numpy().astype(np.float64)
    inputs = {"image": batch()["image"], "sound": batch()["log_mel"][..., None]}
    parts, start = {}, 0
    for part, tower in (("image", "image_tower"), ("sound", "audio_tower")):
        given = inputs[part] if modality in ("both", part) else 0 * inputs[part]
        embedding = model.get_layer(tower)(given).numpy().astype(np.float64)
        parts[part] = embedding @ kernel[start : start + embedding.shape[1]]
        start += embedding.shape[1]
    assert start == len(kernel)
    return parts


@pytest.mark.parametrize("modality", ["both", "image", "sound"])
@pytest.mark.parametrize(("transfer", "dropout"), [("none", 0.5), ("kl_audio", 0.0)])
def test_maps_add_up_to_the_logits(modality, transfer, dropout):
    model = build_model(modality, transfer, dropout)
    logits = model(batch(), training=False)["scene_logits"].numpy()
    maps = ActivationMaps(model, modality)(batch(), SCENES)
    parts = {"image": maps.image_logits, "log_mel": maps.sound_logits}
    total = model.get_layer("scene_head").bias.numpy()[SCENES].astype(np.float64)
    for name, rows in parts.items():
        activation = getattr(maps, name)
        own = rows[np.arange(3), SCENES]
        if activation is not None:
            own = activation.mean(axis=(1, 2))
        total = total + own
    assert np.abs(total - logits[np.arange(3), SCENES]).max() < 1e-5
    assert np.abs(maps.scene_logits - logits).max() < 1e-5
    margins = maps.margins(1, 4, 9)
    assert set(margins) == {"image", "sound", "bias"}
    wanted = pytest.approx(logits[1, 4] - logits[1, 9], abs=2e-5)
    assert sum(margins.values()) == wanted
    expected = parts_of(model, modality)
    for part, rows in expected.items():
        difference = pytest.approx(rows[1, 4] - rows[1, 9], abs=2e-5)
        assert margins[part] == difference
    assert margins["bias"] == pytest.approx(-5 / 6, abs=1e-6)
    assert abs(margins["image"] - margins["sound"]) > 1e-3
    assert np.abs(logits).max() < 10
    for name, rows in parts.items():
        assert (getattr(maps, name) is None) or np.ptp(rows, axis=1).min() > 0.1
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        maps.scene_probs, powers / powers.sum(axis=1, keepdims=True), atol=1e-5
    )
    assert (maps.image is None) == (modality == "sound")
    assert (maps.log_mel is None) == (modality == "image")
    if maps.image is not None:
        assert maps.image.shape == (3, 2, 2)
    if maps.log_mel is not None:
        assert maps.log_mel.shape == (3, 3, 4)


def test_maps_of_a_hidden_layer_and_normalization_add_up_to_the_logits():
    keras.utils.set_random_seed(3)
    settings = {"head_units": 9, "normalize_embeddings": True}
    model = build_recognizer(
        ModelConfig(
            modality="both",
            image_depth=10,
            audio_depth=10,
            image_width=2,
            audio_width=4,
            **settings,
        ),
        FEATURES,
    )
    inputs = batch()
    embeddings = embedding_model(model)(inputs)
    for tower, values in embeddings.items():
        layer = model.get_layer(f"{tower}_normalization")
        layer.adapt(np.vstack([values, 1.1 * values[:1], 0.7 * values[:2]]))
    model.get_layer("hidden").bias.assign(np.linspace(-2, 1, 9))
    logits = model(inputs, training=False)["scene_logits"].numpy()
    maps = ActivationMaps(model)(inputs, SCENES)
    own = maps.image.mean(axis=(1, 2)) + maps.log_mel.mean(axis=(1, 2))
    own = own + maps.bias[np.arange(3), SCENES]
    np.testing.assert_allclose(own, logits[np.arange(3), SCENES], atol=1e-4)
    np.testing.assert_allclose(maps.scene_logits, logits, atol=1e-4)
    # Other units are active for other examples.
    assert np.ptp(maps.bias, axis=0).max() > 0.01
    margins = maps.margins(1, 4, 9)
    assert sum(margins.values()) == pytest.approx(logits[1, 4] - logits[1, 9], abs=2e-4)


def test_map_shows_the_position_of_a_feature():
    model = build_model()
    kernel = np.zeros(model.get_layer("scene_head").kernel.shape, np.float32)
    kernel[5, 7] = 2.0
    model.get_layer("scene_head").kernel.assign(kernel)
    maps = ActivationMaps(model)
    features = np.zeros((1, 2, 2, 64), np.float32)
    features[0, 1, 0, 5] = 3.0
    maps._image = lambda image: tf.constant(features)
    maps_of_scene = maps({name: rows[:1] for name, rows in batch().items()}, [7])
    np.testing.assert_allclose(maps_of_scene.image[0], [[0, 0], [6, 0]])
    assert not maps_of_scene.log_mel.any()


def test_each_example_has_its_own_scene():
    maps = ActivationMaps(build_model())
    together = maps(batch(), SCENES)
    for row, scene in enumerate(SCENES):
        alone = maps(batch(), [scene] * 3)
        np.testing.assert_allclose(together.image[row], alone.image[row], rtol=1e-5)
        np.testing.assert_allclose(together.log_mel[row], alone.log_mel[row], rtol=1e-5)


def test_several_scenes_for_each_example():
    maps = ActivationMaps(build_model())
    several = np.stack([SCENES, [3, 3, 4]], axis=1)
    found = maps(batch(), several)
    assert (found.image.shape, found.log_mel.shape) == ((3, 2, 2, 2), (3, 2, 3, 4))
    for column in (0, 1):
        alone = maps(batch(), several[:, column])
        np.testing.assert_allclose(found.image[:, column], alone.image, rtol=1e-5)
        np.testing.assert_allclose(found.log_mel[:, column], alone.log_mel, rtol=1e-5)


def test_map_common_to_all_scenes_changes_no_probability():
    model = build_model()
    maps = ActivationMaps(model)
    before = maps(batch(), np.tile([2, 5], (3, 1)))
    kernel = model.get_layer("scene_head").kernel
    common = np.random.default_rng(5).normal(size=(kernel.shape[0], 1)) / 100
    kernel.assign(kernel.numpy() + common)
    after = maps(batch(), np.tile([2, 5], (3, 1)))
    np.testing.assert_allclose(after.scene_probs, before.scene_probs, atol=1e-4)
    for name in ("image", "log_mel"):
        old, new = getattr(before, name), getattr(after, name)
        assert np.abs(new - old).max() > 0.01 * np.abs(old).max()
        size = np.abs(new).max()
        difference = (new[:, 0] - new[:, 1]) - (old[:, 0] - old[:, 1])
        assert np.abs(difference).max() < 1e-5 * size


@pytest.mark.parametrize(
    "scenes", [[0, 1], [0, 1, 13], [0, 1, -1], [0.5, 1, 2], [[], [], []], [[[0]]] * 3]
)
def test_rejects_invalid_scenes(scenes):
    with pytest.raises(
        ValueError, match=r"at least one integer in \[0, 13\) for each of 3"
    ):
        ActivationMaps(build_model())(batch(), scenes)


def test_rejects_other_models_and_modalities():
    tagger = build_audio_tagger(ModelConfig(audio_depth=10, audio_width=2), FEATURES)
    with pytest.raises(ValueError, match="received the model 'audio_tagger'"):
        ActivationMaps(tagger)
    with pytest.raises(ValueError, match="modality must be one of both, image, sound"):
        ActivationMaps(build_model(), "smell")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(copy_run(tmp_path_factory))


def test_compute_maps_returns_the_requested_scenes(run):
    """Two different scenes for each of eleven pairs, in two batches."""
    pairs = run.pairs_of("test")[:11]
    scenes = np.random.default_rng(0).permuted(np.tile(np.arange(13), (11, 1)), axis=1)
    maps = activation_maps.compute_maps(run, pairs, run.data_dir, scenes[:, :2]).maps
    dataset = make_dataset(PairFiles(pairs, run.data_dir, run.config.features), 11)
    inputs, _ = next(iter(dataset))
    activation = ActivationMaps(run.recognizer)
    for column in (0, 1):
        expected = activation(inputs, scenes[:, column])
        for name in ("image", "log_mel"):
            requested = getattr(expected, name)
            assert np.ptp(requested) > 0
            received = getattr(maps, name)[:, column]
            np.testing.assert_allclose(received, requested, rtol=1e-4, atol=1e-6)
            other = getattr(maps, name)[:, 1 - column]
            assert not np.allclose(other, requested, rtol=1e-4, atol=1e-6)
    for name in ("image_logits", "sound_logits", "scene_probs", "bias"):
        np.testing.assert_allclose(
            getattr(maps, name), getattr(expected, name), rtol=1e-4, atol=1e-6
        )
    single = activation_maps.compute_maps(run, pairs, run.data_dir, scenes[:, 1]).maps
    np.testing.assert_allclose(single.image, maps.image[:, 1], rtol=1e-5)


def test_batches_have_at_most_eight_pairs(run, monkeypatch):
    sizes = []

    def record(files, batch_size):
        sizes.append(batch_size)
        return make_dataset(files, batch_size)

    monkeypatch.setattr(activation_maps, "make_dataset", record)
    pairs = run.pairs_of("test")[:3]
    training = dataclasses.replace(run.config.training, batch_size=2)
    config = dataclasses.replace(run.config, training=training)
    for own in (run, dataclasses.replace(run, config=config)):
        pair_maps = activation_maps.compute_maps(own, pairs, run.data_dir, [0, 1, 2])
        assert len(pair_maps.log_mel_db) == len(pair_maps.maps.image) == 3
    assert sizes == [8, 2]
