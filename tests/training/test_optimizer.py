"""Steps of Adam against NumPy and PyTorch, and the learning rate schedule."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from advance_tf.config import TrainingConfig
from advance_tf.training.optimizer import (
    DecayedAdam,
    build_optimizer,
    learning_rate_at,
)


def numpy_adam(weights, gradients, rate, decay, mode, epsilon=1e-8):
    """Adam in float64 as PyTorch documents it."""
    weights = weights.astype(np.float64)
    mean = np.zeros_like(weights)
    square = np.zeros_like(weights)
    for step, gradient in enumerate(gradients, start=1):
        if mode == "l2":
            gradient = gradient + decay * weights
        else:
            weights = weights * (1 - rate * decay)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        mean_hat = mean / (1 - 0.9**step)
        square_hat = square / (1 - 0.999**step)
        weights = weights - rate * mean_hat / (np.sqrt(square_hat) + epsilon)
    return weights


@pytest.mark.parametrize("mode", ["l2", "decoupled"])
@pytest.mark.parametrize("scale", [1.0, 1e-7])
def test_five_steps_equal_numpy(mode, scale):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3)).astype(np.float32)
    gradients = rng.normal(size=(5, 4, 3)).astype(np.float32) * scale
    variable = keras.Variable(start)
    optimizer = DecayedAdam(0.01, decay=0.1, decay_mode=mode)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    expected = numpy_adam(start, gradients, 0.01, 0.1, mode)
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


def test_five_steps_equal_pytorch():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(40, 30)).astype(np.float32)
    gradients = rng.normal(size=(5, 40, 30)).astype(np.float32)
    variable = keras.Variable(start)
    optimizer = DecayedAdam(0.01, decay=0.1, decay_mode="l2")
    torch_parameter = torch.nn.Parameter(torch.tensor(start))
    torch_optimizer = torch.optim.Adam([torch_parameter], 0.01, weight_decay=0.1)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        torch_parameter.grad = torch.tensor(gradient)
        torch_optimizer.step()
    assert np.abs(variable.numpy() - start).mean() > 1e-2
    np.testing.assert_allclose(
        variable.numpy(), torch_parameter.detach().numpy(), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("mode", ["l2", "decoupled"])
def test_steps_in_a_graph_equal_numpy_in_float64(mode):
    """In float32, 1 − 0.999 is wrong by 5e-5; the factors are in float64."""
    rng = np.random.default_rng(3)
    start, gradients = rng.normal(size=(4, 3)), rng.normal(size=(3, 4, 3))
    variable = keras.Variable(start, dtype="float64")
    optimizer = DecayedAdam(0.01, decay=0.1, decay_mode=mode)
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    for gradient in gradients:
        step(tf.constant(gradient))
    # Keras stores the rate and passes it to `update_step` in float32.
    rate, decay = float(np.float32(0.01)), 0.1
    expected = numpy_adam(start, gradients, rate, decay, mode)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=2e-9)


def test_the_two_modes_differ():
    start, gradients = np.ones(3, np.float32), np.ones((2, 3), np.float32)
    l2 = numpy_adam(start, gradients, 0.01, 0.5, "l2")
    decoupled = numpy_adam(start, gradients, 0.01, 0.5, "decoupled")
    assert np.abs(l2 - decoupled).min() > 1e-3


def test_the_optimizer_is_restored_from_its_configuration():
    optimizer = DecayedAdam(0.02, decay=0.3, decay_mode="decoupled")
    restored = DecayedAdam.from_config(optimizer.get_config())
    assert (restored.decay, restored.decay_mode) == (0.3, "decoupled")
    np.testing.assert_allclose(restored.learning_rate, 0.02, rtol=1e-6)


@pytest.mark.parametrize("mode", ["l2", "decoupled"])
def test_variables_have_rates_of_their_own(mode):
    rng = np.random.default_rng(0)
    starts = rng.normal(size=(2, 4)).astype(np.float32)
    gradients = rng.normal(size=(3, 2, 4)).astype(np.float32)
    tower, head = (keras.Variable(start) for start in starts)
    optimizer = DecayedAdam(0.01, decay=0.1, decay_mode=mode)
    optimizer.scale_rates([tower], 0.25)
    for pair in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in pair], [tower, head])
    for variable, rate, k in ((tower, 0.0025, 0), (head, 0.01, 1)):
        expected = numpy_adam(starts[k], gradients[:, k], rate, 0.1, mode)
        np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


def test_the_graph_of_a_step_is_freed_with_its_function():
    variable = keras.Variable([1.0, 2.0])
    optimizer = DecayedAdam(0.1)
    optimizer.build([variable])

    def trace_and_run():
        step = tf.function(
            lambda: optimizer.apply([tf.constant([1.0, -1.0])]), autograph=False
        )
        step()
        return weakref.ref(step.get_concrete_function().graph)

    graph = trace_and_run()
    np.testing.assert_allclose(variable.numpy(), [0.9, 2.1], atol=1e-6)
    gc.collect()
    assert graph() is None


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'l2' or 'decoupled'; received 'both'"):
        DecayedAdam(decay_mode="both")


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd_is_that_of_pytorch_when_the_rate_changes(decay):
    rng = np.random.default_rng(0)
    start = rng.normal(size=4).astype(np.float32)
    gradients = rng.normal(size=(4, 4)).astype(np.float32)
    weight, slow = keras.Variable(start), keras.Variable(start)
    config = TrainingConfig(optimizer="sgd", momentum=0.8, weight_decay=decay)
    optimizer = build_optimizer(config)
    optimizer.scale_rates([slow], 0.5)
    twin = torch.nn.Parameter(torch.from_numpy(start.copy()))
    reference = torch.optim.SGD([twin], lr=0.1, momentum=0.8, weight_decay=decay)
    for step, gradient in enumerate(gradients):
        optimizer.learning_rate = reference.param_groups[0]["lr"] = 0.1 / (step + 1)
        given = keras.ops.convert_to_tensor(gradient)
        optimizer.apply([given, given], [weight, slow])
        twin.grad = torch.from_numpy(gradient)
        reference.step()
    np.testing.assert_allclose(weight.numpy(), twin.detach().numpy(), rtol=1e-5)
    assert np.abs(slow.numpy() - start).max() < np.abs(weight.numpy() - start).max()


def test_float16_uses_loss_scaling():
    assert isinstance(
        build_optimizer(TrainingConfig(), mixed_float16=True),
        keras.optimizers.LossScaleOptimizer,
    )
    assert isinstance(build_optimizer(TrainingConfig()), DecayedAdam)


def test_the_learning_rate_drops_at_the_drop_epochs():
    config = TrainingConfig(learning_rate=1.0, drop_epochs=(2, 4), drop_factor=0.1)
    rates = [learning_rate_at(config, epoch) for epoch in range(6)]
    np.testing.assert_allclose(rates, [1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_cosine_follows_the_warm_up():
    config = TrainingConfig(
        learning_rate=2.0, epochs=6, warmup_epochs=2, learning_rate_schedule="cosine"
    )
    rates = [learning_rate_at(config, epoch) for epoch in range(6)]
    falling = 1 + np.cos(np.pi * np.arange(4) / 4)
    np.testing.assert_allclose(rates, [2 / 3, 4 / 3, *falling])
    assert min(rates) > 0


def test_the_constant_rate_ignores_the_drops():
    config = TrainingConfig(drop_epochs=(1,), learning_rate_schedule="constant")
    assert learning_rate_at(config, 50) == config.learning_rate
