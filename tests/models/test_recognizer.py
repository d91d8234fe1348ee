"""The recognizer's outputs, precisions and single modalities."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.recognizer import (
    build_audio_tagger,
    build_image_classifier,
    build_recognizer,
)

FEATURES = FeatureConfig(image_size=32, clip_seconds=0.5)
TINY = {"image_depth": 18, "audio_depth": 18, "image_width": 2, "audio_width": 2}


def inputs(size=3, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": tf.constant(rng.uniform(0, 255, (size, 32, 32, 3)), tf.float32),
        "log_mel": tf.constant(rng.normal(size=(size, 20, 64)), tf.float32),
    }


def build(transfer="none", **settings):
    keras.utils.set_random_seed(1)
    return build_recognizer(ModelConfig(**TINY, **settings), FEATURES, transfer)


@pytest.mark.parametrize(
    ("transfer", "names"),
    [
        ("none", []),
        ("event", []),
        ("sq_audio", ["audio_event_logits"]),
        ("kl_audio", ["audio_event_logits"]),
        ("sq_audiovisual", ["audiovisual_event_logits"]),
        ("kl_audiovisual", ["audiovisual_event_logits"]),
    ],
)
def test_the_objective_decides_the_event_head(transfer, names):
    outputs = build(transfer)(inputs())
    assert sorted(outputs) == sorted(["scene_logits", *names])
    assert outputs["scene_logits"].shape == (3, 13)
    for name in names:
        assert outputs[name].shape == (3, 527)


def test_the_audio_event_head_hears_and_does_not_see():
    model = build("kl_audio")
    first, second = inputs(seed=0), inputs(seed=1)
    mixed = {"image": second["image"], "log_mel": first["log_mel"]}
    expected = model(first)["audio_event_logits"]
    np.testing.assert_allclose(model(mixed)["audio_event_logits"], expected, atol=1e-5)
    assert np.abs(model(mixed)["scene_logits"] - model(first)["scene_logits"]).max() > 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_float32_under_mixed_precision(policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = build("kl_audio")
        outputs = model(inputs(), training=True)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert {v.dtype for v in outputs.values()} == {tf.float32}
    assert model.get_layer("image_tower").get_layer("conv1").compute_dtype != "float32"
    assert all(np.isfinite(v).all() for v in outputs.values())


def ordered(model):
    """The variables by layer; models of another modality list them otherwise."""
    names = ("image_tower", "audio_tower", "scene_head", "audiovisual_event_head")
    return [v for name in names for v in model.get_layer(name).variables]


@pytest.mark.parametrize(
    ("modality", "unused"), [("image", "log_mel"), ("sound", "image")]
)
def test_one_modality_equals_both_with_a_batch_of_zeros(modality, unused):
    """Outputs, gradients and batch-norm statistics, in training."""
    single, both = build("kl_audiovisual", modality=modality), build("kl_audiovisual")
    for target, source in zip(ordered(single), ordered(both), strict=True):
        target.assign(source)
    batch = inputs()
    zeros = batch | {unused: tf.zeros_like(batch[unused])}
    found = []
    for model, given in ((single, batch), (both, zeros)):
        variables = [v for v in ordered(model) if v.trainable]
        with tf.GradientTape() as tape:
            outputs = model(given, training=True)
            total = sum(tf.reduce_sum(tf.sin(v)) for v in outputs.values())
        gradients = tape.gradient(total, variables)
        statistics = [v for v in ordered(model) if not v.trainable]
        found.append([outputs["scene_logits"], *gradients, *statistics])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)


def test_seeds_make_weights_repeatable():
    first, again = build("kl_audio"), build("kl_audio")
    for one, other in zip(first.variables, again.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_dropout_acts_in_training_only():
    model = build(dropout=0.5)
    once = model(inputs(), training=False)["scene_logits"]
    again = model(inputs(), training=False)["scene_logits"]
    np.testing.assert_array_equal(once, again)
    assert "dropout" in [layer.name for layer in model.layers]


def test_an_unknown_transfer_is_refused():
    with pytest.raises(ValueError, match="transfer must be one of none"):
        build_recognizer(ModelConfig(**TINY), FEATURES, "both")


def test_models_for_pretraining():
    config = ModelConfig(**TINY)
    tagger = build_audio_tagger(config, FEATURES)
    classifier = build_image_classifier(config, FEATURES, 30)
    batch = inputs()
    assert tagger({"log_mel": batch["log_mel"]})["event_logits"].shape == (3, 527)
    assert classifier({"image": batch["image"]})["class_logits"].shape == (3, 30)
