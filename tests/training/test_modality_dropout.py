"""Training with modality_dropout: the mask, both paths, one model for all inputs."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import ModelConfig
from advance_tf.losses.objective import Term
from advance_tf.losses.scene import SceneLoss
from advance_tf.models.heads import build_heads, with_mask
from advance_tf.models.recognizer import build_recognizer
from advance_tf.training import recognition
from advance_tf.training.modality_dropout import ModalityDropout
from advance_tf.training.trainer import Trainer
from tests.training import factories
from tests.training.test_heads import build_config, data, train  # noqa: F401

SIZES = {"image": 6, "audio": 4}


def step_number(number):
    return tf.constant(number, tf.int64)


def test_the_mask_depends_on_seed_and_step_and_has_the_given_share():
    dropout = ModalityDropout(0.4, seed=7)
    mask = dropout.draw(20_000, step_number(3)).numpy()
    # Three deviations of a share of 0.2 among 20,000.
    np.testing.assert_allclose(mask.mean(axis=0), [0.8, 0.8], atol=0.0085)
    assert mask.sum(axis=1).min() == 1
    np.testing.assert_array_equal(mask, dropout.draw(20_000, step_number(3)))
    assert (mask != dropout.draw(20_000, step_number(4)).numpy()).any()
    dropout.seed.assign(8)
    assert (mask != dropout.draw(20_000, step_number(3)).numpy()).any()


def test_a_step_uses_the_drawn_mask_and_evaluation_both_inputs():
    heads = build_heads(ModelConfig(modality_dropout=1.0), SIZES)
    rng = np.random.default_rng(0)
    for tower, size in SIZES.items():
        heads.get_layer(f"{tower}_absent").set_weights([rng.normal(size=size)])
    dropout = ModalityDropout(1.0, seed=1)
    term = Term(SceneLoss(), "scene", "scene_logits", 1.0)
    trainer = Trainer(heads, {"scene": term}, modality_dropout=dropout)
    trainer.compile(optimizer="sgd")
    given = {
        tower: tf.constant(rng.normal(size=(9, size)), tf.float32)
        for tower, size in SIZES.items()
    }
    scenes = {"scene": tf.constant(rng.integers(0, 13, 9), tf.int32)}
    mask = dropout.draw(9, step_number(0)).numpy()
    assert (mask.sum(axis=1) == 1).all()
    kernel, bias = heads.get_layer("scene_head").get_weights()
    parts = [
        np.where(
            mask[:, [column]] > 0,
            given[tower].numpy(),
            heads.get_layer(f"{tower}_absent").get_weights()[0],
        )
        for column, tower in enumerate(SIZES)
    ]

    def loss(joint):
        logits = joint @ kernel + bias
        logits -= logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -logs[np.arange(9), scenes["scene"]].mean()

    own = [given[tower].numpy() for tower in SIZES]
    expected = loss(np.hstack([*own, np.ones((9, 2))]))
    found = trainer.test_step((given, scenes))
    assert float(found["loss"]) == pytest.approx(expected, abs=1e-5)
    trainer.reset_metrics()
    found = trainer.train_step((given, scenes))
    assert float(found["loss"]) == pytest.approx(loss(np.hstack([*parts, mask])), 1e-5)


def test_heads_answer_from_one_input(data):  # noqa: F811
    config = build_config(model={"modality_dropout": 0.5}, epochs=30)
    model, plain = train(data, config), train(data, build_config(epochs=30))
    rows = data.rows("test")
    true = data.embeddings.scenes[rows]

    def accuracy(trained, mask=(1.0, 1.0)):
        return (trained.scene_probs(rows, mask).argmax(axis=1) == true).mean()

    assert accuracy(model) >= accuracy(plain) - 0.1
    alone = model.logits(rows, (1.0, 0.0))["scene_logits"]
    assert accuracy(model, (1.0, 0.0)) > 0.6
    # Without the input its embedding has no effect.
    shifted = with_mask(model.heads, data.embeddings.rows(rows), (1.0, 0.0))
    shifted["audio"] = shifted["audio"] + 100
    again = model.heads(shifted, training=False)["scene_logits"]
    np.testing.assert_array_equal(alone, again)


def test_the_recognizer_is_trained_with_the_mask(tmp_path):
    config = factories.build_config(tmp_path)
    model = dataclasses.replace(config.model, modality_dropout=1.0)
    config = dataclasses.replace(config, model=model)
    with factories.tiny_towers(recognition):
        trainer = recognition.build_trainer(config, None)
    assert trainer.modality_dropout is not None
    frames = factories.FEATURES.frames
    inputs = {
        "image": tf.random.stateless_uniform((4, 32, 32, 3), (0, 1), 0, 255),
        "log_mel": tf.random.stateless_normal((4, frames, 64), (0, 2)),
    }
    absent = trainer.model.get_layer("image_absent").weights[0]
    logs = trainer.train_step((inputs, {"scene": tf.constant([0, 1, 2, 3])}))
    assert np.isfinite(float(logs["loss"]))
    # The trained vector changes only where an image is absent.
    assert np.abs(absent.numpy()).max() > 0


def test_one_modality_has_no_mask():
    with pytest.raises(
        ValueError, match="modality_dropout must be 0 with one modality"
    ):
        ModelConfig(modality="image", modality_dropout=0.5)
    recognizer = build_recognizer(
        ModelConfig(
            modality="both",
            image_depth=10,
            audio_depth=10,
            image_width=2,
            audio_width=2,
        ),
        factories.FEATURES,
    )
    assert set(recognizer.input) == {"image", "log_mel"}
