"""Folded models: equal outputs without batch normalization."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.folding import fold_batch_norms, fold_kernel, freeze_graph
from advance_tf.models.recognizer import build_audio_tagger, build_recognizer
from advance_tf.models.resnet import BatchNorm, Conv2D
from tests.models.random_statistics import all_layers, randomize_batch_norms

FEATURES = FeatureConfig(image_size=64, clip_seconds=0.8)
SETTINGS = {"image_width": 8, "audio_width": 4}


def build(transfer="none", depth=10, **settings):
    keras.utils.set_random_seed(1)
    depths = {"image_depth": depth, "audio_depth": depth}
    model = ModelConfig(**depths, **SETTINGS, **settings)
    return randomize_batch_norms(build_recognizer(model, FEATURES, transfer))


def inputs(size=3):
    rng = np.random.default_rng(0)
    return {
        "image": tf.constant(rng.uniform(0, 255, (size, 64, 64, 3)), tf.float32),
        "log_mel": tf.constant(rng.normal(size=(size, 32, 64)), tf.float32),
    }


def assert_equal_outputs(model, folded, names=None):
    for size in (1, 3):
        expected = model(inputs(size), training=False)
        received = folded(inputs(size))
        assert set(received) == set(names or expected)
        for name, value in received.items():
            bound = 1e-5 * np.abs(expected[name]).max()
            assert value.dtype == tf.float32
            np.testing.assert_allclose(value, expected[name], rtol=0, atol=bound)


@pytest.mark.parametrize("depth", [10, 50])
def test_folded_recognizer_equals_the_recognizer(depth):
    model = build("kl_audio", depth)
    assert_equal_outputs(model, fold_batch_norms(model))


def test_batch_norms_become_biases():
    model = build("sq_audiovisual")
    folded = fold_batch_norms(model)
    kinds = [type(layer) for layer in all_layers(folded)]
    assert not any(issubclass(kind, BatchNorm) for kind in kinds)
    assert kinds.count(Conv2D) == 2 * 12
    # Padding remains only before the pooling of each tower.
    assert kinds.count(keras.layers.ZeroPadding2D) == 2
    # Of the four vectors of a batch normalization, one remains: the bias.
    norms = [x for x in all_layers(model) if isinstance(x, BatchNorm)]
    removed = 3 * sum(norm.gamma.shape[0] for norm in norms)
    assert folded.count_params() == model.count_params() - removed
    image_tower = folded.get_layer("image_tower")
    assert image_tower.get_layer("features").output.shape == (None, 2, 2, 64)


def test_outputs_are_selected_by_name():
    model = build("kl_audio")
    folded = fold_batch_norms(model, ["scene_logits"])
    assert_equal_outputs(model, folded, ["scene_logits"])
    assert "audio_event_head" not in [layer.name for layer in folded.layers]
    audio = fold_batch_norms(model, ["audio_event_logits"])
    assert_equal_outputs(model, audio, ["audio_event_logits"])
    assert "image_tower" not in [layer.name for layer in audio.layers]
    for names in ([], ["event_logits"]):
        with pytest.raises(ValueError, match="outputs must be one or more of scene"):
            fold_batch_norms(model, names)


@pytest.mark.parametrize(
    ("modality", "unused"), [("image", "audio_tower"), ("sound", "image_tower")]
)
def test_unused_tower_becomes_a_constant(modality, unused):
    model = build("kl_audiovisual", modality=modality, dropout=0.5)
    folded = fold_batch_norms(model)
    assert_equal_outputs(model, folded)
    assert unused not in [layer.name for layer in folded.layers]


def test_folded_tagger_equals_the_tagger():
    config = ModelConfig(audio_depth=10, audio_width=4)
    tagger = randomize_batch_norms(build_audio_tagger(config, FEATURES))
    log_mel = {"log_mel": inputs()["log_mel"]}
    expected = tagger(log_mel, training=False)["event_logits"]
    received = fold_batch_norms(tagger)(log_mel)["event_logits"]
    bound = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(received, expected, rtol=0, atol=bound)


def test_half_precision_model_folds_to_float32():
    reference = build("kl_audio")
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = build("kl_audio")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.set_weights(reference.get_weights())
    assert_equal_outputs(reference, fold_batch_norms(model))


def test_kernel_is_folded_in_float64():
    norm = BatchNorm()
    norm.build((None, 1, 1, 2))
    values = ([2, 3], [1, 2], [4, 5], [9, 0])
    norm.set_weights([np.array(value, np.float32) for value in values])
    kernel, bias = fold_kernel(np.full((1, 1, 1, 2), 0.1, np.float32), norm)
    scale = np.array([2, 3]) / np.sqrt(np.array([9, 0]) + 1e-5)
    np.testing.assert_array_equal(
        kernel[0, 0, 0], (np.float64(np.float32(0.1)) * scale).astype(np.float32)
    )
    expected = np.array([1, 2]) - np.array([4, 5]) * scale
    np.testing.assert_array_equal(bias, expected.astype(np.float32))


def random_image(*shape):
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def test_batch_norm_without_convolution_stays():
    given = keras.Input((4, 4, 2))
    model = randomize_batch_norms(keras.Model(given, BatchNorm(name="alone")(given)))
    folded = fold_batch_norms(model)
    assert isinstance(folded.get_layer("alone"), BatchNorm)
    image = random_image(1, 4, 4, 2)
    np.testing.assert_array_equal(folded(image), model(image, training=False))


def test_convolution_with_another_consumer_stays():
    given = keras.Input((4, 4, 2))
    convolved = keras.layers.Conv2D(2, 1, use_bias=False, name="conv")(given)
    total = keras.layers.Add()([convolved, BatchNorm(name="bn")(convolved)])
    model = randomize_batch_norms(keras.Model(given, total))
    folded = fold_batch_norms(model)
    assert isinstance(folded.get_layer("bn"), BatchNorm)
    image = random_image(1, 4, 4, 2)
    np.testing.assert_array_equal(folded(image), model(image, training=False))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("margins", [(0, 1), (1, 1), None])
@pytest.mark.parametrize("kind", ["conv", "depthwise"])
def test_padding_and_bias_of_convolutions_are_kept(kind, margins, padding):
    """Keras' "same" pads strides of 2 on one side, as do networks of its own."""
    given = keras.Input((6, 8, 3))
    x = given
    if margins:
        x = keras.layers.ZeroPadding2D((margins, margins))(x)
    settings = {"strides": 2, "padding": padding, "bias_initializer": "ones"}
    if kind == "conv":
        x = keras.layers.Conv2D(5, 3, **settings)(x)
    else:
        x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, **settings)(x)
    model = randomize_batch_norms(keras.Model(given, BatchNorm(name="bn")(x)))
    folded = fold_batch_norms(model)
    assert not any(isinstance(layer, BatchNorm) for layer in folded.layers)
    image = random_image(2, 6, 8, 3)
    expected = model(image, training=False)
    np.testing.assert_allclose(folded(image), expected, rtol=0, atol=1e-5)


def test_frozen_model_has_constants_and_can_be_saved(tmp_path):
    folded = fold_batch_norms(build("kl_audio"))
    module = tf.Module()
    module.recognize = freeze_graph(folded)
    expected = folded(inputs())
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).recognize
    received = loaded(inputs())
    for name, value in expected.items():
        bound = 1e-6 * np.abs(value).max()
        np.testing.assert_allclose(received[name], value, rtol=0, atol=bound)
    function = module.recognize.get_concrete_function()
    kinds = [node.op for node in function.graph.as_graph_def().node]
    assert kinds.count("Conv2D") == kinds.count("BiasAdd") - 2 == 40
    assert "ReadVariableOp" not in kinds
    assert kinds.count("Pad") == 2


def test_folded_model_is_serializable():
    folded = fold_batch_norms(build(modality="image"))
    rebuilt = keras.Model.from_config(folded.get_config())
    rebuilt.set_weights(folded.get_weights())
    np.testing.assert_array_equal(
        rebuilt(inputs())["scene_logits"], folded(inputs())["scene_logits"]
    )
