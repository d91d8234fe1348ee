"""The contract of every tower: shapes, batch normalization, files, folding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.models.folding import fold_batch_norms
from advance_tf.models.resnet import BatchNorm, build_resnet
from advance_tf.models.weights import TowerMetadata, load_tower, save_tower
from tests.models.random_statistics import randomize_batch_norms

WIDTH = 4
INPUT_SHAPES = {"image": (32, 32, 3), "audio": (16, 32, 1)}
# A depth of basic and one of bottleneck blocks; `test_resnet.py` has every depth.
CASES = [(kind, depth) for kind in INPUT_SHAPES for depth in (18, 50)]


@pytest.fixture(
    scope="module", params=CASES, ids=[f"{kind}-{depth}" for kind, depth in CASES]
)
def case(request):
    """Kind, depth and tower, and a batch of three inputs."""
    kind, depth = request.param
    keras.utils.set_random_seed(0)
    stride = 1 if kind == "audio" else 2
    tower = build_resnet(depth, WIDTH, INPUT_SHAPES[kind], stride, f"{kind}_tower")
    randomize_batch_norms(tower)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(3, *INPUT_SHAPES[kind])).astype(np.float32)
    return kind, depth, tower, tf.constant(inputs)


def moving_statistics(tower):
    return [
        value.numpy()
        for layer in tower.layers
        if isinstance(layer, BatchNorm)
        for value in (layer.moving_mean, layer.moving_variance)
    ]


def test_input_spec_and_embedding_size(case):
    kind, depth, tower, inputs = case
    assert tower.name == f"{kind}_tower"
    assert tower.input_shape == (None, *INPUT_SHAPES[kind])
    assert tower.input.dtype == "float32"
    size = WIDTH * (32 if depth >= 50 else 8)
    assert tower.output_shape == (None, size)
    for batch in (1, 3):
        embedding = tower(inputs[:batch], training=False)
        assert embedding.shape == (batch, size)
        assert embedding.dtype == tf.float32
        assert np.isfinite(embedding).all()
        # The embedding is a mean of values after a ReLU.
        assert np.min(embedding) >= 0
        assert np.max(embedding) > 0


def test_inference_uses_moving_statistics_and_training_the_batch(case):
    _, _, tower, inputs = case
    weights = tower.get_weights()
    before = moving_statistics(tower)
    inference = tower(inputs, training=False)
    for found, expected in zip(moving_statistics(tower), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    # An example does not depend on the others of its batch.
    alone = tower(inputs[1:2], training=False)
    bound = 1e-4 * np.abs(inference).max()
    np.testing.assert_allclose(alone[0], inference[1], rtol=0, atol=bound)

    training = tower(inputs, training=True)
    assert np.isfinite(training).all()
    assert np.abs(training - inference).max() > bound
    for found, expected in zip(moving_statistics(tower), before, strict=True):
        assert np.isfinite(found).all()
        assert (found != expected).any()
    tower.set_weights(weights)


def test_configuration_and_weights_rebuild_the_tower(case, tmp_path):
    kind, depth, tower, inputs = case
    rebuilt = keras.Model.from_config(tower.get_config())
    assert rebuilt.name == tower.name
    expected = tower(inputs, training=False)
    assert np.abs(rebuilt(inputs, training=False) - expected).max() > 0
    metadata = TowerMetadata(kind, depth, WIDTH, source="test")
    save_tower(tmp_path / "tower.npz", tower, metadata)
    assert load_tower(tmp_path / "tower.npz", rebuilt, metadata) == metadata
    for found, saved in zip(rebuilt.variables, tower.variables, strict=True):
        np.testing.assert_array_equal(found, saved)
    np.testing.assert_array_equal(rebuilt(inputs, training=False), expected)


def test_folded_tower_equals_the_tower(case):
    _, _, tower, inputs = case
    folded = fold_batch_norms(tower)
    assert not any(isinstance(layer, BatchNorm) for layer in folded.layers)
    expected = tower(inputs, training=False)
    bound = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(folded(inputs), expected, rtol=0, atol=bound)
