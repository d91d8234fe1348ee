"""Trains a student on the scenes, events and embeddings of a teacher."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import layers

from advance_tf.config import Config
from advance_tf.config_fields import Validated, setting
from advance_tf.data.dataset import scene_numbers
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair, rows_of
from advance_tf.data.rows import ComputedRows, Rows, select_rows
from advance_tf.losses.distillation import EmbeddingMatch, SoftSceneLoss
from advance_tf.losses.event import EventKL
from advance_tf.losses.objective import Term
from advance_tf.metrics.scores import ConfusionScores
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.heads import embedding_model
from advance_tf.models.recognizer import build_recognizer, dtype_policy, freeze
from advance_tf.models.weights import load_pretrained
from advance_tf.training import runtime, session
from advance_tf.training.checkpoint import Progress
from advance_tf.training.frozen import adapt_normalization
from advance_tf.training.recognition import (
    compile_with_rates,
    make_datasets,
    pair_files,
    score_test_epochs,
    term_shares,
    used_pairs,
)
from advance_tf.training.terms import build_terms, modality_dropout_of
from advance_tf.training.trainer import Score, Trainer

# The transfers of a student: the event head, if any, is trained on the teacher's
# events (Eq. 3 and 5 with its probabilities as soft labels).
STUDENT_TRANSFERS = ("none", "kl_audio", "kl_audiovisual")
SOFT_SCENES, SOFT_LABELS = "soft_scenes", "soft_labels"


@dataclasses.dataclass(frozen=True)
class DistillationSettings(Validated):
    """Weights of the losses that a teacher adds to L_s.

    >>> DistillationSettings(embedding_weight=0).temperature
    2.0
    """

    temperature: float = setting(
        2.0,
        "Temperature T of the teacher's calibrated scenes and of the student's.",
        above=0.0,
    )
    soft_scene_weight: float = setting(
        1.0, "Weight of T² KL(teacher ‖ student) of the scenes.", minimum=0.0
    )
    embedding_weight: float = setting(
        1.0, "Weight of the match of each tower's embedding.", minimum=0.0
    )


@dataclasses.dataclass(frozen=True, eq=False)
class TeacherTargets:
    """The outputs of a teacher for pairs, one row for each.

    Attributes:
        keys: (scene, stem) of each pair.
        columns: "soft_scenes" [n, 13], probabilities at the temperature of the
            settings; "soft_labels" [n, 527], where the student has an event head;
            "image_embedding" [n, D_v] and "audio_embedding" [n, D_a], standardized,
            of the towers to match.
        event_mask: bool [527], the events that the teacher covers; None for all.
    """

    keys: tuple[tuple[str, str], ...]
    columns: Mapping[str, Rows]
    event_mask: np.ndarray | None = None

    def targets_for(self, pairs: Sequence[Pair]) -> dict[str, ComputedRows]:
        """The rows of pairs, in their order.

        Args:
            pairs: pairs of `keys`.

        Returns:
            Name → float32 [m, …], read when it is indexed.
        """
        own = rows_of(pairs, self.keys, "outputs of the teacher")
        return {n: select_rows(values, own) for n, values in self.columns.items()}


def student_terms(
    config: Config,
    settings: DistillationSettings,
    targets: TeacherTargets,
    training_scenes: np.ndarray | None = None,
) -> dict[str, Term]:
    """Builds the objective of a student.

        L = w_s L_s + w_soft T² KL(p ‖ softmax(f_s / T)) + α L_KL + w_e Σ ‖g − ê‖² / D

    Args:
        config: transfer and training are used; `scene_weight` is w_s, `alpha` α.
        settings: T, w_soft and w_e.
        targets: what the teacher has.
        training_scenes: as for `build_terms`.

    Returns:
        Term name → term, without those of weight 0 and without a target.

    Raises:
        ValueError: the transfer is not one of `STUDENT_TRANSFERS`.
    """
    transfer = config.transfer
    if transfer.transfer not in STUDENT_TRANSFERS:
        raise ValueError(
            f"transfer must be one of {', '.join(STUDENT_TRANSFERS)} for a student; "
            f"received {transfer.transfer!r}. Choose kl_audio or kl_audiovisual for "
            "the teacher's events."
        )
    terms = build_terms(config, None, training_scenes)
    if "transfer" in terms:
        loss = EventKL(targets.event_mask, transfer.event_reduction)
        terms["transfer"] = dataclasses.replace(terms["transfer"], loss=loss)
    soft = SoftSceneLoss(settings.temperature)
    terms["soft_scene"] = Term(
        soft, SOFT_SCENES, "scene_logits", settings.soft_scene_weight
    )
    for tower in TOWERS:
        name = f"{tower}_embedding"
        if name in targets.columns:
            terms[f"{tower}_match"] = Term(
                EmbeddingMatch(f"{tower}_match"),
                name,
                f"{tower}_match",
                settings.embedding_weight,
            )
    return {name: term for name, term in terms.items() if term.weight > 0}


def build_student(
    config: Config,
    settings: DistillationSettings,
    targets: TeacherTargets,
    training_scenes: np.ndarray | None = None,
) -> tuple[Trainer, keras.Model]:
    """Builds a recognizer and the compiled trainer that distills a teacher to it.

    Call it in the scope of the distribution strategy.

    Args:
        config: model, features, transfer and training are used.
        settings: weights of the teacher's losses.
        targets: the teacher's outputs; the sizes of its embeddings are used.
        training_scenes: as for `build_terms`.

    Returns:
        The trainer, and the recognizer in it. The trainer's model has the recognizer
        and a linear map of each embedding to that of the teacher.

    Raises:
        ValueError: the transfer is not one of a student, or weights do not fit.
    """
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    load_pretrained(recognizer, config.model, config.features)
    freeze(recognizer, config.model)
    terms = student_terms(config, settings, targets, training_scenes)
    embeddings = embedding_model(recognizer).output
    outputs = dict(recognizer.output)
    for tower in TOWERS:
        name = f"{tower}_match"
        if name in terms:
            size = targets.columns[terms[name].target].shape[1]
            match = layers.Dense(size, dtype="float32", name=name)
            outputs[name] = match(embeddings[tower])  # [B, D] of the teacher
    student = keras.Model(recognizer.input, outputs, name="student")
    scores = [Score(ConfusionScores(name="scores"), "scene", "scene_logits")]
    trainer = Trainer(student, terms, scores, modality_dropout_of(config))
    compile_with_rates(trainer, config)
    return trainer, recognizer


@dtype_policy()
def train_student(
    config: Config,
    settings: DistillationSettings,
    manifest: Manifest,
    workdir: pathlib.Path,
    *,
    targets: TeacherTargets,
) -> Progress:
    """Trains the student of a work directory, or resumes its training.

    The teacher's outputs are those of the pairs as they are, while the student's
    inputs are augmented: one set of outputs for all epochs.

    Args:
        config: configuration of the run.
        settings: weights of the teacher's losses.
        manifest: pairs and splits.
        workdir: folder of the run.
        targets: the teacher's outputs for the training and the validation pairs.

    Returns:
        The progress after the last epoch; best.weights.h5 holds the recognizer.

    Raises:
        ValueError: a split is too small, a file cannot be read, or the loss is not
            finite.
    """
    trained = session.run_precision(workdir)
    strategy = runtime.start(config.training, trained=trained)
    with strategy.scope():
        scenes = scene_numbers(manifest.pairs_of("training"))
        trainer, recognizer = build_student(config, settings, targets, scenes)

        def saved_model(_: keras.Model) -> keras.Model:
            return recognizer

        progress = session.start_or_resume(trainer, workdir, saved_model)
    if config.model.normalize_embeddings and not progress.epochs:
        adapt_normalization(recognizer, config, manifest, workdir)
    training, validation = make_datasets(
        config,
        manifest,
        targets,
        first_epoch=progress.epochs,
        replicas=strategy.num_replicas_in_sync,
    )
    with pair_files(config, used_pairs(config, manifest)).errors():
        with strategy.scope():
            # The warning is given once in a run.
            warn = not progress.epochs
            measured = term_shares(trainer, config, manifest, targets, warn=warn)
        return session.fit(
            trainer,
            training,
            validation,
            config.training,
            workdir,
            progress=progress,
            monitor="val_f_score",
            diagnostics=[measured, *score_test_epochs(config, manifest)],
            saved_model=saved_model,
        )
