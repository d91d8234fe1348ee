"""The binary divergence: small differences, and its gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.losses.binary_kl import binary_kl_from_logits, binary_kl_from_probs
from advance_tf.losses.event import EventKL
from tests.losses import expected
from tests.losses.cases import (
    ALL,
    EVENT_LOGITS,
    EVENTS,
    SOFT_LABELS,
    TEACHER_LOGITS,
    create_case,
    to_float64,
    value_and_gradient,
)


def test_value_is_exact_where_p_and_q_are_almost_equal():
    logits = TEACHER_LOGITS + np.float32(1e-3) * np.sign(EVENT_LOGITS)
    case = create_case("event_kl")
    np.testing.assert_allclose(
        case.loss.call(SOFT_LABELS, logits),
        case.expected(to_float64(SOFT_LABELS), to_float64(logits)),
        rtol=1e-5,
    )


def test_forms_from_logits_and_from_probs_are_equal():
    probs = tf.sigmoid(tf.cast(EVENT_LOGITS, tf.float64))
    np.testing.assert_allclose(
        binary_kl_from_probs(SOFT_LABELS, probs),
        binary_kl_from_logits(SOFT_LABELS, EVENT_LOGITS),
        rtol=1e-9,
        atol=1e-12,
    )


def test_gradient_equals_that_of_binary_cross_entropy():
    value, gradient = value_and_gradient(
        EventKL(ALL, "mean"), SOFT_LABELS, EVENT_LOGITS
    )
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    other, other_gradient = value_and_gradient(cross_entropy, SOFT_LABELS, EVENT_LOGITS)
    np.testing.assert_allclose(gradient, other_gradient, rtol=1e-4, atol=1e-9)
    # The losses differ by the entropy of the soft labels, log 2 − C(p‖1/2).
    divergence = expected.binary_kl_from_logits(
        np.float64(SOFT_LABELS), np.zeros(EVENTS)
    )
    assert float(other - value) == pytest.approx(
        (np.log(2) - divergence).mean(), rel=1e-5
    )
