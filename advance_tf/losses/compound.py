"""Losses of the compound event probability p(e) (Eq. 7 to 9)."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advance_tf.losses.binary_kl import binary_kl_from_probs
from advance_tf.losses.event import EventLoss, validate_event_mask
from advance_tf.losses.scene import scene_indices

_REMEDY = "Compute it again with `advance teach`."


def compound_events(scene_logits: tf.Tensor, posteriors: npt.ArrayLike) -> tf.Tensor:
    """p(e) = Σ_k p(s_k) p(e|s_k) with p(s) = z(f_s(x)) (Eq. 7).

    >>> compound_events(tf.zeros([1, 2]), [[0.0, 0.5], [1.0, 0.5]]).numpy().tolist()
    [[0.5, 0.5]]

    Args:
        scene_logits: float [B, scenes].
        posteriors: p(e|s_k), float [scenes, events] in [0, 1].

    Returns:
        float64 [B, events], within the range of the posteriors.
    """
    # [B, scenes] · [scenes, events] → [B, events]
    scene_probs = tf.nn.softmax(tf.cast(scene_logits, tf.float64), axis=-1)
    return tf.matmul(scene_probs, tf.constant(posteriors, tf.float64))


def _validate_rows(
    name: str, values: npt.ArrayLike, event_mask: np.ndarray
) -> np.ndarray:
    """Converts to float64 [scenes, events] and sets masked events to 0."""
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(event_mask):
        raise ValueError(
            f"{name} must be [scenes, {len(event_mask)}]; received shape "
            f"{rows.shape}. {_REMEDY}"
        )
    rows = np.where(event_mask, rows, 0.0)
    empty = np.flatnonzero(~rows.any(axis=1))
    if not np.isfinite(rows).all() or len(empty):
        raise ValueError(
            f"{name} must be finite and not all zeros in any scene; received "
            f"{int((~np.isfinite(rows)).sum())} values that are not finite, and "
            f"only zeros in scenes {empty.tolist()}. {_REMEDY}"
        )
    return rows


def _validate_posteriors(values: npt.ArrayLike, event_mask: np.ndarray) -> np.ndarray:
    """Converts to float64 [scenes, events] in [0, 1]."""
    rows = _validate_rows("posteriors", values, event_mask)
    if rows.min() < 0 or rows.max() > 1:
        raise ValueError(
            "posteriors must be in [0, 1]; received "
            f"{rows.min():.4g} to {rows.max():.4g}. {_REMEDY}"
        )
    return rows


@keras.saving.register_keras_serializable("advance_tf")
class CompoundEventKL(EventLoss):
    """L_E1 = Σ_i C(y_i(a) ‖ p(e)_i) (Eq. 8), with p(e) of Eq. 7.

    `y_true` are the soft labels y, float [B, events] in [0, 1], and `y_pred` the
    scene logits, float [B, scenes]; the loss of an example is ≥ 0. The authors'
    code takes the mean over the events.

    >>> posteriors = [[0.1, 0.9], [0.5, 0.9]]
    >>> loss = CompoundEventKL(posteriors, [True, True])
    >>> round(float(loss(tf.constant([[0.3, 0.9]]), tf.zeros([1, 2]))), 4)
    0.0

    Args:
        posteriors: p(e|s_k), [scenes, events] in [0, 1]. They are clipped to
            [1e-12, 1 − 1e-12], so that log p(e) and log(1 − p(e)) are finite
            also for events with probability 0 or 1 in all scenes.
        event_mask: bool [events], True for the events that the teacher covers;
            None selects all 527 events.
        event_reduction: "sum" or "mean" over the selected events.
        name: name of the loss.
        reduction: reduction over the batch, as in Keras.

    Raises:
        ValueError: the posteriors have another shape or are not in [0, 1].
    """

    _MARGIN = 1e-12

    def __init__(
        self,
        posteriors: npt.ArrayLike,
        event_mask: npt.ArrayLike | None = None,
        event_reduction: str = "sum",
        name: str = "event_kl",
        reduction: str = "sum_over_batch_size",
    ) -> None:
        super().__init__(event_mask, event_reduction, name, reduction)
        rows = _validate_posteriors(posteriors, self.event_mask)
        self.posteriors = np.clip(rows, self._MARGIN, 1.0 - self._MARGIN)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Computes the divergence of each example, float32 [B]."""
        # [B, events]
        compound = compound_events(y_pred, self.posteriors)
        return self.reduce_events(
            binary_kl_from_probs(self.mask_events(y_true), compound)
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {"posteriors": self.posteriors.tolist()}


@keras.saving.register_keras_serializable("advance_tf")
class RelevanceAlignment(keras.losses.Loss):
    """L_E2 = 1 − cos(p(e), d_t), p(e) of Eq. 7 against the relevance d_t (Eq. 9).

    `y_true` is the scene t, int [B] or [B, 1], and `y_pred` the scene logits,
    float [B, scenes]; the loss of an example is in [0, 2].

    >>> identity = [[1.0, 0.0], [0.0, 1.0]]
    >>> loss = RelevanceAlignment(identity, identity, [True, True])
    >>> round(float(loss(tf.constant([0]), tf.zeros([1, 2]))), 4)
    0.2929

    Args:
        posteriors: p(e|s_k), [scenes, events] in [0, 1].
        relevance: d_k, [scenes, events], of any norm above 0.
        event_mask: bool [events], True for the events that the teacher covers;
            masked events are left out of both vectors. None selects all 527.
        name: name of the loss.
        reduction: reduction over the batch, as in Keras.

    Raises:
        ValueError: posteriors or relevance have another shape, are not finite,
            or are zero in a scene.
    """

    def __init__(
        self,
        posteriors: npt.ArrayLike,
        relevance: npt.ArrayLike,
        event_mask: npt.ArrayLike | None = None,
        name: str = "relevance",
        reduction: str = "sum_over_batch_size",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.event_mask = validate_event_mask(event_mask)
        self.posteriors = _validate_posteriors(posteriors, self.event_mask)
        self.relevance = _validate_rows("relevance", relevance, self.event_mask)
        if len(self.relevance) != len(self.posteriors):
            raise ValueError(
                "posteriors and relevance must have the same scenes; received "
                f"{len(self.posteriors)} and {len(self.relevance)}. {_REMEDY}"
            )
        norms = np.linalg.norm(self.relevance, axis=1, keepdims=True)
        self._directions = self.relevance / norms

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Computes 1 − cos(p(e), d_t) of each example, float32 [B]."""
        # [B, events]
        compound = compound_events(y_pred, self.posteriors)
        direction = tf.gather(tf.constant(self._directions), scene_indices(y_true))
        # [B]
        projection = tf.reduce_sum(compound * direction, axis=-1)
        cosine = projection / tf.norm(compound, axis=-1)
        return tf.cast(1.0 - cosine, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "posteriors": self.posteriors.tolist(),
            "relevance": self.relevance.tolist(),
            "event_mask": self.event_mask.tolist(),
            "name": self.name,
            "reduction": self.reduction,
        }
