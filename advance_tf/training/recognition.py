"""Trains the two-tower recognizer under any objective of the paper."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from advance_tf.config import Config
from advance_tf.data.cache import PairCache
from advance_tf.data.dataset import make_dataset
from advance_tf.data.layout import Pair
from advance_tf.data.manifest import Manifest
from advance_tf.data.media import media_errors
from advance_tf.losses.transfer import build_objective
from advance_tf.models.freezing import freeze
from advance_tf.models.recognizer import build_recognizer
from advance_tf.models.weights import load_pretrained
from advance_tf.training import runtime, session
from advance_tf.training.checkpoint import Progress
from advance_tf.training.optimizer import build_optimizer
from advance_tf.training.trainer import Score, Trainer


class Knowledge(Protocol):
    """What the objectives need to know from the teacher."""

    @property
    def posteriors(self) -> np.ndarray:
        """p(e|s_k), [13, 527]."""

    @property
    def event_mask(self) -> np.ndarray:
        """The events that the teacher knows, bool [527]."""

    def relevance(self, mode: str) -> np.ndarray:
        """The relevance vectors [13, 527] of a mode."""

    def targets_for(self, pairs: Sequence[Pair]) -> Mapping[str, np.ndarray]:
        """Soft labels and teacher logits [n, 527] of the pairs."""


def build_trainer(
    config: Config, knowledge: Knowledge | None, scores: Sequence[Score]
) -> Trainer:
    """The compiled trainer of a configuration; call it in the strategy's scope.

    Args:
        config: model, features, transfer and training are read.
        knowledge: of the teacher; None only for `transfer=none`.
        scores: metrics to report beside the losses.

    Returns:
        A trainer around a new recognizer.
    """
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    load_pretrained(recognizer, config.model)
    freeze(recognizer, config.model)
    known: dict[str, np.ndarray] = {}
    if knowledge is not None:
        known = {
            "posteriors": knowledge.posteriors,
            "relevance": knowledge.relevance(config.transfer.relevance),
            "event_mask": knowledge.event_mask,
        }
    trainer = Trainer(recognizer, build_objective(config.transfer, **known), scores)
    policy = keras.config.dtype_policy().name
    trainer.compile(
        optimizer=build_optimizer(config.training, policy == "mixed_float16"),
        jit_compile=False,
    )
    return trainer


def filled_cache(config: Config, manifest: Manifest) -> PairCache | None:
    """The cache of all that is trained and validated on, decoded if need be.

    Args:
        config: data and features are read.
        manifest: pairs and splits.

    Returns:
        The cache; None without --cache_dir.
    """
    if not config.data.cache_dir:
        return None
    cache = PairCache(config.data.cache_dir, config.features)
    cache.fill(
        manifest.of("training") + manifest.of("validation"), config.data.data_dir
    )
    return cache


def make_datasets(
    config: Config,
    manifest: Manifest,
    knowledge: Knowledge | None,
    *,
    first_epoch: int = 0,
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """The training and the validation batches of a run.

    Args:
        config: data, features and training are read.
        manifest: pairs and splits.
        knowledge: adds the teacher's targets to every pair, when given.
        first_epoch: the epoch of the first pass over the training batches.

    Returns:
        Training batches (augmented, reshuffled in every epoch) and validation
        batches (neither).

    Raises:
        ValueError: a split has no pair, or training less than a batch.
    """
    cache = filled_cache(config, manifest)
    made = []
    for split in ("training", "validation"):
        pairs = manifest.of(split)
        least = config.training.batch_size if split == "training" else 1
        if len(pairs) < least:
            raise ValueError(
                f"The {split} split must have at least {least} pairs; it has "
                f"{len(pairs)}. Lower --batch_size or add data."
            )
        made.append(
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
            )
        )
    return made[0], made[1]


def train_recognizer(
    config: Config,
    manifest: Manifest,
    workdir: pathlib.Path,
    *,
    knowledge: Knowledge | None,
    scores: Sequence[Score],
) -> Progress:
    """Trains, or goes on training, the recognizer of a work directory.

    Args:
        config: of the run.
        manifest: pairs and splits.
        workdir: folder of the run.
        knowledge: of the teacher; None only for `transfer=none`.
        scores: metrics of scene logits; one of them must report `f_score`.

    Returns:
        The progress at the end; the best weights lie in the work directory.
    """
    strategy = runtime.start(config.training)
    with strategy.scope():
        trainer = build_trainer(config, knowledge, scores)
        progress = session.start_or_resume(trainer, workdir)
    training, validation = make_datasets(
        config, manifest, knowledge, first_epoch=progress.epochs
    )
    read = manifest.of("training") + manifest.of("validation")
    with media_errors(read, config.data.data_dir, config.features):
        return session.fit(
            trainer,
            training,
            validation,
            config.training,
            workdir,
            progress=progress,
            monitor="val_f_score",
        )
