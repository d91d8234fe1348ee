"""Event probabilities from the event head or from the scene probabilities."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from advance_tf.metrics.probabilities import sigmoid, softmax

HEADS = ("audiovisual_event_logits", "audio_event_logits")
_COMPOUND = "compound p(e) = Σ_k p(s_k) p(e|s_k) (Eq. 7)"
_NO_EVENTS = (
    "no events: the model has no event head, and there are no posteriors (compute "
    "them with `advance teach`)"
)


class TeacherEvents(Protocol):
    """What event probabilities need of `EventKnowledge`."""

    @property
    def event_mask(self) -> np.ndarray:
        """Which events the teacher covers, bool [527]."""

    @property
    def posteriors(self) -> np.ndarray:
        """Posteriors p(e|s_k), float32 [13, 527]."""


@dataclasses.dataclass(frozen=True, eq=False)
class EventProbs:
    """Event probabilities of a batch.

    Attributes:
        probs: [n, events] float32 in [0, 1], or None; 0 for an event that the
            teacher does not cover.
        known: [events] bool: the events that the teacher covers, None for all.
        source: where they come from; without probabilities, why there are none.
        from_sound: whether they are predicted from the sound alone, so that they
            have no meaning without a sound.
    """

    probs: np.ndarray | None
    known: np.ndarray | None
    source: str
    from_sound: bool = False


def event_probs(
    outputs: Mapping[str, np.ndarray], knowledge: TeacherEvents | None
) -> EventProbs:
    """Event probabilities of the recognizer's outputs.

    With an event head, σ of its logits. Without one the compound probability
    p(e) = Σ_k p(s_k) p(e|s_k) (Eq. 7), where there are posteriors.

    Args:
        outputs: outputs of the recognizer, `scene_logits` [n, 13] and perhaps event
            logits [n, 527].
        knowledge: posteriors [13, 527] and event_mask [527] of the teacher, or
            None.

    Returns:
        The probabilities and their source.
    """
    head = next((name for name in HEADS if name in outputs), None)
    from_sound = head == "audio_event_logits"
    if knowledge is None:
        if head is None:
            return EventProbs(None, None, _NO_EVENTS)
        probs = sigmoid(outputs[head])
        return EventProbs(probs, None, f"event head ({head})", from_sound)
    known = np.asarray(knowledge.event_mask).astype(bool)
    if head is None:
        # Masked columns of the posteriors are undefined and may be NaN.
        posteriors = np.where(known, knowledge.posteriors, 0).astype(np.float64)
        probs = softmax(outputs["scene_logits"]) @ posteriors
        return EventProbs(np.clip(probs, 0, 1).astype(np.float32), known, _COMPOUND)
    probs = np.where(known, sigmoid(outputs[head]), np.float32(0))
    return EventProbs(probs, known, f"event head ({head})", from_sound)


def describe_events(
    sizes: Mapping[str, int], knowledge: TeacherEvents | None
) -> EventProbs:
    """The source of the event probabilities of a recognizer, without a prediction.

    Args:
        sizes: output of the recognizer → number of its logits.
        knowledge: as for `event_probs`.

    Returns:
        The probabilities of logits that are 0, [1, 527], and their source.

    >>> describe_events({"scene_logits": 13, "audio_event_logits": 527}, None).source
    'event head (audio_event_logits)'
    """
    blank = {name: np.zeros((1, size), np.float32) for name, size in sizes.items()}
    return event_probs(blank, knowledge)
