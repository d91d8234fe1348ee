"""Scores of confusion matrices, in NumPy and as a Keras metric."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as sklearn_metrics

from advance_tf.metrics.scores import (
    WEIGHTED,
    ConfusionScores,
    confusion_matrix,
    majority_confusion,
    scene_table,
    weighted_scores,
)
from tests.metrics.replicas_of_scores import IdentityModel
from tests.processes import run_on_replicas

_ON_REPLICAS = pathlib.Path(__file__).with_name("replicas_of_scores.py")


def _random_problem(seed):
    """A random problem in which some classes have no sample or no prediction."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 14))
    n = int(rng.integers(1, 60))
    occurring = rng.choice(classes, rng.integers(1, classes + 1), replace=False)
    predictable = rng.choice(classes, rng.integers(1, classes + 1), replace=False)
    true, predicted = rng.choice(occurring, n), rng.choice(predictable, n)
    correct = rng.random(n) < rng.random()
    return true, np.where(correct, true, predicted), classes


@pytest.mark.parametrize("seed", range(40))
def test_equals_scikit_learn(seed):
    true, predicted, classes = _random_problem(seed)
    confusion = confusion_matrix(true, predicted, classes)
    every = list(range(classes))
    np.testing.assert_array_equal(
        confusion, sklearn_metrics.confusion_matrix(true, predicted, labels=every)
    )
    weighted = weighted_scores(confusion)
    expected = sklearn_metrics.precision_recall_fscore_support(
        true, predicted, labels=every, average="weighted", zero_division=0
    )
    received = [weighted[name] for name in ("precision", "recall", "f_score")]
    np.testing.assert_allclose(received, expected[:3], rtol=1e-12)
    assert weighted["accuracy"] == pytest.approx(
        sklearn_metrics.accuracy_score(true, predicted)
    )
    each = sklearn_metrics.precision_recall_fscore_support(
        true, predicted, labels=every, zero_division=0
    )
    np.testing.assert_allclose(scene_table(confusion)[:4], each, rtol=1e-12)


def test_values_computed_by_hand():
    confusion = np.array([[3, 1, 0], [1, 1, 0], [0, 0, 0]])
    weighted = weighted_scores(confusion)
    # Class 0: 3/4, 3/4, 3/4 of 4 samples; class 1: 1/2, 1/2, 1/2 of 2.
    for name in WEIGHTED:
        assert weighted[name] == pytest.approx((4 * 0.75 + 2 * 0.5) / 6)
    assert np.ndim(weighted["f_score"]) == 0


def test_leading_axes_are_independent():
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 5, (2, 3, 4, 4))
    stack[1, 2] = 0
    weighted = weighted_scores(stack)
    for place in np.ndindex(2, 3):
        alone = weighted_scores(stack[place])
        for name in WEIGHTED:
            assert weighted[name][place] == alone[name]
    assert weighted["f_score"][1, 2] == 0


def test_majority_class_baseline():
    confusion = np.array([[2, 0, 1], [0, 1, 0], [4, 1, 1]])
    baseline = majority_confusion(confusion)
    np.testing.assert_array_equal(baseline, [[0, 0, 3], [0, 0, 1], [0, 0, 6]])
    share = 6 / 10
    expected = share * (2 * share / (share + 1))
    assert weighted_scores(baseline)["f_score"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([0, 3], [0, 1], r"true must be in \[0, 3\); received 0 to 3"),
        ([0, 1], [-1, 1], r"predicted must be in \[0, 3\); received -1 to 1"),
        ([0, 1], [0], "same samples; received 2 and 1"),
        ([0.0, 1.0], [0, 1], "integer class indices; received shape .2,. of float64"),
        ([[0, 1]], [[0, 1]], r"integer class indices; received shape \(1, 2\)"),
    ],
)
def test_invalid_classes_are_rejected(true, predicted, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(true, predicted, 3)


def _batches(seed=0, sizes=(7, 1, 12), classes=5):
    rng = np.random.default_rng(seed)
    for size in sizes:
        yield (
            rng.integers(classes, size=size),
            rng.normal(size=(size, classes)).astype(np.float32),
        )


def _expected(batches, classes=5):
    """Scores of all batches together, in NumPy."""
    true = np.concatenate([scene for scene, _ in batches])
    logits = np.concatenate([logits for _, logits in batches])
    return weighted_scores(confusion_matrix(true, logits.argmax(axis=1), classes))


def _results(metric):
    return {name: float(value) for name, value in metric.result().items()}


@pytest.mark.parametrize("compiled", [False, True])
def test_metric_covers_all_batches_together(compiled):
    metric = ConfusionScores(5)
    update = metric.update_state
    if compiled:
        update = tf.function(update, jit_compile=True)
    batches = list(_batches())
    for scene, logits in batches:
        update(tf.constant(scene), tf.constant(logits))
    assert tuple(metric.result()) == WEIGHTED
    assert _results(metric) == pytest.approx(_expected(batches), rel=1e-6)
    metric.reset_state()
    assert _results(metric) == dict.fromkeys(WEIGHTED, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_logit_makes_the_scores_nan(bad):
    metric = ConfusionScores(5)
    for scene, logits in _batches():
        metric.update_state(scene, logits)
    logits[3, 2] = bad
    metric.update_state(scene, logits)
    assert all(np.isnan(value) for value in _results(metric).values())
    metric.reset_state()
    assert _results(metric) == dict.fromkeys(WEIGHTED, 0.0)


@pytest.mark.parametrize("scene", [-1, 5])
def test_a_scene_out_of_range_makes_the_scores_nan(scene):
    metric = ConfusionScores(5)
    metric.update_state([0, scene], np.eye(5, dtype=np.float32)[:2])
    assert all(np.isnan(value) for value in _results(metric).values())


def test_sample_weights_count_as_samples():
    ((scene, logits),) = _batches(sizes=(9,))
    weights = np.array([0, 1, 2, 1, 3, 0, 1, 1, 2])
    metric = ConfusionScores(5)
    metric.update_state(scene[:, None], logits, sample_weight=weights)
    repeated = np.repeat(scene, weights), np.repeat(logits, weights, axis=0)
    assert _results(metric) == pytest.approx(_expected([repeated]), rel=1e-6)


def test_config_round_trip():
    metric = ConfusionScores(5, name="other")
    restored = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert (type(restored), restored.classes, restored.name) == (
        ConfusionScores,
        5,
        "other",
    )
    assert ConfusionScores().classes == 13


def test_metric_is_reset_between_epochs_and_before_evaluation():
    ((scene, logits),) = _batches(sizes=(20,))
    ((other_scene, other_logits),) = _batches(seed=1, sizes=(11,))
    model = IdentityModel()
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
