"""Random weights by name, hashes of weights beside a file, and absolute names."""

import keras
import numpy as np
import pytest

from advance_tf.config import RANDOM_WEIGHTS, Config, FeatureConfig, ModelConfig
from advance_tf.models.backbones.registry import (
    absolute_name,
    build_tower,
    check_weights,
    initial_weights,
    weights_sources,
)
from advance_tf.models.backbones.yamnet import activation_limit
from advance_tf.teacher.loading import find_teacher
from advance_tf.training.embedding_store import tower_digest
from tests.models.backbones.network_files import (
    COLORS,
    SIDE,
    keras_image,
    move_weights_beside,
    write_onnx,
)

FEATURES = FeatureConfig(image_size=2 * SIDE)


def test_random_weights_replace_those_of_a_keras_file(tmp_path):
    keras_image().save(tmp_path / "image.keras")
    name = f"file:{tmp_path / 'image.keras'},output=map"

    def kernel(weights):
        keras.utils.set_random_seed(0)
        model = ModelConfig(image_backbone=name, image_weights=weights)
        check_weights(model)
        (found,) = build_tower("image", model, FEATURES).get_weights()
        return found, weights_sources(model)["image"]

    stored, source = kernel("")
    np.testing.assert_array_equal(stored, COLORS)
    assert (source.source, len(source.sha256)) == ("file", 64)
    random, source = kernel(RANDOM_WEIGHTS)
    assert np.abs(random - COLORS).max() > 0.01
    assert (source.source, source.sha256) == ("random initial weights", "")


def test_random_weights_are_refused_where_a_file_cannot_be_trained(tmp_path):
    path = write_onnx(tmp_path / "image.onnx")
    model = ModelConfig(
        image_backbone=f"file:{path},output=embedding", image_weights=RANDOM_WEIGHTS
    )
    with pytest.raises(ValueError, match="image_weights must not be 'random' with .*"):
        check_weights(model)


@pytest.mark.parametrize("backbone", ["resnet", "yamnet", "kerashub:dinov2_small"])
def test_random_is_the_name_of_no_file(backbone):
    tower = "audio" if backbone == "yamnet" else "image"
    settings = {f"{tower}_backbone": backbone, f"{tower}_weights": RANDOM_WEIGHTS}
    model = ModelConfig(**settings)
    assert initial_weights(tower, model) == ""
    assert activation_limit(RANDOM_WEIGHTS) == activation_limit("")


def test_random_weights_are_no_teacher():
    config = Config(model=ModelConfig(audio_weights=RANDOM_WEIGHTS))
    assert find_teacher(config) is None


def test_stored_embeddings_belong_to_the_weights_beside_an_onnx_file(tmp_path):
    path = write_onnx(tmp_path / "image.onnx")
    weights = move_weights_beside(path)
    model = ModelConfig(
        image_backbone=f"file:{path},output=embedding", image_frozen_stages=5
    )
    images = np.full((1, 2 * SIDE, 2 * SIDE, 3), 100, np.float32)

    def computed():
        tower = build_tower("image", model, FEATURES)
        return tower_digest(tower), np.asarray(tower(images))

    digest, vectors = computed()
    assert computed()[0] == digest
    assert np.abs(vectors).min() > 0
    weights.write_bytes(bytes(len(weights.read_bytes())))
    other, found = computed()
    assert other != digest
    # The file is opened again, although its graph is the same.
    np.testing.assert_array_equal(found, 0)


def test_names_have_absolute_paths(tmp_path, monkeypatch):
    (tmp_path / "preset").mkdir()
    monkeypatch.chdir(tmp_path)
    assert (
        absolute_name("file:a/b.onnx,output=x") == f"file:{tmp_path}/a/b.onnx,output=x"
    )
    name = "kerashub:preset,size=64,tokens=class"
    assert absolute_name(name) == f"kerashub:{tmp_path}/preset,size=64,tokens=class"
    for unchanged in ("kerashub:dinov2_small", "resnet", "keras:ConvNeXtTiny"):
        assert absolute_name(unchanged) == unchanged
