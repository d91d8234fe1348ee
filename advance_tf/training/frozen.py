"""Trains a recognizer whose towers are frozen, at least in part: what is not frozen.

The inputs are stored embeddings, or stored activations of partly frozen towers.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from advance_tf.config import Config
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair, rows_of
from advance_tf.data.splits import spread_over_scenes
from advance_tf.features.pipelines import without_autotuning
from advance_tf.metrics.scores import scene_scores
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.heads import copy_heads
from advance_tf.models.recognizer import build_recognizer, dtype_policy
from advance_tf.models.weights import load_pretrained
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training import callbacks, session
from advance_tf.training.activations import (
    Activations,
    compute_activations,
    trains_on_activations,
)
from advance_tf.training.checkpoint import Progress
from advance_tf.training.embeddings import (
    FOLDER,
    Embeddings,
    StoredPairs,
    compute_embeddings,
)
from advance_tf.training.heads import MONITOR, HeadTrainer
from advance_tf.training.partly_frozen import RestTrainer, trained_towers
from advance_tf.training.term_shares import SHARE_PAIRS, TermShares


def embedding_folder(config: Config, workdir: str | pathlib.Path) -> pathlib.Path:
    """The folder of stored embeddings of a run.

    Args:
        config: data.cache_dir is used.
        workdir: folder of the run.

    Returns:
        `embeddings` in the cache folder, which runs share; in the work directory
        without one.
    """
    return pathlib.Path(config.data.cache_dir or workdir) / FOLDER


@dtype_policy("float32")
def frozen_recognizer(config: Config) -> keras.Model:
    """Builds the recognizer of a run with the initial weights of its towers.

    It is built in float32, in which the recognizer is evaluated. Sets the seed of this
    process.

    Args:
        config: model, features, transfer and training.seed are used.

    Returns:
        The recognizer.

    Raises:
        ValueError: a file of weights does not fit.
    """
    keras.utils.set_random_seed(config.training.seed)
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    load_pretrained(recognizer, config.model, config.features)
    return recognizer


def load_embeddings(
    config: Config,
    pairs: Sequence[Pair],
    folder: str | pathlib.Path,
    *,
    progress: bool = True,
) -> Embeddings:
    """Computes or reads the embeddings of all pairs, for `train_heads`.

    Args:
        config: model, features, data.data_dir and training.cached_views are used.
        pairs: all pairs of the data set.
        folder: folder of stored embeddings; any number of runs may share it.
        progress: show a progress bar.

    Returns:
        A row for each pair; every pair has `cached_views` views, as any may be in
        training.

    Raises:
        ValueError: a file cannot be read or does not fit.
    """
    return compute_embeddings(
        frozen_recognizer(config),
        config,
        pairs,
        folder,
        augmented=range(len(pairs)) if config.training.cached_views > 1 else (),
        progress=progress,
    )


def adapt_normalization(
    recognizer: keras.Model, config: Config, manifest: Manifest, workdir: pathlib.Path
) -> None:
    """Sets the normalization of the embeddings of a recognizer.

    Args:
        recognizer: a model with the initial weights of its towers; changed in place.
        config: as for `compute_embeddings`.
        manifest: pairs and splits; the training pairs are used.
        workdir: folder of the run.
    """
    single = dataclasses.replace(config.training, cached_views=1)
    embeddings = compute_embeddings(
        recognizer,
        dataclasses.replace(config, training=single),
        manifest.pairs,
        embedding_folder(config, workdir),
        rows=manifest.positions("training"),
    )
    for tower in TOWERS:
        layer = recognizer.get_layer(f"{tower}_normalization")
        layer.adapt(embeddings.views(tower)[0])


def train_frozen(
    config: Config,
    manifest: Manifest,
    workdir: pathlib.Path,
    *,
    knowledge: EventKnowledge | None,
) -> Progress:
    """Trains what is not frozen of a run, or resumes its training.

    best.weights.h5 holds the complete recognizer; checkpoint.npz holds the heads, the
    trained parts of the towers, and the state of their optimizer.

    Args:
        config: configuration of the run, see `activations.trains_on_stored`.
        manifest: pairs and splits.
        workdir: folder of the run.
        knowledge: event knowledge of the teacher; None only for transfer "none".

    Returns:
        The progress after the last epoch.

    Raises:
        ValueError: a split is too small, a file cannot be read or was removed, or the
            loss is not finite.
    """
    progress = session.run_progress(workdir)
    finished = session.is_finished(progress, config.training)
    has_weights = progress.best_epoch and session.has_best_weights(workdir, progress)
    if finished and has_weights:
        return progress
    recognizer = frozen_recognizer(config)
    if has_weights:
        # The towers of the run, whatever has become of their weights files since.
        callbacks.load_best_weights(workdir, recognizer)
    splits = np.array(manifest.splits)
    used = ("training", "validation", *["test"] * config.training.test_epochs)
    rows = np.flatnonzero(np.isin(splits, used))
    is_training = splits[rows] == "training"
    stored = load_stored(
        recognizer,
        config,
        manifest.pairs,
        embedding_folder(config, workdir),
        rows=rows.tolist(),
        augmented=rows[is_training].tolist(),
    )
    heads = make_trainer(
        config,
        stored,
        np.flatnonzero(is_training),
        np.flatnonzero(splits[rows] == "validation"),
        recognizer,
        knowledge=knowledge,
    )

    def complete(trainer: keras.Model) -> keras.Model:
        copy_heads(trainer.model, recognizer)
        # Its towers share the trained parts.
        return recognizer

    progress = session.start_or_resume(heads.trainer, workdir, complete)
    if finished:
        # Its best weights have been written again.
        return progress
    record = callbacks.RunRecord(
        workdir, MONITOR, config.training.patience, progress, saved_model=complete
    )
    measured = spread_over_scenes(manifest.pairs_of("training"), SHARE_PAIRS)
    shares = TermShares(
        heads.trainer.model,
        heads.trainer.objective,
        heads.batch(rows_of(measured, stored.keys)),
        config.transfer,
        towers=[f"{tower}_tower" for tower in trained_towers(heads.trainer.model)],
        warn=not progress.epochs,
    )
    heads.fit(
        [
            callbacks.LearningRateSchedule(config.training),
            # The terminal does not show what the shares add.
            keras.callbacks.ProgbarLogger(),
            shares,
            *_score_test(
                stored,
                np.flatnonzero(splits[rows] == "test"),
                config.training.batch_size,
            ),
            *session.tensorboard_callbacks(workdir),
            record,
        ],
        progress,
        verbose=session.verbosity(),
    )
    return record.progress


def load_stored(
    recognizer: keras.Model,
    config: Config,
    pairs: Sequence[Pair],
    folder: str | pathlib.Path,
    *,
    rows: Sequence[int] | None = None,
    augmented: Collection[int] = (),
    progress: bool = True,
) -> Embeddings | Activations:
    """Computes or reads what a run is trained on.

    Args:
        recognizer: a model of `frozen_recognizer`.
        config: configuration of the run.
        pairs: all pairs of the data set.
        folder: folder of stored embeddings.
        rows: positions of the pairs; None for all.
        augmented: positions of the pairs with `cached_views` views.
        progress: show a progress bar.

    Returns:
        Embeddings where all towers in use are frozen, else activations.

    Raises:
        ValueError: a file cannot be read or does not fit.
    """
    settings: dict[str, Any] = {
        "rows": rows,
        "augmented": augmented,
        "progress": progress,
    }
    if trains_on_activations(config):
        return compute_activations(recognizer, config, pairs, folder, **settings)
    return compute_embeddings(recognizer, config, pairs, folder, **settings)


def make_trainer(
    config: Config,
    stored: Embeddings | Activations,
    training: np.ndarray,
    validation: np.ndarray,
    recognizer: keras.Model,
    *,
    knowledge: EventKnowledge | None,
) -> HeadTrainer:
    """Makes the trainer of a run.

    Args:
        config: configuration of the run.
        stored: of `load_stored`.
        training: int [n], rows of the training pairs.
        validation: int [m], rows of the validation pairs.
        recognizer: a model with the initial weights of the run.
        knowledge: event knowledge of the teacher; None only for transfer "none".

    Returns:
        The trainer; on activations it trains the towers of the recognizer in place.

    Raises:
        ValueError: a split is too small, or the knowledge lacks a pair.
    """
    if isinstance(stored, Activations):
        return RestTrainer(
            config, stored, training, validation, recognizer, knowledge=knowledge
        )
    return HeadTrainer(config, stored, training, validation, knowledge=knowledge)


def _score_test(
    stored: StoredPairs, rows: np.ndarray, batch_size: int
) -> list[callbacks.ValidationScores]:
    """The callback that scores test pairs after each epoch; none without pairs."""
    if not len(rows):
        return []

    def batches() -> Iterator[Any]:
        for start in range(0, len(rows), batch_size):
            own = rows[start : start + batch_size]
            yield stored.rows(own), {"scene": stored.scenes[own]}

    signature = (
        {t: tf.TensorSpec((None, *shape)) for t, shape in stored.shapes.items()},
        {"scene": tf.TensorSpec((None,), tf.int64)},
    )
    dataset = without_autotuning(
        tf.data.Dataset.from_generator(batches, output_signature=signature)
    )
    return [
        callbacks.ValidationScores(
            dataset, "scene", "scene_logits", scene_scores, "test"
        )
    ]
