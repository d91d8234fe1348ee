"""What the teacher heard, as evidence for one scene against another."""

import dataclasses

import numpy as np

from advance_tf import labels
from advance_tf.data.layout import Pair
from advance_tf.teacher.knowledge import EventKnowledge

# A posterior is a mean of σ > 0; float32 may still have rounded it to an end.
_LEAST = 1e-7


@dataclasses.dataclass(frozen=True)
class HeardEvent:
    """One event in a sound and in two scenes.

    Attributes:
        name: of the event.
        heard: y(a), the teacher's probability in this sound.
        in_true: p(e|s) of the true scene.
        in_predicted: p(e|s) of the predicted scene.
        pull: toward the predicted scene if positive, the true one if negative,
            in nats.
    """

    name: str
    heard: float
    in_true: float
    in_predicted: float
    pull: float


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The events of one sound for and against a prediction.

    Attributes:
        heard: those that the teacher hears most, loudest first.
        telling: others that pull most to either side, strongest first.
        total: the pull of all events that the teacher knows, in nats.
    """

    heard: tuple[HeardEvent, ...]
    telling: tuple[HeardEvent, ...]
    total: float


def event_pulls(soft_labels, in_true, in_predicted) -> np.ndarray:
    """How much nearer the predicted scene is to what was heard.

        pull_i = C(y_i ‖ p(e_i|s_true)) − C(y_i ‖ p(e_i|s_predicted))
               = y_i log(q_i/p_i) + (1 − y_i) log((1 − q_i)/(1 − p_i))

    with C the binary divergence of Eq. 8, p and q the posteriors of the true
    and of the predicted scene. It does not say what the model used: see the
    activation maps for that.

    Args:
        soft_labels: y(a) [n] in (0, 1).
        in_true: p(e|s) of the true scene [n].
        in_predicted: p(e|s) of the predicted scene [n].

    Returns:
        float64 [n] in nats, positive toward the predicted scene.
    """
    heard = np.asarray(soft_labels, np.float64)
    p, q = (
        np.clip(np.asarray(posteriors, np.float64), _LEAST, 1 - _LEAST)
        for posteriors in (in_true, in_predicted)
    )
    return heard * np.log(q / p) + (1 - heard) * (np.log1p(-q) - np.log1p(-p))


def find_evidence(
    knowledge: EventKnowledge,
    pair: Pair,
    predicted: int,
    *,
    heard: int = 5,
    telling: int = 3,
) -> Evidence:
    """The events of a pair, for its predicted and for its true scene.

    Args:
        knowledge: of the teacher on the manifest of the pair.
        pair: of the manifest.
        predicted: index of the predicted scene.
        heard: how many of the most heard events to name.
        telling: how many others of the strongest pull.

    Returns:
        The events that the teacher knows; others have no part.

    Raises:
        ValueError: the pair has no soft labels.
    """
    soft_labels = knowledge.targets_for([pair])["soft_labels"][0]
    true = labels.scenes().index(pair.scene)
    in_true, in_predicted = knowledge.posteriors[[true, predicted]]
    known = np.asarray(knowledge.event_mask, bool)
    pulls = np.where(known, event_pulls(soft_labels, in_true, in_predicted), 0.0)

    def event(place) -> HeardEvent:
        return HeardEvent(
            name=labels.events()[place].name,
            heard=float(soft_labels[place]),
            in_true=float(in_true[place]),
            in_predicted=float(in_predicted[place]),
            pull=float(pulls[place]),
        )

    by_loudness = np.argsort(-np.where(known, soft_labels, -1.0), kind="stable")
    loudest = [place for place in by_loudness[:heard] if known[place]]
    strongest = np.argsort(-np.abs(pulls), kind="stable")
    others = [place for place in strongest if known[place] and place not in loudest]
    return Evidence(
        tuple(map(event, loudest)),
        tuple(map(event, others[:telling])),
        float(pulls.sum()),
    )
