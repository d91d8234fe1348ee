"""The Keras metric: alone, in fit and evaluate, and on two replicas."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.metrics.keras_scores import ConfusionScores
from advance_tf.metrics.scores import WEIGHTED, confusion_matrix, weighted_scores
from tests.processes import run_on_replicas

_ON_REPLICAS = pathlib.Path(__file__).with_name("replicas_of_scores.py")


def _batches(seed=0, sizes=(7, 1, 12), classes=5):
    rng = np.random.default_rng(seed)
    for size in sizes:
        yield (
            rng.integers(classes, size=size),
            rng.normal(size=(size, classes)).astype(np.float32),
        )


def _expected(batches, classes=5):
    true = np.concatenate([scene for scene, _ in batches])
    logits = np.concatenate([logits for _, logits in batches])
    return weighted_scores(confusion_matrix(true, logits.argmax(axis=1), classes))


def _values(metric):
    return {name: float(value) for name, value in metric.result().items()}


@pytest.mark.parametrize("compiled", [False, True])
def test_is_of_all_batches_together(compiled):
    metric = ConfusionScores(5)
    update = metric.update_state
    if compiled:
        update = tf.function(update, jit_compile=True)
    batches = list(_batches())
    for scene, logits in batches:
        update(tf.constant(scene), tf.constant(logits))
    assert tuple(metric.result()) == WEIGHTED
    assert _values(metric) == pytest.approx(_expected(batches), rel=1e-6)
    metric.reset_state()
    assert _values(metric) == dict.fromkeys(WEIGHTED, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_logit_that_is_not_finite_makes_the_scores_nan(bad):
    metric = ConfusionScores(5)
    for scene, logits in _batches():
        metric.update_state(scene, logits)
    logits[3, 2] = bad
    metric.update_state(scene, logits)
    assert all(np.isnan(value) for value in _values(metric).values())
    metric.reset_state()
    assert _values(metric) == dict.fromkeys(WEIGHTED, 0.0)


@pytest.mark.parametrize("scene", [-1, 5])
def test_a_scene_out_of_range_makes_the_scores_nan(scene):
    metric = ConfusionScores(5)
    metric.update_state([0, scene], np.eye(5, dtype=np.float32)[:2])
    assert all(np.isnan(value) for value in _values(metric).values())


def test_sample_weights_count_as_samples():
    ((scene, logits),) = _batches(sizes=(9,))
    weights = np.array([0, 1, 2, 1, 3, 0, 1, 1, 2])
    metric = ConfusionScores(5)
    metric.update_state(scene[:, None], logits, sample_weight=weights)
    repeated = np.repeat(scene, weights), np.repeat(logits, weights, axis=0)
    assert _values(metric) == pytest.approx(_expected([repeated]), rel=1e-6)


def test_can_be_made_again_from_its_config():
    metric = ConfusionScores(5, name="other")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert (type(again), again.classes, again.name) == (ConfusionScores, 5, "other")
    assert ConfusionScores().classes == 13


class _Stepper(keras.Model):
    """A model with its own steps and metrics, like the trainer."""

    def __init__(self):
        super().__init__(name="stepper")
        self.head = keras.layers.Dense(5, kernel_initializer="identity")
        self.scores = ConfusionScores(5)

    @property
    def metrics(self):
        return [self.scores]

    def call(self, inputs):
        return self.head(inputs)

    def train_step(self, data):
        return self.test_step(data)

    def test_step(self, data):
        inputs, scene = data
        self.scores.update_state(scene, self(inputs))
        return self.get_metrics_result()


def test_is_reset_between_epochs_and_before_evaluation():
    ((scene, logits),) = _batches(sizes=(20,))
    ((other_scene, other_logits),) = _batches(seed=1, sizes=(11,))
    model = _Stepper()
    model.compile()
    history = model.fit(
        logits,
        scene,
        validation_data=(other_logits, other_scene),
        batch_size=6,
        epochs=2,
        verbose=0,
        shuffle=False,
    ).history
    expected = _expected([(scene, logits)])
    expected_other = _expected([(other_scene, other_logits)])
    for name in WEIGHTED:
        assert history[name] == pytest.approx([expected[name]] * 2, rel=1e-6)
        received = history[f"val_{name}"]
        assert received == pytest.approx([expected_other[name]] * 2, rel=1e-6)
    received = model.evaluate(logits, scene, batch_size=6, verbose=0, return_dict=True)
    assert {name: received[name] for name in WEIGHTED} == pytest.approx(
        expected, rel=1e-6
    )


def test_two_replicas_count_every_sample_once():
    assert "replicas 2" in run_on_replicas(_ON_REPLICAS)
