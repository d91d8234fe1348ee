"""Event probabilities of a recognizer, from its head or from its scenes."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np

EVENT_KNOWLEDGE = "event_knowledge"
POSTERIORS = "posteriors.npz"
HEADS = ("audiovisual_event_logits", "audio_event_logits")
_COMPOUND = "compound p(e) = Σ_k p(s_k) p(e|s_k) (Eq. 7)"
_NO_EVENTS = (
    "no events: the model has no event head, and there are no posteriors (make "
    "them with `python -m advance_tf.teach`)"
)


class Knowledge(Protocol):
    """The part of the teacher's knowledge that events need."""

    @property
    def posteriors(self) -> np.ndarray:
        """p(e|s_k) [13, 527]."""

    @property
    def event_mask(self) -> np.ndarray:
        """Bool [527], the events that the teacher knows."""


@dataclasses.dataclass(frozen=True, eq=False)
class EventProbs:
    """Event probabilities of a batch.

    Attributes:
        probs: [n, events] float32 in [0, 1], or None; 0 for an event that the
            teacher does not know.
        known: [events] bool: the events that were learnt, or None.
        source: where they come from; without probabilities, why there are none.
        of_sound: whether they are heard, so that without sound they mean nothing.
    """

    probs: np.ndarray | None
    known: np.ndarray | None
    source: str
    of_sound: bool = False


def softmax(logits) -> np.ndarray:
    """Probabilities z of logits over the last axis.

    Args:
        logits: [..., n] float.

    Returns:
        [..., n] float32 that sum to 1.
    """
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def sigmoid(logits) -> np.ndarray:
    """Probabilities σ of logits, float32, without overflow."""
    logits = np.asarray(logits, np.float64)
    return (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)


def event_probs(
    outputs: Mapping[str, np.ndarray], knowledge: Knowledge | None
) -> EventProbs:
    """What the recognizer says of the events.

    With an event head, σ of its logits. Without one the compound probability
    p(e) = Σ_k p(s_k) p(e|s_k) (Eq. 7), when the posteriors are known.

    Args:
        outputs: of the recognizer, `scene_logits` [n, 13] and perhaps event
            logits [n, 527].
        knowledge: posteriors [13, 527] and event_mask [527] of the teacher, or
            None.

    Returns:
        The probabilities and their source.
    """
    of_sound = "audio_event_logits" in outputs
    head = next((name for name in HEADS if name in outputs), None)
    if knowledge is None:
        if head is None:
            return EventProbs(None, None, _NO_EVENTS)
        probs = sigmoid(outputs[head])
        return EventProbs(probs, None, f"event head ({head})", of_sound)
    known = np.asarray(knowledge.event_mask).astype(bool)
    if head is None:
        # A masked column may hold anything, even NaN.
        posteriors = np.where(known, knowledge.posteriors, 0).astype(np.float64)
        probs = softmax(outputs["scene_logits"]) @ posteriors
        return EventProbs(np.clip(probs, 0, 1).astype(np.float32), known, _COMPOUND)
    probs = np.where(known, sigmoid(outputs[head]), np.float32(0))
    return EventProbs(probs, known, f"event head ({head})", of_sound)


def find_knowledge(workdir: pathlib.Path, recorded: str) -> pathlib.Path | None:
    """Where the event knowledge of a run lies.

    Args:
        workdir: folder of the run, perhaps moved since.
        recorded: the folder that the run was trained with, "" for none.

    Returns:
        The recorded folder, else that in the work directory; None when neither
        holds posteriors.
    """
    places = [workdir / EVENT_KNOWLEDGE]
    if recorded:
        places.insert(0, pathlib.Path(recorded))
    return next((place for place in places if (place / POSTERIORS).is_file()), None)
