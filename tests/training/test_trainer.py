"""The training step against NumPy; unused heads, loss scaling and errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import TrainingConfig
from advance_tf.losses.objective import SceneLoss, Term
from advance_tf.metrics.scores import ConfusionScores
from advance_tf.training.optimizer import build_optimizer
from advance_tf.training.trainer import Score, Trainer

MSE = keras.losses.MeanSquaredError


def build_linear_model():
    """Two heads without bias on one input of three numbers."""
    inputs = keras.Input((3,), name="x")
    heads = {
        name: keras.layers.Dense(
            2, use_bias=False, name=name, kernel_initializer="ones", dtype="float32"
        )(inputs)
        for name in ("first", "second")
    }
    return keras.Model({"x": inputs}, heads)


def build_batch(size=4):
    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(size=(size, 3)).astype(np.float32)}
    targets = {
        "target": rng.normal(size=(size, 2)).astype(np.float32),
        "scene": rng.integers(0, 2, size).astype(np.int32),
    }
    return inputs, targets


def build_compiled(objective, scores=(), optimizer=None):
    trainer = Trainer(build_linear_model(), objective, scores)
    trainer.compile(optimizer=optimizer or keras.optimizers.SGD(0.1))
    return trainer


def test_a_step_minimizes_the_weighted_sum_of_the_terms():
    inputs, targets = build_batch()
    trainer = build_compiled(
        {
            "near": Term(MSE(), "target", "first", 1.0),
            "far": Term(MSE(), "target", "first", 0.5),
        }
    )
    logs = trainer.train_on_batch(inputs, targets, return_dict=True)
    error = inputs["x"] @ np.ones((3, 2)) - targets["target"]
    gradient = 1.5 * 2 * inputs["x"].T @ error / error.size
    np.testing.assert_allclose(
        trainer.model.get_layer("first").kernel.numpy(),
        1 - 0.1 * gradient,
        rtol=1e-5,
    )
    mean_square = (error**2).mean()
    assert logs["near_loss"] == pytest.approx(mean_square, rel=1e-5)
    assert logs["far_loss"] == pytest.approx(0.5 * mean_square, rel=1e-5)
    assert logs["loss"] == pytest.approx(1.5 * mean_square, rel=1e-5)


def test_weight_decay_does_not_change_a_head_that_no_term_uses():
    inputs, targets = build_batch()
    config = TrainingConfig(learning_rate=0.1, weight_decay=0.5)
    trainer = build_compiled(
        {"near": Term(MSE(), "target", "first", 1.0)}, optimizer=build_optimizer(config)
    )
    trainer.optimizer.build(trainer.model.trainable_variables)
    trainer.train_on_batch(inputs, targets)
    np.testing.assert_array_equal(trainer.model.get_layer("second").kernel, 1.0)
    assert np.abs(trainer.model.get_layer("first").kernel.numpy() - 1).max() > 0.05


def test_evaluation_changes_no_weight_and_reports_loss_and_scores():
    inputs, targets = build_batch()
    score = Score(ConfusionScores(classes=2), "scene", "first")
    trainer = build_compiled(
        {"scene": Term(SceneLoss(), "scene", "first", 1.0)}, [score]
    )
    tested = trainer.test_on_batch(inputs, targets, return_dict=True)
    np.testing.assert_array_equal(trainer.model.get_layer("first").kernel, 1.0)
    logits = inputs["x"] @ np.ones((3, 2))
    log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -log_probs[np.arange(4), targets["scene"]].mean()
    assert tested["loss"] == pytest.approx(expected, rel=1e-5)
    assert tested["accuracy"] == pytest.approx((targets["scene"] == 0).mean())


def test_loss_scaling_does_not_change_the_step():
    inputs, targets = build_batch()
    objective = {"near": Term(MSE(), "target", "first", 1.0)}
    plain = build_compiled(objective)
    scaled = build_compiled(
        objective,
        optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
    )
    for trainer in (plain, scaled):
        trainer.train_on_batch(inputs, targets)
    np.testing.assert_allclose(
        scaled.model.get_layer("first").kernel,
        plain.model.get_layer("first").kernel,
        rtol=1e-6,
    )


def test_a_batch_that_is_not_finite_is_skipped_under_loss_scaling():
    inputs, targets = build_batch()
    inputs["x"][0] = np.inf
    scaled = build_compiled(
        {"near": Term(MSE(), "target", "first", 1.0)},
        optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
    )
    scaled.optimizer.build(scaled.model.trainable_variables)
    before = float(scaled.optimizer.dynamic_scale)
    scaled.train_on_batch(inputs, targets)
    np.testing.assert_array_equal(scaled.model.get_layer("first").kernel, 1.0)
    assert float(scaled.optimizer.dynamic_scale) == before / 2


def test_a_missing_output_is_named():
    with pytest.raises(ValueError, match="needs the output 'third'; the model has"):
        build_compiled({"near": Term(MSE(), "target", "third", 1.0)})


def test_an_empty_objective_is_refused():
    with pytest.raises(ValueError, match="at least one term"):
        build_compiled({})


def test_fit_reports_validation_scores_of_all_batches_together():
    inputs, targets = build_batch(6)
    score = Score(ConfusionScores(classes=2), "scene", "first")
    trainer = build_compiled(
        {"scene": Term(SceneLoss(), "scene", "first", 1.0)}, [score]
    )
    dataset = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(4)
    history = trainer.fit(dataset, validation_data=dataset, epochs=1, verbose=0)
    kernel = trainer.model.get_layer("first").kernel.numpy()
    predicted = (inputs["x"] @ kernel).argmax(1)
    expected = (predicted == targets["scene"]).mean()
    assert history.history["val_accuracy"][0] == pytest.approx(expected)
