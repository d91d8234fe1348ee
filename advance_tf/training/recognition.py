"""Trains the two-tower recognizer with any objective of the paper."""

import functools
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from advance_tf.config import Config
from advance_tf.data.cache import PairCache
from advance_tf.data.dataset import make_dataset, scene_numbers
from advance_tf.data.manifest import Manifest
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.data.rows import Rows
from advance_tf.data.sampling import (
    TrainingEpochs,
    check_split_size,
    evaluation_batch_size,
)
from advance_tf.data.served import ServedBatches
from advance_tf.data.splits import spread_over_scenes
from advance_tf.metrics.scores import ConfusionScores, scene_scores
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.backbones.registry import sound_input
from advance_tf.models.recognizer import build_recognizer, dtype_policy, freeze
from advance_tf.models.weights import load_pretrained
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training import runtime, session
from advance_tf.training.activations import trains_on_stored
from advance_tf.training.callbacks import ValidationScores
from advance_tf.training.checkpoint import Progress
from advance_tf.training.cluster import Worker, join
from advance_tf.training.embeddings import used_towers
from advance_tf.training.epochs import Batches
from advance_tf.training.frozen import adapt_normalization, train_frozen
from advance_tf.training.optimizer import scale_rates
from advance_tf.training.term_shares import SHARE_PAIRS, TermShares
from advance_tf.training.terms import build_terms, modality_dropout_of
from advance_tf.training.trainer import Score, Trainer
from advance_tf.training.unused_settings import unused_settings

_log = logging.getLogger(__name__)


class PairTargets(Protocol):
    """What batches need of `EventKnowledge`, or of the outputs of another teacher."""

    def targets_for(self, pairs: Sequence[Pair]) -> Mapping[str, Rows]:
        """Targets of pairs in their order: name → [n, …]."""


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
    load_pretrained(recognizer, config.model, config.features)
    freeze(recognizer, config.model)
    objective = build_terms(config, knowledge, training_scenes)
    scores = [Score(ConfusionScores(name="scores"), "scene", "scene_logits")]
    trainer = Trainer(recognizer, objective, scores, modality_dropout_of(config))
    compile_with_rates(trainer, config)
    return trainer


def compile_with_rates(trainer: Trainer, config: Config) -> None:
    """Compiles a trainer; the towers get the learning rate of their own.

    Args:
        trainer: a trainer of a model with the layers `image_tower` and `audio_tower`.
        config: training is used.
    """
    session.compile_trainer(trainer, config.training)
    if config.training.tower_learning_rate:
        factor = config.training.tower_learning_rate / config.training.learning_rate
        for tower in TOWERS:
            layer = trainer.model.get_layer(f"{tower}_tower")
            scale_rates(trainer.optimizer, layer.trainable_variables, factor)


def open_cache(config: Config) -> PairCache | None:
    """The cache of a run, which may lack pairs; None when `cache_dir` is not set."""
    if not config.data.cache_dir:
        return None
    return PairCache(config.data.cache_dir, config.features, sound_input(config.model))


def fill_cache(config: Config, manifest: Manifest) -> PairCache | None:
    """Decodes the pairs of `used_splits` that the cache lacks.

    Args:
        config: data, features and the audio backbone are used.
        manifest: pairs and splits.

    Returns:
        The cache; None when `cache_dir` is not set.
    """
    cache = open_cache(config)
    if cache is not None:
        cache.fill(used_pairs(config, manifest), config.data.data_dir)
    return cache


def used_splits(config: Config, manifest: Manifest) -> tuple[str, ...]:
    """The splits whose pairs a training reads; "test" only with `test_epochs`.

    A fold of the training split, on which α and β are searched, has no test pairs.
    """
    splits = ("training", "validation")
    tests = config.training.test_epochs and "test" in manifest.splits
    return (*splits, "test") if tests else splits


def used_pairs(config: Config, manifest: Manifest) -> list[Pair]:
    """The pairs whose files a training reads, those of `used_splits`."""
    return [
        pair
        for split in used_splits(config, manifest)
        for pair in manifest.pairs_of(split)
    ]


def pair_files(
    config: Config, pairs: Sequence[Pair], cache: PairCache | None = None
) -> PairFiles:
    """The files of pairs as the recognizer of a configuration takes them.

    Args:
        config: data, features and the audio backbone are used.
        pairs: n pairs of `data_dir`.
        cache: of `fill_cache` or `open_cache`; None decodes the files.

    Returns:
        What `make_dataset` reads.
    """
    data_dir, sounds = config.data.data_dir, sound_input(config.model)
    return PairFiles(pairs, data_dir, config.features, sounds, cache)


def make_datasets(
    config: Config,
    manifest: Manifest,
    knowledge: PairTargets | None,
    *,
    first_epoch: int = 0,
    share: tuple[int, int] = (0, 1),
    replicas: int = 1,
) -> tuple[Batches, Batches]:
    """Builds the training and the validation batches of a run.

    Args:
        config: data, features and training are used.
        manifest: pairs and splits.
        knowledge: if given, adds the teacher's targets to every pair.
        first_epoch: the epoch of the first pass over the training batches.
        share: (i, n) for the part i of n processes.
        replicas: replicas of this process, among which a batch is divided.

    Returns:
        Training batches (augmented, reshuffled in every epoch) and validation
        batches (neither augmented nor shuffled), see `make_dataset`, or, with
        `tf_data_service`, `ServedBatches`.

    Raises:
        ValueError: a split has no pair, or training has less than a batch.
    """
    cache = fill_cache(config, manifest)
    epochs = TrainingEpochs.of(config.training, first_epoch)
    datasets = []
    for split in ("training", "validation"):
        pairs = manifest.pairs_of(split)
        check_split_size(config.training, split, len(pairs))
        service, batch_size = config.data.tf_data_service, config.training.batch_size
        if split == "validation" and share[1] == 1:
            batch_size = evaluation_batch_size(len(pairs), batch_size, replicas)
        make = functools.partial(ServedBatches, service) if service else make_dataset
        datasets.append(
            make(
                pair_files(config, pairs, cache),
                batch_size,
                training=epochs if split == "training" else None,
                targets=knowledge.targets_for(pairs) if knowledge else None,
                share=share,
            )
        )
    return datasets[0], datasets[1]


