"""The losses of the paper, Eq. 1 to 10, each a `keras.losses.Loss`.

A `keras.losses.Loss` divides by the number of replicas; a plain tensor would
double the step on two. All compute in float32 whatever the precision.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import TransferConfig
from advance_tf.losses.binary_kl import binary_kl_from_logits, binary_kl_from_probs

# Keeps log p(e) finite where the posteriors of all scenes are 0.
_SMALLEST_PROB = 1e-7
_REDUCTIONS = ("mean", "sum")


class Term(NamedTuple):
    """A loss with the target and the output that it compares, and its weight."""

    loss: keras.losses.Loss
    target: str
    output: str
    weight: float


def _mask(event_mask) -> np.ndarray:
    """The events that count, float32 [events]; all of them for None."""
    if event_mask is None:
        return np.ones(len(labels.events()), np.float32)
    mask = np.asarray(event_mask).astype(np.float32)
    if mask.ndim != 1 or not mask.any():
        raise ValueError(
            "event_mask must be [events] with at least one event that counts; "
            f"received shape {mask.shape} with {int(mask.sum())}."
        )
    return mask


def _rows(name, values, columns=None) -> np.ndarray:
    rows = np.asarray(values, np.float32)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(
            f"{name} must be finite [scenes, events]; received shape {rows.shape}. "
            "Make them again with `python -m advance_tf.teach`."
        )
    if columns is not None and rows.shape[1] != columns:
        raise ValueError(
            f"{name} must have {columns} events, as the mask has; received "
            f"{rows.shape[1]}."
        )
    return rows


class _OverEvents(keras.losses.Loss):
    """A loss that is reduced over the events that the teacher knows.

    Args:
        event_mask: bool [events], None for all.
        event_reduction: "mean" over the events that count, or "sum".
        name: of the loss.
    """

    def __init__(self, event_mask=None, event_reduction="mean", name=None):
        super().__init__(name=name, dtype="float32")
        if event_reduction not in _REDUCTIONS:
            raise ValueError(
                f"event_reduction must be one of {', '.join(_REDUCTIONS)}; received "
                f"{event_reduction!r}."
            )
        self.event_mask = _mask(event_mask)
        self.event_reduction = event_reduction

    def _reduce(self, per_event):
        # where, not a product: a masked event may hold anything, even NaN.
        kept = tf.where(self.event_mask > 0, per_event, tf.zeros_like(per_event))
        total = tf.reduce_sum(kept, axis=-1)
        if self.event_reduction == "sum":
            return total
        return total / float(self.event_mask.sum())


class SceneLoss(keras.losses.Loss):
    """L_s = KL(one-hot(t) ‖ z(f_s(x))) = −log z_t (Eq. 1).

    Called with the scene t, int [B], and the scene logits [B, scenes]; the
    value of an example is ≥ 0.
    """

    def __init__(self, name="scene"):
        super().__init__(name=name, dtype="float32")

    def call(self, y_true, y_pred):
        """−log z_t of each example [B]."""
        scene = tf.reshape(tf.cast(y_true, tf.int32), [-1])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            scene, tf.cast(y_pred, tf.float32)
        )


class EventKL(_OverEvents):
    """Σ_i C(y_i(a) ‖ σ(f_e)_i) (Eq. 3 on audio, Eq. 5 audiovisual).

    Called with the soft labels y [B, events] in [0, 1] and the event logits
    [B, events]. The authors' code takes the mean over the events and binary
    cross-entropy, whose gradient is the same.
    """

    def call(self, y_true, y_pred):
        """The divergence of each example [B]."""
        return self._reduce(binary_kl_from_logits(y_true, y_pred))


class EventSquaredDistance(_OverEvents):
    """‖f_e(x) − f_e(a, N_a^(0))‖² of logits (Eq. 4 on audio, Eq. 6 audiovisual).

    Called with the teacher's logits [B, events] and the event logits
    [B, events]. The authors' code takes the mean of the squares.
    """

    def call(self, y_true, y_pred):
        """The squared distance of each example [B]."""
        distance = tf.cast(y_pred, tf.float32) - tf.cast(y_true, tf.float32)
        return self._reduce(tf.square(distance))


class CompoundEventKL(_OverEvents):
    """L_E1 = Σ_i C(y_i(a) ‖ p(e)_i) (Eq. 8), p(e) = Σ_k p(s_k) p(e|s_k) (Eq. 7).

    Called with the soft labels y [B, events] and the scene logits [B, scenes].
    p(e) is kept within [1e-7, 1 − 1e-7], beyond which float32 has no 1 − p(e).

    Args:
        posteriors: p(e|s_k), [scenes, events] in [0, 1].
        event_mask: bool [events], None for all.
        event_reduction: "mean" or "sum".
        name: of the loss.
    """

    def __init__(
        self, posteriors, event_mask=None, event_reduction="mean", name="event_kl"
    ):
        super().__init__(event_mask, event_reduction, name)
        self.posteriors = _rows("posteriors", posteriors, len(self.event_mask))
        if self.posteriors.min() < 0 or self.posteriors.max() > 1:
            raise ValueError(
                "posteriors must lie in [0, 1]; received "
                f"{self.posteriors.min()} to {self.posteriors.max()}."
            )

    def call(self, y_true, y_pred):
        """The divergence of each example [B]."""
        compound = compound_events(y_pred, self.posteriors)
        bounded = tf.clip_by_value(compound, _SMALLEST_PROB, 1.0 - _SMALLEST_PROB)
        return self._reduce(
            binary_kl_from_probs(y_true, tf.math.log(bounded), tf.math.log1p(-bounded))
        )


class RelevanceAlignment(keras.losses.Loss):
    """L_E2: 1 − cos(p(e), d_t), the direction of p(e) against the relevance (Eq. 9).

    Called with the scene t, int [B], and the scene logits [B, scenes]; the value
    of an example lies in [0, 2].

    Args:
        posteriors: p(e|s_k), [scenes, events] in [0, 1].
        relevance: d_k, [scenes, events], of any length above 0.
        event_mask: bool [events], None for all.
        name: of the loss.
    """

    def __init__(self, posteriors, relevance, event_mask=None, name="relevance"):
        super().__init__(name=name, dtype="float32")
        mask = _mask(event_mask)
        self.posteriors = _rows("posteriors", posteriors, len(mask)) * mask
        directions = _rows("relevance", relevance, len(mask)) * mask
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        if not (lengths > 0).all():
            raise ValueError(
                "relevance must have a direction for every scene; that of scene "
                f"{int(np.argmin(lengths))} is zero. Make it again with `python -m "
                "advance_tf.teach`."
            )
        self.directions = directions / lengths

    def call(self, y_true, y_pred):
        """One less the cosine of each example [B]."""
        scene = tf.reshape(tf.cast(y_true, tf.int32), [-1])
        compound = compound_events(y_pred, self.posteriors)
        direction = tf.math.l2_normalize(compound, axis=-1)
        wanted = tf.gather(self.directions, scene)
        return 1.0 - tf.reduce_sum(direction * wanted, axis=-1)


def compound_events(scene_logits, posteriors) -> tf.Tensor:
    """p(e) = Σ_k p(s_k) p(e|s_k), p(s) = z(f_s(x)) (Eq. 7).

    Args:
        scene_logits: float [B, scenes].
        posteriors: p(e|s_k), [scenes, events].

    Returns:
        float32 [B, events] in [0, 1].
    """
    scene_probs = tf.nn.softmax(tf.cast(scene_logits, tf.float32), axis=-1)
    return tf.matmul(scene_probs, tf.constant(posteriors, tf.float32))


def build_objective(
    transfer: TransferConfig, *, posteriors=None, relevance=None, event_mask=None
) -> dict[str, Term]:
    """L = L_s + α L_Ω (Eq. 2) as named terms; a term of weight 0 is left out.

    Args:
        transfer: which L_Ω, and the weights.
        posteriors: p(e|s_k), [13, 527]; for transfer "event".
        relevance: d_k, [13, 527]; for transfer "event" with β above 0.
        event_mask: bool [527], the events that the teacher knows; None for all.

    Returns:
        "scene", and "transfer", or "event_kl" and "relevance" (L_E, Eq. 10).

    Raises:
        ValueError: transfer "event" without posteriors or relevance.
    """
    name, alpha = transfer.transfer, transfer.alpha
    reduction = transfer.event_reduction
    terms = {"scene": Term(SceneLoss(), "scene", "scene_logits", transfer.scene_weight)}
    if name == "event":
        if posteriors is None or relevance is None:
            raise ValueError(
                "--transfer=event needs posteriors and relevance; received none. Run "
                "`python -m advance_tf.teach` first."
            )
        compound = CompoundEventKL(posteriors, event_mask, reduction)
        aligned = RelevanceAlignment(posteriors, relevance, event_mask)
        weight = alpha * transfer.beta
        terms["event_kl"] = Term(compound, "soft_labels", "scene_logits", alpha)
        terms["relevance"] = Term(aligned, "scene", "scene_logits", weight)
    elif name != "none":
        kind, head = name.split("_", 1)
        output = f"{head}_event_logits"
        if kind == "sq":
            distance = EventSquaredDistance(event_mask, reduction, name)
            terms["transfer"] = Term(distance, "teacher_logits", output, alpha)
        else:
            divergence = EventKL(event_mask, reduction, name)
            terms["transfer"] = Term(divergence, "soft_labels", output, alpha)
    return {key: term for key, term in terms.items() if term.weight > 0}
