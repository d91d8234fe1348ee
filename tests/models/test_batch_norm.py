"""Batch normalization against NumPy, with PyTorch's moving statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.models.batch_norm import BatchNorm

SHAPE = (4, 5, 3, 6)
COUNT = 4 * 5 * 3


def made(dtype="float32"):
    layer = BatchNorm(dtype=dtype)
    layer.build((None, *SHAPE[1:]))
    rng = np.random.default_rng(1)
    gamma, beta = rng.uniform(0.5, 2, 6), rng.normal(size=6)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    return layer, gamma, beta


def values():
    return np.random.default_rng(0).normal(3, 2, SHAPE).astype(np.float32)


def test_training_output_and_moving_statistics():
    layer, gamma, beta = made()
    x = values()
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    found = layer(tf.constant(x), training=True)
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-5)
    unbiased = variance * COUNT / (COUNT - 1)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * unbiased, rtol=1e-5)


def test_inference_uses_the_moving_statistics_and_keeps_them():
    layer, gamma, beta = made()
    layer.moving_mean.assign(np.arange(6))
    layer.moving_variance.assign(np.arange(1, 7))
    x = values()
    found = layer(tf.constant(x), training=False)
    expected = gamma * (x - np.arange(6)) / np.sqrt(np.arange(1, 7) + 1e-5) + beta
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, np.arange(6))


def test_a_frozen_layer_learns_nothing_in_training():
    layer, _, _ = made()
    layer.trainable = False
    x = tf.constant(values())
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    np.testing.assert_array_equal(layer.moving_mean, 0)


def test_the_gradient_is_that_of_the_formula():
    layer, gamma, beta = made()
    x = tf.constant(values())
    weights = tf.constant(np.random.default_rng(2).normal(size=SHAPE), tf.float32)

    def by_formula(inputs):
        mean, variance = tf.nn.moments(inputs, [0, 1, 2])
        scaled = (inputs - mean) * tf.math.rsqrt(variance + 1e-5)
        return tf.reduce_sum(weights * (gamma.astype("f") * scaled + beta.astype("f")))

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        found = tf.reduce_sum(weights * layer(x, training=True))
        expected = by_formula(x)
    np.testing.assert_allclose(
        tape.gradient(found, x), tape.gradient(expected, x), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_keeps_its_type_and_float32_statistics(policy):
    layer, _, _ = made(keras.DTypePolicy(policy))
    wide, _, _ = made()
    found = layer(tf.constant(values()), training=True)
    assert found.dtype == policy.removeprefix("mixed_")
    assert layer.moving_mean.dtype == "float32"
    expected = wide(tf.constant(values()), training=True)
    np.testing.assert_allclose(
        tf.cast(found, tf.float32), expected, rtol=0.03, atol=0.03
    )
