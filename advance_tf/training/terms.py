"""The objective and the modality dropout of a configuration."""

import numpy as np
import numpy.typing as npt

from advance_tf import labels
from advance_tf.config import Config
from advance_tf.data.sampling import balanced_class_weights
from advance_tf.losses.objective import Term, build_objective
from advance_tf.losses.scene import SceneLoss
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training.modality_dropout import ModalityDropout


def build_terms(
    config: Config,
    knowledge: EventKnowledge | None,
    training_scenes: npt.ArrayLike | None = None,
) -> dict[str, Term]:
    """Builds the objective of a run (Eq. 2).

    Args:
        config: transfer and training are used.
        knowledge: event knowledge of the teacher; None only for transfer "none".
        training_scenes: int [n], the scene of each training pair; needed for
            balanced class weights.

    Returns:
        Term name → term, as of `build_objective`.

    Raises:
        ValueError: the transfer needs knowledge, or relevance vectors that are not
            defined, or the class weights need the scenes.
    """
    of_teacher: dict[str, np.ndarray] = {}
    if knowledge is not None:
        of_teacher = {
            "posteriors": knowledge.posteriors,
            "event_mask": knowledge.event_mask,
        }
        # It may be undefined, which concerns no other objective.
        if config.transfer.uses_relevance:
            relevance = knowledge.relevance(config.transfer.relevance)
            of_teacher["relevance"] = relevance
    weights = None
    if config.training.class_weights == "balanced":
        if training_scenes is None:
            raise ValueError(
                "`class_weights='balanced'` needs the scenes of the training pairs; "
                "received none. Pass `training_scenes`."
            )
        weights = balanced_class_weights(training_scenes, len(labels.scenes()))
    scene_loss = SceneLoss(config.training.label_smoothing, weights)
    return build_objective(config.transfer, scene_loss=scene_loss, **of_teacher)


def modality_dropout_of(config: Config) -> ModalityDropout | None:
    """The source of the masks of a training; None without modality_dropout."""
    probability = config.model.modality_dropout
    return ModalityDropout(probability, config.training.seed) if probability else None
