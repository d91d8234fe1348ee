"""The contract of every loss: values, gradients, masks, types, reductions, replicas."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf import labels
from advance_tf.losses.compound import CompoundEventKL
from advance_tf.losses.event import EventKL, EventSquaredDistance
from tests.losses import expected
from tests.losses.cases import (
    ALL,
    BATCH,
    EVENT_LOGIT_NAMES,
    EVENT_NAMES,
    MASK,
    NAMES,
    RNG,
    SCENE_LOGITS,
    SCENES,
    SOFT_LABELS,
    create_case,
    to_float64,
    value_and_gradient,
)
from tests.processes import run_on_replicas


@pytest.mark.parametrize("event_reduction", ["mean", "sum"])
@pytest.mark.parametrize("mask", [ALL, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_equal_float64_numpy(name, mask, event_reduction):
    case = create_case(name, mask, event_reduction)
    target, output = to_float64(case.target), to_float64(case.output)
    examples = case.expected(target, output)
    np.testing.assert_allclose(
        case.loss.call(case.target, case.output), examples, rtol=1e-5
    )
    value, gradient = value_and_gradient(case.loss, case.target, case.output)
    assert float(value) == pytest.approx(examples.mean(), rel=1e-5)
    wanted = expected.numerical_gradient(lambda u: case.expected(target, u), output)
    np.testing.assert_allclose(gradient, wanted / BATCH, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_batch_reductions_are_mean_sum_and_none(name):
    case = create_case(name)
    examples = case.loss.call(case.target, case.output)
    assert examples.shape == (BATCH,)
    for reduction, wanted in (
        ("sum_over_batch_size", np.mean(examples)),
        ("sum", np.sum(examples)),
        (None, examples),
    ):
        case = create_case(name, reduction=reduction)
        found = case.loss(case.target, case.output)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_extreme_logits_give_finite_float32_values(name, kind):
    case = create_case(name)
    target = case.target
    signs = np.sign(RNG.normal(size=case.output.shape))
    output = tf.cast(80.0 * signs, kind)
    if target is SOFT_LABELS:
        target = np.float32(RNG.choice([0.0, 1e-30, 0.3, 1.0], SOFT_LABELS.shape))
    if name == "event_squared":
        target = np.float32(-80 * signs)
    if target.dtype.kind == "f":
        target = tf.cast(target, kind)
    value, gradient = value_and_gradient(case.loss, target, output)
    assert value.dtype == tf.float32
    assert gradient.dtype == kind
    assert np.isfinite(tf.cast(gradient, tf.float32)).all()
    if name in EVENT_NAMES:
        target = np.float64(tf.cast(target, tf.float32))
    wanted = case.expected(target, np.float64(tf.cast(output, tf.float32))).mean()
    assert float(value) == pytest.approx(wanted, rel=1e-5, abs=1e-30)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_value_is_float32_after_a_layer_of_mixed_precision(name, policy):
    case = create_case(name)
    output = 80.0 * np.sign(case.output)
    keras.config.set_dtype_policy(policy)
    try:
        logits = keras.layers.Activation("linear")(output)
        value, gradient = value_and_gradient(case.loss, case.target, logits)
    finally:
        keras.config.set_dtype_policy("float32")
    assert logits.dtype == policy.removeprefix("mixed_")
    assert value.dtype == tf.float32
    assert np.isfinite(tf.cast(gradient, tf.float32)).all()
    wanted = case.expected(to_float64(case.target), np.float64(output)).mean()
    assert float(value) == pytest.approx(wanted, rel=1e-5)


def create_loss_over_all_events(name, event_reduction):
    """A loss over AudioSet's events, without a mask."""
    if name == "event_kl":
        return EventKL(None, event_reduction)
    if name == "event_squared":
        return EventSquaredDistance(None, event_reduction)
    events = len(labels.events())
    posteriors = np.full((SCENES, events), 0.1) + 0.05 * np.eye(SCENES, events)
    return CompoundEventKL(posteriors, None, event_reduction)


@pytest.mark.parametrize("alpha", [0.1, 3.0])
@pytest.mark.parametrize("name", EVENT_NAMES)
def test_sum_with_alpha_over_527_is_the_same_objective_as_mean(name, alpha):
    target = np.float32(RNG.random((BATCH, 527)))
    output = np.float32(RNG.normal(size=(BATCH, 527)))
    if name == "compound_kl":
        output = SCENE_LOGITS
    steps = []
    for event_reduction, weight in (("mean", alpha), ("sum", alpha / 527)):
        loss = create_loss_over_all_events(name, event_reduction)
        value, gradient = value_and_gradient(loss, target, output)
        steps.append((weight * value, weight * gradient))
    np.testing.assert_allclose(steps[0][0], steps[1][0], rtol=1e-6)
    np.testing.assert_allclose(steps[0][1], steps[1][1], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_masked_events_have_no_effect(name):
    case = create_case(name, MASK)
    value, gradient = value_and_gradient(case.loss, case.target, case.output)
    target, output = case.target.copy(), case.output.copy()
    target[:, ~MASK] = np.nan
    if name in EVENT_LOGIT_NAMES:
        output[:, ~MASK] = np.inf
        assert not np.asarray(gradient)[:, ~MASK].any()
    other_value, other_gradient = value_and_gradient(case.loss, target, output)
    np.testing.assert_array_equal(value, other_value)
    np.testing.assert_array_equal(gradient, other_gradient)


@pytest.mark.parametrize("name", NAMES)
def test_serialization_keeps_the_loss(name):
    case = create_case(name, MASK, "sum", reduction="sum")
    restored = keras.losses.deserialize(keras.losses.serialize(case.loss))
    assert type(restored) is type(case.loss)
    assert restored.name == case.loss.name
    np.testing.assert_array_equal(
        restored(case.target, case.output), case.loss(case.target, case.output)
    )


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_eager(name, jit):
    case = create_case(name, MASK)
    compiled = tf.function(lambda t, u: case.loss(t, u), jit_compile=jit)
    np.testing.assert_allclose(
        compiled(case.target, case.output), case.loss(case.target, case.output), 1e-6
    )


def test_two_replicas_equal_one_device():
    """Value and gradient of every loss, summed over the replicas."""
    script = pathlib.Path(__file__).with_name("replica_losses.py")
    assert "replicas 2" in run_on_replicas(script)
