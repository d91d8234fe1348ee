"""Targets, outputs and expected values for every loss."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from advance_tf.losses.compound import CompoundEventKL, RelevanceAlignment
from advance_tf.losses.event import EventKL, EventSquaredDistance
from advance_tf.losses.scene import SceneLoss
from tests.losses import expected

BATCH, SCENES, EVENTS = 6, 13, 40
RNG = np.random.default_rng(7)
SCENE = RNG.integers(0, SCENES, BATCH)
SCENE_LOGITS = np.float32(3 * RNG.normal(size=(BATCH, SCENES)))
EVENT_LOGITS = np.float32(4 * RNG.normal(size=(BATCH, EVENTS)) - 2)
TEACHER_LOGITS = np.float32(4 * RNG.normal(size=(BATCH, EVENTS)) - 3)
SOFT_LABELS = np.float32(1 / (1 + np.exp(-np.float64(TEACHER_LOGITS))))
POSTERIORS = np.float32(RNG.beta(0.4, 8, (SCENES, EVENTS)))
RELEVANCE = np.float32(RNG.random((SCENES, EVENTS)))
ALL = np.ones(EVENTS, bool)
MASK = np.arange(EVENTS) % 9 != 4

NAMES = ("scene", "event_kl", "event_squared", "compound_kl", "relevance")
# Losses that are reduced over the events.
EVENT_NAMES = ("event_kl", "event_squared", "compound_kl")
# Losses whose outputs are event logits, not scene logits.
EVENT_LOGIT_NAMES = ("event_kl", "event_squared")


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss with float32 inputs and its values in float64 NumPy.

    Attributes:
        loss: the loss.
        target: y_true.
        output: y_pred.
        expected: (target, output) in float64 → loss of each example [B].
    """

    loss: keras.losses.Loss
    target: np.ndarray
    output: np.ndarray
    expected: Callable[[np.ndarray, np.ndarray], np.ndarray]


def create_case(name, mask=ALL, event_reduction="mean", **keras_options) -> Case:
    options = {"event_mask": mask, "event_reduction": event_reduction, **keras_options}
    reduce = np.sum if event_reduction == "sum" else np.mean
    posteriors = np.float64(POSTERIORS)[:, mask]
    relevance = np.float64(RELEVANCE)[:, mask]
    if name == "scene":
        return Case(
            SceneLoss(**keras_options), SCENE, SCENE_LOGITS, expected.scene_loss
        )
    if name == "event_kl":
        return Case(
            EventKL(**options),
            SOFT_LABELS,
            EVENT_LOGITS,
            lambda p, u: reduce(
                expected.binary_kl_from_logits(p[:, mask], u[:, mask]), axis=1
            ),
        )
    if name == "event_squared":
        return Case(
            EventSquaredDistance(**options),
            TEACHER_LOGITS,
            EVENT_LOGITS,
            lambda v, u: reduce((u[:, mask] - v[:, mask]) ** 2, axis=1),
        )
    if name == "compound_kl":
        return Case(
            CompoundEventKL(POSTERIORS, **options),
            SOFT_LABELS,
            SCENE_LOGITS,
            lambda p, u: reduce(
                expected.compound_kl(p[:, mask], u, posteriors), axis=1
            ),
        )
    return Case(
        RelevanceAlignment(POSTERIORS, RELEVANCE, mask, **keras_options),
        SCENE,
        SCENE_LOGITS,
        lambda t, u: expected.alignment(t, u, posteriors, relevance),
    )


def to_float64(values):
    """Floats as float64; scenes unchanged."""
    return np.float64(values) if np.asarray(values).dtype.kind == "f" else values


def value_and_gradient(loss, target, output):
    """The loss and its gradient with respect to the output."""
    output = tf.constant(output)
    with tf.GradientTape() as tape:
        tape.watch(output)
        value = loss(target, output)
    return value, tape.gradient(value, output)
