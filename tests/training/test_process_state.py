"""What a training leaves in the process, and settings without effect."""

import dataclasses

import keras
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.data.sampling import evaluation_batch_size
from advance_tf.models.recognizer import build_audio_tagger
from advance_tf.models.weights import TowerMetadata, save_tower
from advance_tf.teacher.loading import load_teacher
from advance_tf.training import recognition
from advance_tf.training.cluster import Worker
from advance_tf.training.unused_settings import unused_settings
from tests.training import factories


@pytest.fixture
def mixed_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_a_training_restores_the_dtype_policy(
    fabricated_advance, tmp_path, monkeypatch
):
    seen = []

    def stop(*args, **kwargs):
        seen.append(keras.config.dtype_policy().name)
        raise InterruptedError

    monkeypatch.setattr(recognition, "build_trainer", stop)
    config = factories.build_config(fabricated_advance, precision="mixed_bfloat16")
    manifest = factories.build_manifest(fabricated_advance)
    with pytest.raises(InterruptedError):
        recognition.train_recognizer(config, manifest, tmp_path, knowledge=None)
    assert seen == ["mixed_bfloat16"]
    assert keras.config.dtype_policy().name == "float32"


def test_a_teacher_is_built_in_float32(mixed_policy, tmp_path):
    model = ModelConfig(audio_depth=10, audio_width=2)
    features = FeatureConfig(clip_seconds=0.5)
    tagger = build_audio_tagger(model, features)
    assert tagger.get_layer("audio_tower").compute_dtype == "bfloat16"
    path = tmp_path / "tower.npz"
    tower, head = map(tagger.get_layer, ("audio_tower", "audio_event_head"))
    save_tower(path, tower, TowerMetadata("audio", 10, 2), head)
    found = []
    original = keras.Model.__init__

    def record(self, *args, **kwargs):
        found.append(keras.config.dtype_policy().name)
        original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "__init__", record)
        load_teacher(path, features)
    assert found
    assert set(found) == {"float32"}


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_a_last_batch_has_an_example_for_each_replica(replicas):
    for count in range(2 * replicas, 100):
        size = evaluation_batch_size(count, 32, replicas)
        assert size % replicas == 0
        assert 0 < size <= 32
        rest = count % size
        assert rest == 0 or rest >= replicas
    assert evaluation_batch_size(96, 32, replicas) == 32


def test_an_incomplete_batch_without_a_pair_for_each_replica_is_refused(
    fabricated_advance,
):
    config = factories.build_config(
        fabricated_advance, keep_last_batch=True, batch_size=38
    )
    manifest = factories.build_manifest(fabricated_advance)
    worker = Worker(tf.distribute.get_strategy())
    with pytest.raises(ValueError, match="which has 1 for 2. Set it to False"):
        recognition._check_processes(config, manifest, worker, 2)
    recognition._check_processes(config, manifest, worker, 1)


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"tower_learning_rate": 1e-5}, ["tower_learning_rate=1e-05 has no effect"]),
        (
            {"precision": "mixed_bfloat16", "strategy": "mirrored"},
            ["precision=mixed_bfloat16 has no effect", "strategy=mirrored has no"],
        ),
        ({"precision": "float32", "strategy": "one"}, []),
    ],
)
def test_settings_without_effect_on_stored_towers_are_named(changes, texts):
    config = factories.build_config("", **changes)
    frozen = dataclasses.replace(
        config.model, image_frozen_stages=5, audio_frozen_stages=5
    )
    assert unused_settings(config) == []
    every_epoch = dataclasses.replace(config.training, cached_views=0)
    config = dataclasses.replace(config, model=frozen)
    found = unused_settings(config)
    assert len(found) == len(texts)
    for text, expected in zip(found, texts, strict=True):
        assert text.startswith(expected)
    assert unused_settings(dataclasses.replace(config, training=every_epoch)) == []


def test_a_run_warns_of_settings_without_effect(caplog, monkeypatch, tmp_path):
    config = factories.build_config("", precision="mixed_float16")
    frozen = dataclasses.replace(
        config.model, image_frozen_stages=5, audio_frozen_stages=5
    )
    monkeypatch.setattr(recognition, "train_frozen", lambda *given, **named: None)
    config = dataclasses.replace(config, model=frozen)
    recognition.train_recognizer(config, None, tmp_path, knowledge=None)
    assert "precision=mixed_float16 has no effect" in caplog.text
