"""Trains the two-tower recognizer with any objective of the paper."""

import pathlib

import numpy as np
import tensorflow as tf

from advance_tf.config import Config
from advance_tf.data.cache import PairCache
from advance_tf.data.dataset import make_dataset, scene_numbers
from advance_tf.data.manifest import Manifest
from advance_tf.data.media_errors import media_errors
from advance_tf.data.splits import spread_over_scenes
from advance_tf.metrics.scores import ConfusionScores
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.backbones.registry import sound_input
from advance_tf.models.recognizer import build_recognizer, freeze
from advance_tf.models.weights import load_pretrained
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training import runtime, session
from advance_tf.training.checkpoint import Progress
from advance_tf.training.frozen import (
    adapt_normalization,
    train_frozen,
    trains_heads_only,
)
from advance_tf.training.heads import build_terms
from advance_tf.training.optimizer import scale_rates
from advance_tf.training.term_shares import SHARE_PAIRS, TermShares
from advance_tf.training.trainer import Score, Trainer


def build_trainer(
    config: Config,
    knowledge: EventKnowledge | None,
    training_scenes: np.ndarray | None = None,
) -> Trainer:
    """Builds and compiles the trainer of a configuration.

    Call it in the scope of the distribution strategy.

    Args:
        config: model, features, transfer and training are used.
        knowledge: event knowledge of the teacher; None only for transfer
            "none".
        training_scenes: int [n], the scene of each training pair; needed for
            balanced class weights.

    Returns:
        A trainer of a new recognizer that reports precision, recall and F of
        the scenes.

    Raises:
        ValueError: the transfer needs knowledge, or a file of weights is not of
            this model.
    """
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    load_pretrained(recognizer, config.model)
    freeze(recognizer, config.model)
    objective = build_terms(config, knowledge, training_scenes)
    scores = [Score(ConfusionScores(name="scores"), "scene", "scene_logits")]
    trainer = Trainer(recognizer, objective, scores)
    session.compile_trainer(trainer, config.training)
    if config.training.tower_learning_rate:
        factor = config.training.tower_learning_rate / config.training.learning_rate
        for tower in TOWERS:
            variables = recognizer.get_layer(f"{tower}_tower").trainable_variables
            scale_rates(trainer.optimizer, variables, factor)
    return trainer


def fill_cache(config: Config, manifest: Manifest) -> PairCache | None:
    """Decodes the training and validation pairs that the cache lacks.

    Args:
        config: data, features and the audio backbone are used.
        manifest: pairs and splits.

    Returns:
        The cache; None when `cache_dir` is not set.
    """
    if not config.data.cache_dir:
        return None
    cache = PairCache(config.data.cache_dir, config.features, sound_input(config.model))
    cache.fill(
        manifest.of("training") + manifest.of("validation"), config.data.data_dir
    )
    return cache


def make_datasets(
    config: Config,
    manifest: Manifest,
    knowledge: EventKnowledge | None,
    *,
    first_epoch: int = 0,
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Builds the training and the validation batches of a run.

    Args:
        config: data, features and training are used.
        manifest: pairs and splits.
        knowledge: if given, adds the teacher's targets to every pair.
        first_epoch: the epoch of the first pass over the training batches.

    Returns:
        Training batches (augmented, reshuffled in every epoch) and validation
        batches (neither augmented nor shuffled), see `make_dataset`.

    Raises:
        ValueError: a split has no pair, or training has less than a batch.
    """
    cache = fill_cache(config, manifest)
    datasets = []
    for split in ("training", "validation"):
        pairs = manifest.of(split)
        least = config.training.batch_size if split == "training" else 1
        if len(pairs) < least:
            raise ValueError(
                f"The {split} split must have at least {least} pairs; it has "
                f"{len(pairs)}. Lower `batch_size` or add data."
            )
        datasets.append(
            make_dataset(
                pairs,
                config.data.data_dir,
                config.features,
                config.training.batch_size,
                training=split == "training",
                seed=config.training.seed,
                targets=knowledge.targets_for(pairs) if knowledge else None,
                cache=cache,
                first_epoch=first_epoch if split == "training" else 0,
                sound_input=sound_input(config.model),
                sampling=config.training.sampling,
            )
        )
    return datasets[0], datasets[1]


def term_shares(
    trainer: Trainer,
    config: Config,
    manifest: Manifest,
    knowledge: EventKnowledge | None,
    *,
    warn: bool = True,
) -> TermShares:
    """Builds the callback that logs the shares of the terms after each epoch.

    It measures them on up to 16 training pairs, evenly from the scenes.

    Args:
        trainer: a trainer of `build_trainer`.
        config: data, features, transfer and training are used.
        manifest: pairs and splits.
        knowledge: as for `make_datasets`.
        warn: whether to warn about terms without effect after the first epoch.

    Returns:
        The callback, for `session.fit`.
    """
    count = min(SHARE_PAIRS, config.training.batch_size)
    pairs = spread_over_scenes(manifest.of("training"), count)
    dataset = make_dataset(
        pairs,
        config.data.data_dir,
        config.features,
        count,
        targets=knowledge.targets_for(pairs) if knowledge else None,
        sound_input=sound_input(config.model),
    )
    unused = {"image": "audio", "sound": "image"}.get(config.model.modality)
    trained = [
        f"{tower}_tower"
        for tower in TOWERS
        if tower != unused
        and trainer.model.get_layer(f"{tower}_tower").trainable_variables
    ]
    return TermShares(
        trainer.model,
        trainer.objective,
        next(iter(dataset)),
        config.transfer,
        towers=trained,
        warn=warn,
    )


def train_recognizer(
    config: Config,
    manifest: Manifest,
    workdir: pathlib.Path,
    *,
    knowledge: EventKnowledge | None,
) -> Progress:
    """Trains the recognizer of a work directory, or resumes its training.

    With frozen towers the heads are trained on stored embeddings of the towers, see
    `trains_heads_only`.

    Args:
        config: configuration of the run.
        manifest: pairs and splits.
        workdir: folder of the run.
        knowledge: event knowledge of the teacher; None only for transfer
            "none".

    Returns:
        The progress after the last epoch; the best weights are in the work
        directory.

    Raises:
        ValueError: a split is too small, a file cannot be read, or the loss is
            not finite.
    """
    if trains_heads_only(config):
        return train_frozen(config, manifest, workdir, knowledge=knowledge)
    strategy = runtime.start(config.training)
    with strategy.scope():
        scenes = scene_numbers(manifest.of("training"))
        trainer = build_trainer(config, knowledge, scenes)
        progress = session.start_or_resume(trainer, workdir)
    if config.model.normalize_embeddings and not progress.epochs:
        adapt_normalization(trainer.model, config, manifest, workdir)
    training, validation = make_datasets(
        config, manifest, knowledge, first_epoch=progress.epochs
    )
    pairs = manifest.of("training") + manifest.of("validation")
    with media_errors(pairs, config.data.data_dir, config.features):
        with strategy.scope():
            # The warning is given once in a run.
            warn = not progress.epochs
            measured = term_shares(trainer, config, manifest, knowledge, warn=warn)
        return session.fit(
            trainer,
            training,
            validation,
            config.training,
            workdir,
            progress=progress,
            monitor="val_f_score",
            diagnostics=[measured],
        )