def score_test_epochs(config: Config, manifest: Manifest) -> list[ValidationScores]:
    """The callback that logs the scores of the test pairs after each epoch.

    Args:
        config: data, features and training are used.
        manifest: pairs and splits.

    Returns:
        One callback, or none without `test_epochs` or test pairs.
    """
    if "test" not in used_splits(config, manifest):
        return []
    # `make_datasets` has filled the cache.
    files = pair_files(config, manifest.pairs_of("test"), open_cache(config))
    dataset = make_dataset(files, config.training.batch_size)
    return [ValidationScores(dataset, "scene", "scene_logits", scene_scores, "test")]


def term_shares(
    trainer: Trainer,
    config: Config,
    manifest: Manifest,
    knowledge: PairTargets | None,
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
    pairs = spread_over_scenes(manifest.pairs_of("training"), count)
    targets = knowledge.targets_for(pairs) if knowledge else None
    dataset = make_dataset(pair_files(config, pairs), count, targets=targets)
    trained = [
        f"{tower}_tower"
        for tower in used_towers(config.model)
        if trainer.model.get_layer(f"{tower}_tower").trainable_variables
    ]
    return TermShares(
        trainer.model,
        trainer.objective,
        next(iter(dataset)),
        config.transfer,
        towers=trained,
        warn=warn,
    )


@dtype_policy()
def train_recognizer(
    config: Config,
    manifest: Manifest,
    workdir: pathlib.Path,
    *,
    knowledge: EventKnowledge | None,
) -> Progress:
    """Trains the recognizer of a work directory, or resumes its training.

    What is frozen of the towers may be computed once and stored, see
    `activations.trains_on_stored`.

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
    worker = join(config.training.strategy)
    if trains_on_stored(config):
        _check_one_process(config)
        for text in unused_settings(config):
            _log.warning("%s", text)
        return train_frozen(config, manifest, workdir, knowledge=knowledge)
    trained = session.run_precision(workdir)
    strategy = runtime.start(config.training, worker, trained=trained)
    _check_processes(config, manifest, worker, strategy.num_replicas_in_sync)
    with strategy.scope():
        scenes = scene_numbers(manifest.pairs_of("training"))
        trainer = build_trainer(config, knowledge, scenes)
        if worker.is_chief:
            progress = session.start_or_resume(trainer, workdir)
        else:
            trainer.optimizer.build(trainer.model.trainable_variables)
            progress = Progress()
    progress = worker.share_state(trainer, progress)
    if config.model.normalize_embeddings and not progress.epochs:
        adapt_normalization(trainer.model, config, manifest, workdir)
    if worker.count > 1:
        worker.after_chief(lambda: fill_cache(config, manifest))
    training, validation = make_datasets(
        config,
        manifest,
        knowledge,
        first_epoch=progress.epochs,
        share=(worker.index, worker.count),
        replicas=strategy.num_replicas_in_sync,
    )
    with pair_files(config, used_pairs(config, manifest)).errors():
        with strategy.scope():
            # The warning is given once in a run.
            warn = not progress.epochs
            measured = term_shares(trainer, config, manifest, knowledge, warn=warn)
        of_chief = [measured, *score_test_epochs(config, manifest)]
        return session.fit(
            trainer,
            training,
            validation,
            config.training,
            workdir,
            progress=progress,
            monitor="val_f_score",
            diagnostics=of_chief,
            worker=worker,
        )


def _check_one_process(config: Config) -> None:
    """Raises ValueError for heads on stored embeddings in a cluster."""
    if config.training.strategy == "multi_worker":
        raise ValueError(
            "strategy must be 'auto', 'one' or 'mirrored' with frozen towers, whose "
            "heads are trained on stored embeddings or activations; received "
            "'multi_worker'. Choose one of these, or set `cached_views=0`."
        )


def _check_processes(
    config: Config, manifest: Manifest, worker: Worker, replicas: int
) -> None:
    """Raises ValueError for settings that need one process, or one replica in each."""
    training = config.training
    if config.data.tf_data_service and replicas > worker.count:
        raise ValueError(
            "tf_data_service needs one device for each process; received "
            f"`strategy={training.strategy}` with {replicas} devices. Use "
            "`strategy=one` or `strategy=multi_worker`."
        )
    rest = len(manifest.pairs_of("training")) % training.batch_size
    if training.keep_last_batch and 0 < rest < replicas:
        raise ValueError(
            "keep_last_batch needs a pair for each replica in the last batch, which "
            f"has {rest} for {replicas}. Set it to False, use another `batch_size`, or "
            "use `strategy=one`."
        )
    if worker.count == 1:
        return
    if training.keep_last_batch and rest:
        raise ValueError(
            "keep_last_batch needs whole batches in a cluster, whose processes have "
            f"equal shares; the last one has {rest} pairs. Set it to False, or use "
            "`strategy=one`."
        )
    if config.model.normalize_embeddings:
        raise ValueError(
            "normalize_embeddings must be False in a cluster. Use `strategy=one`."
        )
