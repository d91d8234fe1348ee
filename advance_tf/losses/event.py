"""The losses of the event heads against the teacher, Eq. 3 to 6."""

import keras
import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.losses.binary_kl import binary_kl_from_logits

_EVENT_REDUCTIONS = ("mean", "sum")


def checked_mask(event_mask) -> np.ndarray:
    """The events that count.

    Args:
        event_mask: bool [events]; None for all of AudioSet's 527.

    Returns:
        bool [events].

    Raises:
        ValueError: it is no vector, or no event counts.
    """
    if event_mask is None:
        return np.ones(len(labels.events()), bool)
    mask = np.asarray(event_mask).astype(bool)
    if mask.ndim != 1 or not mask.any():
        raise ValueError(
            "event_mask must be [events] with at least one event that counts; "
            f"received shape {mask.shape} with {int(mask.sum())} that count. Give "
            "None to count all."
        )
    return mask


class EventLoss(keras.losses.Loss):
    """Base of the losses that are reduced over the events that count.

    Args:
        event_mask: bool [events], True where the teacher knows the event; None
            for all 527.
        event_reduction: "mean" over the events that count (authors' code), or
            "sum" (Eq. 3, 5, 8). Over n events, sum with α/n is mean with α.
        name: of the loss.
        reduction: over the batch, as in Keras.
    """

    def __init__(
        self,
        event_mask=None,
        event_reduction="mean",
        name=None,
        reduction="sum_over_batch_size",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if event_reduction not in _EVENT_REDUCTIONS:
            raise ValueError(
                f"event_reduction must be one of {', '.join(_EVENT_REDUCTIONS)}; "
                f"received {event_reduction!r}."
            )
        self.event_mask = checked_mask(event_mask)
        self.event_reduction = event_reduction

    def reduce_events(self, per_event: tf.Tensor) -> tf.Tensor:
        """Values [B, events] over the events that count, float32 [B]."""
        kept = tf.where(self.event_mask, per_event, tf.zeros_like(per_event))
        total = tf.reduce_sum(kept, axis=-1)
        if self.event_reduction == "mean":
            total /= float(self.event_mask.sum())
        return tf.cast(total, tf.float32)

    def only_counted(self, values: tf.Tensor) -> tf.Tensor:
        """Values as float64 [B, events] with 0 where the event does not count.

        A masked event may hold anything, even NaN, whose gradient would outlive
        a mask on the result alone.
        """
        values = tf.cast(values, tf.float64)
        return tf.where(self.event_mask, values, tf.zeros_like(values))

    def get_config(self):
        """The arguments that make this loss again."""
        return {
            "event_mask": self.event_mask.tolist(),
            "event_reduction": self.event_reduction,
            "name": self.name,
            "reduction": self.reduction,
        }


@keras.saving.register_keras_serializable("advance_tf")
class EventKL(EventLoss):
    """Σ_i C(y_i(a) ‖ σ(f_e)_i) (Eq. 3 on audio, Eq. 5 audiovisual).

    Called with the soft labels y, float [B, events] in [0, 1], and the event
    logits, float [B, events]; the value of an example is ≥ 0. The authors' code
    takes the mean over the events, and binary cross-entropy, whose gradient is
    the same.
    """

    def call(self, y_true, y_pred):
        """The divergence of each example, float32 [B]."""
        return self.reduce_events(
            binary_kl_from_logits(self.only_counted(y_true), self.only_counted(y_pred))
        )


@keras.saving.register_keras_serializable("advance_tf")
class EventSquaredDistance(EventLoss):
    """‖f_e(x) − f_e(a, N_a^(0))‖² of logits (Eq. 4 on audio, Eq. 6 audiovisual).

    Called with the teacher's logits and the event logits, float [B, events];
    the value of an example is ≥ 0. The authors' code takes the mean of the
    squares.
    """

    def call(self, y_true, y_pred):
        """The squared distance of each example, float32 [B]."""
        distance = self.only_counted(y_pred) - self.only_counted(y_true)
        return self.reduce_events(tf.square(distance))
