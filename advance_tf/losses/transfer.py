"""The objective of a run, L = L_s + α L_Ω (Eq. 2), as named terms."""

import dataclasses

import keras

from advance_tf.config import TransferConfig
from advance_tf.losses.compound import CompoundEventKL, RelevanceAlignment
from advance_tf.losses.event import EventKL, EventSquaredDistance
from advance_tf.losses.scene import SceneLoss


@dataclasses.dataclass(frozen=True)
class Term:
    """One weighted loss of an objective.

    Attributes:
        loss: called with a target and an output. A `keras.losses.Loss` divides
            by the number of replicas; a plain tensor would double the step on
            two.
        target: name of the target that it reads.
        output: name of the model's output that it reads.
        weight: its factor in the sum, above 0.
    """

    loss: keras.losses.Loss
    target: str
    output: str
    weight: float


def build_objective(
    transfer: TransferConfig, *, posteriors=None, relevance=None, event_mask=None
) -> dict[str, Term]:
    """L = L_s + α L_Ω (Eq. 2); a term of weight 0 is left out.

        none                       L_s alone (Eq. 1)
        sq_audio, sq_audiovisual   "transfer", Eq. 4 and 6, weight α
        kl_audio, kl_audiovisual   "transfer", Eq. 3 and 5, weight α
        event                      "event_kl", L_E1 (Eq. 8), weight α, and
                                   "relevance", L_E2 (Eq. 9), weight α β (Eq. 10)

    Args:
        transfer: which L_Ω, the weights and how to reduce over the events.
        posteriors: p(e|s_k), [13, 527]; for transfer "event".
        relevance: d_k, [13, 527]; for transfer "event" with β above 0.
        event_mask: bool [527], the events that the teacher knows; None for all.

    Returns:
        Term name → term: "scene" and those above.

    Raises:
        ValueError: transfer "event" without posteriors or relevance, or they
            are not as their losses need them.
    """
    terms = {"scene": Term(SceneLoss(), "scene", "scene_logits", transfer.scene_weight)}
    if transfer.transfer == "event":
        terms |= _event_terms(transfer, posteriors, relevance, event_mask)
    elif transfer.transfer != "none":
        terms["transfer"] = _head_term(transfer, event_mask)
    return {name: term for name, term in terms.items() if term.weight > 0}


def _head_term(transfer: TransferConfig, event_mask) -> Term:
    """Eq. 3 to 6 on the event head that the transfer names."""
    kind, head = transfer.transfer.split("_")
    output = f"{head}_event_logits"
    if kind == "sq":
        distance = EventSquaredDistance(event_mask, transfer.event_reduction)
        return Term(distance, "teacher_logits", output, transfer.alpha)
    divergence = EventKL(event_mask, transfer.event_reduction)
    return Term(divergence, "soft_labels", output, transfer.alpha)


def _event_terms(
    transfer: TransferConfig, posteriors, relevance, event_mask
) -> dict[str, Term]:
    """L_E = L_E1 + β L_E2 (Eq. 10), both on the scene logits."""
    _check_given("posteriors", posteriors)
    compound = CompoundEventKL(posteriors, event_mask, transfer.event_reduction)
    terms = {"event_kl": Term(compound, "soft_labels", "scene_logits", transfer.alpha)}
    if transfer.beta > 0:
        _check_given("relevance", relevance)
        aligned = RelevanceAlignment(posteriors, relevance, event_mask)
        weight = transfer.alpha * transfer.beta
        terms["relevance"] = Term(aligned, "scene", "scene_logits", weight)
    return terms


def _check_given(name: str, values) -> None:
    if values is None:
        raise ValueError(
            f"--transfer=event needs {name}; received none. Make them with `python "
            "-m advance_tf.teach`, or choose another --transfer."
        )
