"""Losses between the event head and the teacher (Eq. 3 to 6)."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advance_tf import labels
from advance_tf.losses.binary_kl import binary_kl_from_logits

_EVENT_REDUCTIONS = ("sum", "mean")


def validate_event_mask(event_mask: npt.ArrayLike | None) -> np.ndarray:
    """Validates a mask of events.

    Args:
        event_mask: bool [events]; None selects all 527 events of AudioSet.

    Returns:
        bool [events].

    Raises:
        ValueError: the mask is not a vector or selects no event.
    """
    if event_mask is None:
        return np.ones(len(labels.events()), bool)
    mask = np.asarray(event_mask).astype(bool)
    if mask.ndim != 1 or not mask.any():
        raise ValueError(
            "event_mask must be [events] and select at least one event; received "
            f"shape {mask.shape} with {int(mask.sum())} selected. Use None to select "
            "all events."
        )
    return mask


class EventLoss(keras.losses.Loss):
    """Base class of the losses that are reduced over the events.

    Args:
        event_mask: bool [events], True for the events that the teacher covers;
            masked events have no effect. None selects all 527 events.
        event_reduction: "sum" over the selected events (Eq. 3, 5, 8), or "mean"
            (authors' code). With n events, "sum" with the weight α/n equals "mean"
            with the weight α.
        name: name of the loss.
        reduction: reduction over the batch, as in Keras.

    Raises:
        ValueError: the mask or the reduction is not valid.
    """

    def __init__(
        self,
        event_mask: npt.ArrayLike | None = None,
        event_reduction: str = "sum",
        name: str | None = None,
        reduction: str = "sum_over_batch_size",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if event_reduction not in _EVENT_REDUCTIONS:
            raise ValueError(
                f"event_reduction must be one of {', '.join(_EVENT_REDUCTIONS)}; "
                f"received {event_reduction!r}. Choose one of these."
            )
        self.event_mask = validate_event_mask(event_mask)
        self.event_reduction = event_reduction

    def reduce_events(self, per_event: tf.Tensor) -> tf.Tensor:
        """Reduces values [B, events] over the selected events, float32 [B]."""
        # [B, events]
        selected = tf.where(self.event_mask, per_event, tf.zeros_like(per_event))
        # [B]
        total = tf.reduce_sum(selected, axis=-1)
        if self.event_reduction == "mean":
            total /= float(self.event_mask.sum())
        return tf.cast(total, tf.float32)

    def mask_events(self, values: tf.Tensor) -> tf.Tensor:
        """Converts values to float64 [B, events] and sets masked events to 0.

        Masked events may have any value. Masking the result alone would not
        suffice: the gradient of a masked NaN is NaN.
        """
        values = tf.cast(values, tf.float64)
        return tf.where(self.event_mask, values, tf.zeros_like(values))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "event_mask": self.event_mask.tolist(),
            "event_reduction": self.event_reduction,
            "name": self.name,
            "reduction": self.reduction,
        }


@keras.saving.register_keras_serializable("advance_tf")
class EventKL(EventLoss):
    """Σ_i C(y_i(a) ‖ σ(f_e)_i) (Eq. 3 on audio, Eq. 5 audiovisual).

    `y_true` are the soft labels y, float [B, events] in [0, 1], and `y_pred` the
    event logits, float [B, events]; the loss of an example is ≥ 0. The authors'
    code takes the mean over the events, and binary cross-entropy, which has the
    same gradient.

    >>> loss = EventKL(event_mask=[True, True, False])
    >>> soft_labels = tf.constant([[0.5, 1.0, 0.2]])
    >>> round(float(loss(soft_labels, tf.zeros([1, 3]))), 4)
    0.6931
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Computes the divergence of each example, float32 [B]."""
        return self.reduce_events(
            binary_kl_from_logits(self.mask_events(y_true), self.mask_events(y_pred))
        )


@keras.saving.register_keras_serializable("advance_tf")
class EventSquaredDistance(EventLoss):
    """‖f_e(x) − f_e(a, N_a^(0))‖² of logits (Eq. 4 on audio, Eq. 6 audiovisual).

    `y_true` are the teacher's logits and `y_pred` the event logits, both float
    [B, events]; the loss of an example is ≥ 0. The authors' code takes the mean
    of the squares.

    >>> loss = EventSquaredDistance(event_mask=[True, True])
    >>> float(loss(tf.constant([[1.0, -2.0]]), tf.zeros([1, 2])))
    5.0
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Computes the squared distance of each example, float32 [B]."""
        distance = self.mask_events(y_pred) - self.mask_events(y_true)
        return self.reduce_events(tf.square(distance))
