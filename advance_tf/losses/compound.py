"""The losses of the compound event probability p(e), Eq. 7 to 9."""

import keras
import numpy as np
import tensorflow as tf

from advance_tf.losses.binary_kl import binary_kl_from_probs
from advance_tf.losses.event import EventLoss, checked_mask
from advance_tf.losses.scene import scene_indices

_REMAKE = "Make it again with `python -m advance_tf.teach`."


def compound_events(scene_logits: tf.Tensor, posteriors: np.ndarray) -> tf.Tensor:
    """p(e) = Σ_k p(s_k) p(e|s_k) with p(s) = z(f_s(x)) (Eq. 7).

    Args:
        scene_logits: float [B, scenes].
        posteriors: p(e|s_k), float [scenes, events] in [0, 1].

    Returns:
        float64 [B, events], within the range of the posteriors.
    """
    scene_probs = tf.nn.softmax(tf.cast(scene_logits, tf.float64), axis=-1)
    return tf.matmul(scene_probs, tf.constant(posteriors, tf.float64))


def _checked_rows(name: str, values, event_mask: np.ndarray) -> np.ndarray:
    """Values as float64 [scenes, events], 0 where the event does not count."""
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(event_mask):
        raise ValueError(
            f"{name} must be [scenes, {len(event_mask)}]; received shape "
            f"{rows.shape}. {_REMAKE}"
        )
    rows = np.where(event_mask, rows, 0.0)
    empty = np.flatnonzero(~rows.any(axis=1))
    if not np.isfinite(rows).all() or len(empty):
        raise ValueError(
            f"{name} must be finite and not all zero in any scene; received "
            f"{int((~np.isfinite(rows)).sum())} values that are not finite, and "
            f"only zeros in scenes {empty.tolist()}. {_REMAKE}"
        )
    return rows


def _checked_posteriors(values, event_mask: np.ndarray) -> np.ndarray:
    rows = _checked_rows("posteriors", values, event_mask)
    if rows.min() < 0 or rows.max() > 1:
        raise ValueError(
            "posteriors must lie in [0, 1]; received "
            f"{rows.min():.4g} to {rows.max():.4g}. {_REMAKE}"
        )
    return rows


@keras.saving.register_keras_serializable("advance_tf")
class CompoundEventKL(EventLoss):
    """L_E1 = Σ_i C(y_i(a) ‖ p(e)_i) (Eq. 8), with p(e) of Eq. 7.

    Called with the soft labels y, float [B, events] in [0, 1], and the scene
    logits, float [B, scenes]; the value of an example is ≥ 0. The authors' code
    takes the mean over the events.

    Args:
        posteriors: p(e|s_k), [scenes, events] in [0, 1]. They are kept within
            [1e-12, 1 − 1e-12], so that log p(e) and log(1 − p(e)) are finite
            even for an event that no scene has, or that every scene has.
        event_mask: bool [events]; None for all 527.
        event_reduction: "mean" or "sum" over the events that count.
        name: of the loss.
        reduction: over the batch, as in Keras.

    Raises:
        ValueError: the posteriors have another shape or leave [0, 1].
    """

    _MARGIN = 1e-12

    def __init__(
        self,
        posteriors,
        event_mask=None,
        event_reduction="mean",
        name="event_kl",
        reduction="sum_over_batch_size",
    ):
        super().__init__(event_mask, event_reduction, name, reduction)
        rows = _checked_posteriors(posteriors, self.event_mask)
        self.posteriors = np.clip(rows, self._MARGIN, 1.0 - self._MARGIN)

    def call(self, y_true, y_pred):
        """The divergence of each example, float32 [B]."""
        compound = compound_events(y_pred, self.posteriors)
        return self.reduce_events(
            binary_kl_from_probs(self.only_counted(y_true), compound)
        )

    def get_config(self):
        """The arguments that make this loss again."""
        return super().get_config() | {"posteriors": self.posteriors.tolist()}


@keras.saving.register_keras_serializable("advance_tf")
class RelevanceAlignment(keras.losses.Loss):
    """L_E2 = 1 − cos(p(e), d_t), p(e) of Eq. 7 against the relevance d_t (Eq. 9).

    Called with the scene t, int [B], and the scene logits, float [B, scenes];
    the value of an example lies in [0, 2].

    Args:
        posteriors: p(e|s_k), [scenes, events] in [0, 1].
        relevance: d_k, [scenes, events], of any length above 0.
        event_mask: bool [events], the others count in neither vector; None for
            all 527.
        name: of the loss.
        reduction: over the batch, as in Keras.

    Raises:
        ValueError: posteriors or relevance have another shape, are not finite,
            or are zero in a scene.
    """

    def __init__(
        self,
        posteriors,
        relevance,
        event_mask=None,
        name="relevance",
        reduction="sum_over_batch_size",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.event_mask = checked_mask(event_mask)
        self.posteriors = _checked_posteriors(posteriors, self.event_mask)
        self.relevance = _checked_rows("relevance", relevance, self.event_mask)
        if len(self.relevance) != len(self.posteriors):
            raise ValueError(
                "posteriors and relevance must have the same scenes; received "
                f"{len(self.posteriors)} and {len(self.relevance)}. {_REMAKE}"
            )
        lengths = np.linalg.norm(self.relevance, axis=1, keepdims=True)
        self._directions = self.relevance / lengths

    def call(self, y_true, y_pred):
        """One less the cosine of each example, float32 [B]."""
        compound = compound_events(y_pred, self.posteriors)
        wanted = tf.gather(tf.constant(self._directions), scene_indices(y_true))
        along = tf.reduce_sum(compound * wanted, axis=-1)
        cosine = along / tf.norm(compound, axis=-1)
        return tf.cast(1.0 - cosine, tf.float32)

    def get_config(self):
        """The arguments that make this loss again."""
        return {
            "posteriors": self.posteriors.tolist(),
            "relevance": self.relevance.tolist(),
            "event_mask": self.event_mask.tolist(),
            "name": self.name,
            "reduction": self.reduction,
        }
