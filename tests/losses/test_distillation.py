"""Losses of distillation against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.losses.distillation import EmbeddingMatch, SoftSceneLoss
from tests.losses import expected


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_scenes_are_the_scaled_divergence(temperature):
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(0, 3, (2, 5, 13))
    probs = np.exp(expected.log_softmax(teacher / temperature))
    log_student = expected.log_softmax(student / temperature)
    divergence = (probs * (np.log(probs) - log_student)).sum(axis=1)
    loss = SoftSceneLoss(temperature)
    found = loss.call(tf.constant(probs, tf.float32), tf.constant(student, tf.float32))
    np.testing.assert_allclose(found, temperature**2 * divergence, rtol=2e-5)
    copied = SoftSceneLoss.from_config(loss.get_config())
    assert copied.temperature == temperature


def test_a_certain_teacher_gives_cross_entropy():
    logits = np.array([[2.0, -1.0, 0.5]])
    found = SoftSceneLoss(1.0).call([[0.0, 1.0, 0.0]], tf.constant(logits))
    np.testing.assert_allclose(found, -expected.log_softmax(logits)[:, 1], rtol=1e-6)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="greater than 0; received 0"):
        SoftSceneLoss(temperature=0)


def test_the_match_is_the_mean_square():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 4, 6)).astype(np.float32)
    found = EmbeddingMatch().call(teacher, student)
    np.testing.assert_allclose(found, ((student - teacher) ** 2).mean(1), rtol=1e-5)
