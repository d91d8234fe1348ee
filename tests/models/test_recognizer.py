"""The recognizer: outputs, precision, single modalities and frozen layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import Config, FeatureConfig, ModelConfig, TransferConfig
from advance_tf.models.recognizer import (
    build_audio_tagger,
    build_image_classifier,
    build_recognizer,
    stage_of,
)
from advance_tf.training.recognition import build_trainer

FEATURES = FeatureConfig(image_size=32, clip_seconds=0.5)
TINY = {"image_depth": 10, "audio_depth": 10, "image_width": 2, "audio_width": 2}


def inputs(size=3, seed=0, side=32):
    rng = np.random.default_rng(seed)
    return {
        "image": tf.constant(rng.uniform(0, 255, (size, side, side, 3)), tf.float32),
        "log_mel": tf.constant(rng.normal(size=(size, 20, 64)), tf.float32),
    }


def build(transfer="none", features=FEATURES, **settings):
    keras.utils.set_random_seed(1)
    return build_recognizer(ModelConfig(**TINY, **settings), features, transfer)


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
def test_transfer_determines_the_event_head(transfer, names):
    outputs = build(transfer)(inputs())
    assert sorted(outputs) == sorted(["scene_logits", *names])
    assert outputs["scene_logits"].shape == (3, 13)
    for name in names:
        assert outputs[name].shape == (3, 527)


def test_audio_event_head_depends_on_the_sound_only():
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


def ordered_variables(model):
    """The variables by layer: their order in the model depends on the modality."""
    names = ("image_tower", "audio_tower", "scene_head", "audiovisual_event_head")
    return [v for name in names for v in model.get_layer(name).variables]


@pytest.mark.parametrize(
    ("modality", "unused"), [("image", "log_mel"), ("sound", "image")]
)
def test_one_modality_equals_both_with_zeros(modality, unused):
    """Outputs, gradients and running means, in training.

    With the initial shifts of 0, a network of zeros has zeros in every layer. A map
    of one position has a variance of 0, which makes rounding errors of gradients
    some hundred times larger.
    """
    rng = np.random.default_rng(3)
    features = FeatureConfig(image_size=96, clip_seconds=0.5)
    single = build("kl_audiovisual", features, modality=modality)
    both = build("kl_audiovisual", features)
    for target, source in zip(
        ordered_variables(single), ordered_variables(both), strict=True
    ):
        if source.name == "beta":
            source.assign(rng.normal(size=source.shape))
        target.assign(source)
    batch = inputs(side=96)
    zeros = batch | {unused: tf.zeros_like(batch[unused])}
    found = []
    for model, given in ((single, batch), (both, zeros)):
        variables = [v for v in ordered_variables(model) if v.trainable]
        with tf.GradientTape() as tape:
            outputs = model(given, training=True)
            total = sum(tf.reduce_sum(tf.sin(v)) for v in outputs.values())
        gradients = tape.gradient(total, variables)
        means = [v for v in ordered_variables(model) if v.name == "moving_mean"]
        found.append([outputs["scene_logits"], *gradients, *means])
    for one, other in zip(*found, strict=True):
        error = np.linalg.norm(one - other)
        assert error <= 1e-3 * np.linalg.norm(other) + 1e-3


@pytest.mark.parametrize(
    ("modality", "unused"), [("image", "log_mel"), ("sound", "image")]
)
def test_the_running_variance_of_zeros_is_that_of_a_large_batch(modality, unused):
    """(B n − 1) / (B n) of a batch of B, and all else equal; see `BatchNorm`."""
    size, tower = 5, {"image": "audio_tower", "sound": "image_tower"}[modality]
    single, both = build(modality=modality), build()
    rng = np.random.default_rng(3)
    for target, source in zip(
        single.get_layer(tower).weights, both.get_layer(tower).weights, strict=True
    ):
        source.assign(rng.uniform(0.2, 1, source.shape))
        target.assign(source)
    norms = {
        layer.name: 0.9 * layer.moving_variance.numpy()
        for layer in both.get_layer(tower).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    batch = inputs(size)
    single(batch, training=True)
    both(batch | {unused: tf.zeros_like(batch[unused])}, training=True)
    ratios = set()
    for name, kept in norms.items():
        own, layer = (
            model.get_layer(tower).get_layer(name) for model in (single, both)
        )
        np.testing.assert_allclose(own.moving_mean, layer.moving_mean, rtol=1e-4)
        count = size * np.prod(layer.output.shape[1:3])
        ratios.add(ratio := (count - 1) / count)
        expected = kept + ratio * (layer.moving_variance.numpy() - kept)
        np.testing.assert_allclose(own.moving_variance, expected, rtol=1e-4)
    assert min(ratios) < 0.99 < max(ratios)


def test_equal_seeds_give_equal_weights():
    first, second = build("kl_audio"), build("kl_audio")
    for one, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("rate", "training"), [(0.5, True), (0.5, False), (0.0, True)])
def test_dropout_is_active_in_training_only(rate, training):
    model = build(dropout=rate)
    first, second = (model(inputs(), training=training) for _ in range(2))
    difference = np.abs(first["scene_logits"] - second["scene_logits"]).max()
    if rate and training:
        assert difference > 0.01 * np.abs(first["scene_logits"]).max()
    else:
        assert difference == 0


def test_unknown_transfer_raises():
    with pytest.raises(ValueError, match="transfer must be one of none"):
        build_recognizer(ModelConfig(**TINY), FEATURES, "both")


def test_models_of_pretraining_have_their_outputs():
    config = ModelConfig(**TINY)
    tagger = build_audio_tagger(config, FEATURES)
    classifier = build_image_classifier(config, FEATURES, 30)
    batch = inputs()
    assert tagger({"log_mel": batch["log_mel"]})["event_logits"].shape == (3, 527)
    assert classifier({"image": batch["image"]})["class_logits"].shape == (3, 30)


def layers_changed_by_a_step(**frozen):
    """Names of the layers whose variables a training step changes, by tower."""
    config = Config(
        model=ModelConfig(**{**TINY, "image_width": 4, "audio_width": 4}, **frozen),
        features=FEATURES,
        transfer=TransferConfig(transfer="none"),
    )
    trainer = build_trainer(config, None)
    recognizer = trainer.model
    before = {id(v): v.numpy() for v in recognizer.variables}
    trainer.train_on_batch(inputs(size=4), {"scene": np.array([0, 1, 2, 3])})
    changed = {"image": set(), "audio": set(), "head": set()}
    for tower in ("image", "audio"):
        for layer in recognizer.get_layer(f"{tower}_tower").layers:
            if any((v.numpy() != before[id(v)]).any() for v in layer.weights):
                changed[tower].add(layer.name)
    head = recognizer.get_layer("scene_head")
    if (head.kernel.numpy() != before[id(head.kernel)]).any():
        changed["head"].add(head.name)
    return changed


def test_all_layers_are_trained_by_default():
    changed = layers_changed_by_a_step()
    assert {stage_of(name) for name in changed["image"]} == {1, 2, 3, 4, 5}
    assert {"conv1", "bn1", "layer4_0_bn2"} <= changed["audio"]
    assert changed["head"]


def test_frozen_stages_are_not_trained():
    changed = layers_changed_by_a_step(image_frozen_stages=3, audio_frozen_stages=5)
    assert {stage_of(name) for name in changed["image"]} == {4, 5}
    assert changed["audio"] == set()
    assert changed["head"]


def test_frozen_batch_norms_keep_scales_and_statistics():
    changed = layers_changed_by_a_step(freeze_batch_norm=True)
    for tower in ("image", "audio"):
        assert "conv1" in changed[tower]
        norms = [n for n in changed[tower] if "bn" in n or n.endswith("downsample_1")]
        assert not norms


@pytest.mark.parametrize(
    ("layer", "stage"),
    [("conv1", 1), ("bn1", 1), ("layer1_0_conv1", 2), ("layer4_0_bn2", 5)],
)
def test_stage_of_a_layer(layer, stage):
    assert stage_of(layer) == stage
