"""Heads: normalization, hidden layer, and their matrices against the model."""

import keras
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.heads import (
    EmbeddingNormalization,
    build_heads,
    copy_heads,
    dense_layers,
    embedding_model,
)
from advance_tf.models.recognizer import build_recognizer

RNG = np.random.default_rng(0)
SIZES = {"image": 6, "audio": 4}
INPUTS = {
    "image": RNG.normal(3, 2, (5, 6)).astype(np.float32),
    "audio": RNG.normal(-1, 0.1, (5, 4)).astype(np.float32),
}
TRAINING = {
    name: RNG.normal(1, 3, (50, size)).astype(np.float32)
    for name, size in SIZES.items()
}
TINY = {"image_depth": 10, "audio_depth": 10, "image_width": 2, "audio_width": 2}
FEATURES = FeatureConfig(image_size=32, clip_seconds=0.5)


def trained_heads(transfer, **settings):
    """Heads with random biases and an adapted normalization."""
    heads = build_heads(ModelConfig(**settings), SIZES, transfer)
    for layer in heads.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.bias.assign(RNG.normal(size=layer.bias.shape))
        if isinstance(layer, EmbeddingNormalization):
            layer.adapt(TRAINING[layer.name.partition("_")[0]])
    return heads


def test_the_normalization_is_that_of_scikit_learn():
    layer = EmbeddingNormalization()
    layer.adapt(TRAINING["image"])
    expected = StandardScaler().fit(TRAINING["image"]).transform(INPUTS["image"])
    np.testing.assert_allclose(layer(INPUTS["image"]), expected, rtol=1e-5, atol=1e-5)


def test_a_feature_that_is_almost_constant_in_training_does_not_dominate():
    values = TRAINING["image"].copy()
    values[:, 0] = 2.0
    values[:, 1] = 2.0 + 1e-6 * RNG.normal(size=50)
    layer = EmbeddingNormalization()
    layer.adapt(values)
    found = np.asarray(layer(values[:1] + 1.0))
    # A tenth of the root mean square deviation.
    least = np.sqrt(values.astype(np.float64).var(axis=0).mean()) / 10
    np.testing.assert_allclose(found[0, :2], 1 / least, rtol=1e-4)
    own = values[:, 2:].astype(np.float64)
    scaled = (own[0] + 1 - own.mean(axis=0)) / own.std(axis=0)
    np.testing.assert_allclose(found[0, 2:], scaled, rtol=1e-4)


@pytest.mark.parametrize("transfer", ["none", "kl_audio", "sq_audiovisual"])
@pytest.mark.parametrize("units", [0, 3])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_matrices_compute_what_the_model_computes(transfer, units, normalize):
    heads = trained_heads(
        transfer, head_units=units, normalize_embeddings=normalize, dropout=0.5
    )
    joint = np.concatenate(list(INPUTS.values()), axis=1)
    for name, logits in heads(INPUTS, training=False).items():
        found = INPUTS["audio"] if name == "audio_event_logits" else joint
        matrices = dense_layers(heads, name)
        assert len(matrices) == (2 if units and name != "audio_event_logits" else 1)
        for number, (kernel, bias) in enumerate(matrices):
            found = (np.maximum(found, 0) if number else found) @ kernel + bias
        np.testing.assert_allclose(logits, found, rtol=2e-4, atol=2e-4)


def test_the_recognizer_is_its_towers_and_heads():
    """Copied heads on the embeddings give the recognizer's logits."""
    model = ModelConfig(
        **TINY, normalize_embeddings=True, head_units=3, modality="image"
    )
    recognizer = build_recognizer(model, FEATURES, "kl_audio")
    inputs = {
        "image": RNG.uniform(0, 255, (4, 32, 32, 3)).astype(np.float32),
        "log_mel": RNG.normal(size=(4, 20, 64)).astype(np.float32),
    }
    embeddings = embedding_model(recognizer)(inputs)
    assert {name: e.shape for name, e in embeddings.items()} == {
        "image": (4, 16),
        "audio": (4, 16),
    }
    # The sound is not in use.
    np.testing.assert_array_equal(
        embeddings["audio"], np.repeat(embeddings["audio"][:1], 4, axis=0)
    )
    heads = build_heads(model, {"image": 16, "audio": 16}, "kl_audio")
    heads.get_layer("image_normalization").adapt(embeddings["image"])
    copy_heads(heads, recognizer)
    expected = heads(embeddings)
    for name, logits in recognizer(inputs).items():
        np.testing.assert_allclose(logits, expected[name], rtol=1e-4, atol=1e-5)


def test_settings_decide_on_the_layers():
    def names(**settings):
        heads = build_heads(ModelConfig(**settings), SIZES, "kl_audiovisual")
        return {layer.name for layer in heads.layers} - set(SIZES)

    plain = {"joined", "scene_head", "audiovisual_event_head"}
    assert names() == plain
    assert names(head_units=7, dropout=0.1) == plain | {"hidden", "dropout"}
    assert names(normalize_embeddings=True) == plain | {
        "image_normalization",
        "audio_normalization",
    }
