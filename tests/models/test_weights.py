"""Files of tower weights: round trips and files that do not fit."""

import dataclasses
import hashlib

import h5py
import keras
import numpy as np
import pytest

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.features.log_mel import LogMelStats, save_stats
from advance_tf.models import weights
from advance_tf.models.recognizer import build_audio_tagger, build_recognizer
from advance_tf.models.resnet import build_resnet

FEATURES = FeatureConfig(image_size=32, clip_seconds=0.5)
AUDIO = weights.TowerMetadata("audio", 18, 2)
MODEL = ModelConfig(image_depth=18, audio_depth=18, image_width=2, audio_width=2)


@pytest.fixture
def tagger_file(tmp_path):
    """The path of a tagger with random weights, and the tagger."""
    tagger = build_audio_tagger(MODEL, FEATURES)
    rng = np.random.default_rng(0)
    for variable in tagger.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    path = tmp_path / "tagger.npz"
    head = tagger.get_layer("audio_event_head")
    weights.save_tower(path, tagger.get_layer("audio_tower"), AUDIO, head)
    return path, tagger


def change_arrays(path, change):
    """Changes the arrays in a file."""
    arrays, metadata = weights.read_weights(path)
    change(arrays)
    weights.save_arrays(path, arrays, metadata)


def test_tagger_is_rebuilt_from_its_file(tagger_file):
    path, tagger = tagger_file
    rebuilt = weights.load_audio_tagger(path, FEATURES)
    x = {"log_mel": np.random.default_rng(1).normal(size=(2, 20, 64)).astype("f")}
    np.testing.assert_array_equal(rebuilt(x)["event_logits"], tagger(x)["event_logits"])
    assert weights.read_weights(path)[1].outputs == 527


def test_recognizer_loads_the_tower_without_the_head(tagger_file):
    path, tagger = tagger_file
    recognizer = build_recognizer(MODEL, FEATURES)
    before = [v.numpy() for v in recognizer.get_layer("image_tower").variables]
    config = ModelConfig(**{**vars(MODEL), "audio_weights": str(path)})
    weights.load_pretrained(recognizer, config)
    expected = tagger.get_layer("audio_tower").variables
    found = recognizer.get_layer("audio_tower").variables
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(
        recognizer.get_layer("image_tower").variables, before, strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (
            weights.TowerMetadata("image", 18, 2),
            "^image_weights must .* Pass it as `audio_weights`",
        ),
        (weights.TowerMetadata("audio", 34, 2), "Set `audio_depth=18`"),
        (weights.TowerMetadata("audio", 18, 4), "and `audio_width=2`"),
    ],
)
def test_file_of_another_tower_depth_or_width_raises(tagger_file, expected, message):
    tower = build_resnet(18, 2, (20, 64, 1), 1)
    with pytest.raises(ValueError, match=message):
        weights.load_tower(tagger_file[0], tower, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("bn1/gamma"), "missing: bn1/gamma"),
        (lambda a: a.update(extra=np.zeros(2)), "unexpected: extra"),
        (
            lambda a: a.update({"conv1/kernel": np.zeros((7, 7, 1, 3))}),
            r"conv1/kernel is \(7, 7, 1, 3\)",
        ),
    ],
)
def test_file_that_does_not_fit_changes_no_variable(tagger_file, change, message):
    change_arrays(tagger_file[0], change)
    tower = build_resnet(18, 2, (20, 64, 1), 1)
    before = [variable.numpy() for variable in tower.variables]
    with pytest.raises(ValueError, match=message):
        weights.load_tower(tagger_file[0], tower, AUDIO)
    for variable, value in zip(tower.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_missing_damaged_or_other_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="must exist; it does not"):
        weights.read_weights(tmp_path / "none.npz")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 cut off")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("damaged.npz", "other.npz"):
        with pytest.raises(ValueError, match="must be a file of tower weights"):
            weights.read_weights(tmp_path / name)


def test_tower_without_a_head_is_not_a_teacher(tmp_path):
    tower = build_resnet(18, 2, (20, 64, 1), 1, name="audio_tower")
    weights.save_tower(tmp_path / "tower.npz", tower, AUDIO)
    with pytest.raises(ValueError, match="must have a head of 527 events"):
        weights.load_audio_tagger(tmp_path / "tower.npz", FEATURES)


def test_an_audio_tower_that_is_not_trained_needs_its_statistics(tagger_file, tmp_path):
    path, _ = tagger_file
    own = LogMelStats(np.full(64, -50, "f"), np.full(64, 10, "f"))
    save_stats(tmp_path / "own.csv", own)
    features = dataclasses.replace(FEATURES, log_mel_stats=str(tmp_path / "own.csv"))
    recognizer = build_recognizer(MODEL, FEATURES)
    trained = ModelConfig(**{**vars(MODEL), "audio_weights": str(path)})
    frozen = dataclasses.replace(trained, audio_frozen_stages=5)
    # A file of an earlier version has no hash.
    weights.load_audio_tagger(path, features)
    weights.load_pretrained(recognizer, frozen, features)
    arrays, metadata = weights.read_weights(path)
    expected = hashlib.sha256()
    for row in weights.load_stats(FEATURES):
        expected.update(b"(64,)" + row.astype("<f4").tobytes())
    assert weights.stats_sha256(FEATURES) == expected.hexdigest()
    metadata = dataclasses.replace(metadata, log_mel_stats_sha256=expected.hexdigest())
    weights.save_arrays(path, arrays, metadata)
    weights.load_pretrained(recognizer, trained, features)
    weights.load_pretrained(recognizer, frozen, FEATURES)
    for load in (
        lambda: weights.load_audio_tagger(path, features),
        lambda: weights.load_pretrained(recognizer, frozen, features),
    ):
        with pytest.raises(ValueError, match="^log_mel_stats must be those .*authors"):
            load()


def test_another_suffix_raises(tmp_path):
    with pytest.raises(ValueError, match=r"must be written to \.npz"):
        weights.save_arrays(tmp_path / "tower.h5", {}, AUDIO)


def test_a_weights_file_of_keras_without_a_layer_is_refused(tmp_path):
    def model(units):
        inputs = keras.Input((3,))
        outputs = inputs
        for number in range(units):
            outputs = keras.layers.Dense(3, name=f"dense_{number}")(outputs)
        return keras.Model(inputs, outputs)

    model(2).save_weights(tmp_path / "a.weights.h5")
    target = model(2)
    weights.load_keras_weights(target, tmp_path / "a.weights.h5")
    # The group of a layer has another name.
    with h5py.File(tmp_path / "a.weights.h5", "r+") as file:
        file["layers"].move("dense_1", "dense_x")
    with pytest.raises(ValueError, match="dense"):
        weights.load_keras_weights(target, tmp_path / "a.weights.h5")
