"""Objectives as named, weighted losses: L = L_s + α L_Ω (Eq. 2) and pretraining."""

import dataclasses

import keras
import numpy.typing as npt

from advance_tf.config import TransferConfig
from advance_tf.losses.compound import CompoundEventKL, RelevanceAlignment
from advance_tf.losses.event import EventKL, EventSquaredDistance
from advance_tf.losses.scene import SceneLoss


@dataclasses.dataclass(frozen=True)
class Term:
    """One weighted loss of an objective.

    Attributes:
        loss: called with a target and an output. A `keras.losses.Loss` divides
            by the number of replicas, so that the sum over the replicas is the
            loss of the global batch.
        target: name of the target.
        output: name of the model's output.
        weight: factor of the loss in the sum, above 0.
    """

    loss: keras.losses.Loss
    target: str
    output: str
    weight: float


def build_objective(
    transfer: TransferConfig,
    *,
    posteriors: npt.ArrayLike | None = None,
    relevance: npt.ArrayLike | None = None,
    event_mask: npt.ArrayLike | None = None,
    scene_loss: SceneLoss | None = None,
) -> dict[str, Term]:
    """Builds L = L_s + α L_Ω (Eq. 2) without the terms of weight 0.

    >>> build_objective(TransferConfig(transfer="kl_audio", alpha=0.3)).keys()
    dict_keys(['scene', 'transfer'])

        none                       L_s alone (Eq. 1)
        sq_audio, sq_audiovisual   "transfer", Eq. 4 and 6, weight α
        kl_audio, kl_audiovisual   "transfer", Eq. 3 and 5, weight α
        event                      "event_kl", L_E1 (Eq. 8), weight α, and
                                   "relevance", L_E2 (Eq. 9), weight α β (Eq. 10)

    Args:
        transfer: L_Ω, the weights and the reduction over the events.
        posteriors: p(e|s_k), float [13, 527]; required for transfer "event".
        relevance: d_k, float [13, 527]; required for transfer "event" with α, β > 0.
        event_mask: bool [527], the events that the teacher covers; None for all.
        scene_loss: L_s; that of Eq. 1 when None.

    Returns:
        Term name → term: "scene" and the names above.

    Raises:
        ValueError: posteriors or relevance are missing for transfer "event", or
            not valid.
    """
    loss = scene_loss or SceneLoss()
    terms = {"scene": Term(loss, "scene", "scene_logits", transfer.scene_weight)}
    if transfer.transfer == "event":
        terms |= _event_terms(transfer, posteriors, relevance, event_mask)
    elif transfer.transfer != "none":
        terms["transfer"] = _head_term(transfer, event_mask)
    return {name: term for name, term in terms.items() if term.weight > 0}


def _head_term(transfer: TransferConfig, event_mask: npt.ArrayLike | None) -> Term:
    """Builds the term of Eq. 3, 4, 5 or 6."""
    kind, head = transfer.transfer.split("_")
    output = f"{head}_event_logits"
    if kind == "sq":
        distance = EventSquaredDistance(event_mask, transfer.event_reduction)
        return Term(distance, "teacher_logits", output, transfer.alpha)
    divergence = EventKL(event_mask, transfer.event_reduction)
    return Term(divergence, "soft_labels", output, transfer.alpha)


def _event_terms(
    transfer: TransferConfig,
    posteriors: npt.ArrayLike | None,
    relevance: npt.ArrayLike | None,
    event_mask: npt.ArrayLike | None,
) -> dict[str, Term]:
    """Builds L_E = L_E1 + β L_E2 (Eq. 10), both on the scene logits."""
    if posteriors is None:
        raise _missing_error("posteriors")
    compound = CompoundEventKL(posteriors, event_mask, transfer.event_reduction)
    terms = {"event_kl": Term(compound, "soft_labels", "scene_logits", transfer.alpha)}
    if transfer.uses_relevance:
        if relevance is None:
            raise _missing_error("relevance")
        aligned = RelevanceAlignment(posteriors, relevance, event_mask)
        weight = transfer.alpha * transfer.beta
        terms["relevance"] = Term(aligned, "scene", "scene_logits", weight)
    return terms


def _missing_error(name: str) -> ValueError:
    return ValueError(
        f"`transfer=event` needs {name}; received None. Compute them with "
        "`advance teach`, or choose another `transfer`."
    )


def class_objective() -> dict[str, Term]:
    """Builds the objective that pretrains the image tower.

    Returns:
        The term "class": cross-entropy of the target "class", int [B], and the
        output "class_logits", [B, classes].
    """
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return {"class": Term(loss, "class", "class_logits", 1.0)}


def event_objective() -> dict[str, Term]:
    """Builds the objective that pretrains the audio tower.

    Returns:
        The term "events": binary cross-entropy, mean over the events, of the
        target "events", float [B, 527], and the output "event_logits", [B, 527].
    """
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return {"events": Term(loss, "events", "event_logits", 1.0)}
