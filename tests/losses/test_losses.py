"""Every loss against float64 NumPy: values, gradients, masks, extremes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf import labels
from advance_tf.losses.compound import CompoundEventKL, RelevanceAlignment
from advance_tf.losses.event import EventKL, EventSquaredDistance
from advance_tf.losses.scene import SceneLoss
from tests.losses import expected

B, SCENES, EVENTS = 6, 13, 40
RNG = np.random.default_rng(7)
SCENE = RNG.integers(0, SCENES, B)
SCENE_LOGITS = np.float32(3 * RNG.normal(size=(B, SCENES)))
EVENT_LOGITS = np.float32(4 * RNG.normal(size=(B, EVENTS)) - 2)
TEACHER = np.float32(4 * RNG.normal(size=(B, EVENTS)) - 3)
SOFT = np.float32(1 / (1 + np.exp(-np.float64(TEACHER))))
POSTERIORS = np.float32(RNG.beta(0.4, 8, (SCENES, EVENTS)))
RELEVANCE = np.float32(RNG.random((SCENES, EVENTS)))
MASK = np.arange(EVENTS) % 9 != 4
ALL = np.ones(EVENTS, bool)


def _per_event(function):
    """A loss over events in float64 for a mask and a reduction."""

    def reduced(mask, reduction):
        over = np.sum if reduction == "sum" else np.mean
        return lambda true, pred: over(function(true, pred, mask), axis=1)

    return reduced


def _cases(mask=ALL, event_reduction="mean", **keras_options):
    """Name → loss, target, output, and the loss of both in float64 NumPy."""
    options = {"event_mask": mask, "event_reduction": event_reduction, **keras_options}
    kl = _per_event(
        lambda p, u, m: expected.binary_kl_from_logits(p[:, m], u[:, m]),
    )
    square = _per_event(lambda v, u, m: (u[:, m] - v[:, m]) ** 2)
    compound = _per_event(
        lambda p, u, m: expected.compound_kl(p[:, m], u, np.float64(POSTERIORS)[:, m]),
    )
    rows = [np.float64(values)[:, mask] for values in (POSTERIORS, RELEVANCE)]
    return {
        "scene": (
            SceneLoss(**keras_options),
            SCENE,
            SCENE_LOGITS,
            lambda t, u: -expected.log_softmax(u)[np.arange(len(u)), t],
        ),
        "kl": (EventKL(**options), SOFT, EVENT_LOGITS, kl(mask, event_reduction)),
        "sq": (
            EventSquaredDistance(**options),
            TEACHER,
            EVENT_LOGITS,
            square(mask, event_reduction),
        ),
        "event_kl": (
            CompoundEventKL(POSTERIORS, **options),
            SOFT,
            SCENE_LOGITS,
            compound(mask, event_reduction),
        ),
        "relevance": (
            RelevanceAlignment(POSTERIORS, RELEVANCE, mask, **keras_options),
            SCENE,
            SCENE_LOGITS,
            lambda t, u: expected.alignment(t, u, *rows),
        ),
    }


NAMES = tuple(_cases())
OVER_EVENTS = ("kl", "sq", "event_kl")


def _exact(values):
    return np.float64(values) if np.asarray(values).dtype.kind == "f" else values


def _gradient(loss, true, pred):
    pred = tf.constant(pred)
    with tf.GradientTape() as tape:
        tape.watch(pred)
        value = loss(true, pred)
    return value, tape.gradient(value, pred)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("mask", [ALL, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_equal_numpy(name, mask, reduction):
    loss, true, pred, wanted = _cases(mask, reduction)[name]
    true64, pred64 = _exact(true), _exact(pred)
    np.testing.assert_allclose(loss.call(true, pred), wanted(true64, pred64), rtol=1e-5)
    value, gradient = _gradient(loss, true, pred)
    assert float(value) == pytest.approx(wanted(true64, pred64).mean(), rel=1e-5)
    slope = expected.slope(lambda u: wanted(true64, u), pred64) / B
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", ["kl", "scene"])
def test_value_is_exact_near_agreement(name):
    loss, true, _, wanted = _cases()[name]
    near = TEACHER + np.float32(1e-3) * np.sign(EVENT_LOGITS)
    if name == "scene":
        near = np.float32(15 * np.eye(SCENES)[true])
    np.testing.assert_allclose(
        loss.call(true, near), wanted(_exact(true), _exact(near)), rtol=1e-5
    )


@pytest.mark.parametrize("name", OVER_EVENTS)
def test_sum_with_a_smaller_weight_is_the_mean(name):
    events = len(labels.events())
    pred = np.float32(RNG.normal(size=(B, events)))
    true = np.float32(RNG.random((B, events)))
    options = {"kl": EventKL, "sq": EventSquaredDistance}
    for alpha in (0.1, 3.0):
        steps = []
        for reduction, weight in (("mean", alpha), ("sum", alpha / events)):
            if name == "event_kl":
                posteriors = np.full((SCENES, events), 0.1) + 0.05 * np.eye(
                    SCENES, events
                )
                loss, pred = CompoundEventKL(posteriors, None, reduction), SCENE_LOGITS
            else:
                loss = options[name](None, reduction)
            value, gradient = _gradient(loss, true, pred)
            steps.append((weight * value, weight * gradient))
        np.testing.assert_allclose(steps[0][0], steps[1][0], rtol=1e-6)
        np.testing.assert_allclose(steps[0][1], steps[1][1], rtol=1e-5, atol=1e-12)


def test_binary_cross_entropy_has_the_gradient_of_the_divergence():
    loss = EventKL(ALL)
    plain = keras.losses.BinaryCrossentropy(from_logits=True)
    value, gradient = _gradient(loss, SOFT, EVENT_LOGITS)
    plain_value, plain_gradient = _gradient(plain, SOFT, EVENT_LOGITS)
    np.testing.assert_allclose(gradient, plain_gradient, rtol=1e-4, atol=1e-9)
    entropy = -expected.binary_kl_from_logits(np.float64(SOFT), np.zeros(EVENTS))
    assert float(plain_value - value) == pytest.approx(
        (np.log(2) + entropy).mean(), rel=1e-5
    )


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_extreme_logits_stay_finite_and_right(name, kind):
    loss, true, pred, wanted = _cases()[name]
    signs = np.sign(RNG.normal(size=pred.shape))
    pred = tf.cast(80.0 * signs, kind)
    if true is SOFT:
        true = np.float32(RNG.choice([0.0, 1e-30, 0.3, 1.0], SOFT.shape))
    if name == "sq":
        true = np.float32(-80 * signs)
    if true.dtype.kind == "f":
        true = tf.cast(true, kind)
    value, gradient = _gradient(loss, true, pred)
    assert np.isfinite(tf.cast(gradient, tf.float32)).all()
    assert gradient.dtype == kind
    true = np.float64(tf.cast(true, tf.float32)) if name in OVER_EVENTS else true
    by_numpy = wanted(true, np.float64(tf.cast(pred, tf.float32))).mean()
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(by_numpy, rel=1e-5, abs=1e-30)


def test_extreme_logits_through_a_model_under_mixed_precision():
    loss, true, _, wanted = _cases()["kl"]
    for policy in ("mixed_float16", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            head = keras.layers.Activation("linear")
            logits = head(80.0 * np.sign(EVENT_LOGITS))
        finally:
            keras.config.set_dtype_policy("float32")
        assert logits.dtype == policy.removeprefix("mixed_")
        value, gradient = _gradient(loss, true, logits)
        assert np.isfinite(tf.cast(gradient, tf.float32)).all()
        exact = wanted(np.float64(SOFT), 80.0 * np.sign(EVENT_LOGITS)).mean()
        assert float(value) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("name", OVER_EVENTS)
def test_a_masked_event_may_hold_anything(name):
    loss, true, pred, _ = _cases(MASK)[name]
    value, gradient = _gradient(loss, true, pred)
    true, pred = true.copy(), pred.copy()
    true[:, ~MASK] = np.nan
    if name != "event_kl":
        pred[:, ~MASK] = np.inf
    other_value, other_gradient = _gradient(loss, true, pred)
    np.testing.assert_array_equal(value, other_value)
    np.testing.assert_array_equal(gradient, other_gradient)
    if name != "event_kl":
        assert not np.asarray(gradient)[:, ~MASK].any()


def test_masked_columns_of_posteriors_and_relevance_are_not_read():
    spoilt = [np.where(MASK, rows, np.nan) for rows in (POSTERIORS, RELEVANCE)]
    np.testing.assert_array_equal(
        CompoundEventKL(spoilt[0], MASK).call(SOFT, SCENE_LOGITS),
        CompoundEventKL(POSTERIORS, MASK).call(SOFT, SCENE_LOGITS),
    )
    aligned = RelevanceAlignment(*spoilt, MASK)
    np.testing.assert_array_equal(
        aligned.call(SCENE, SCENE_LOGITS),
        RelevanceAlignment(POSTERIORS, RELEVANCE, MASK).call(SCENE, SCENE_LOGITS),
    )


@pytest.mark.parametrize("shape", [(B,), (B, 1)])
@pytest.mark.parametrize("kind", ["int32", "int64", "float32"])
def test_scenes_come_in_any_number_type_and_rank(shape, kind):
    for name in ("scene", "relevance"):
        loss, true, pred, wanted = _cases()[name]
        value = loss(true.reshape(shape).astype(kind), pred)
        assert float(value) == pytest.approx(wanted(true, _exact(pred)).mean(), 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_is_made_again_from_its_config(name):
    loss, true, pred, _ = _cases(MASK, "sum", reduction="sum")[name]
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.name == loss.name
    np.testing.assert_array_equal(again(true, pred), loss(true, pred))


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_eager(name, jit):
    loss, true, pred, _ = _cases(MASK)[name]
    compiled = tf.function(lambda t, u: loss(t, u), jit_compile=jit)
    np.testing.assert_allclose(compiled(true, pred), loss(true, pred), rtol=1e-6)
