"""Trains a recognizer whose towers are frozen: its heads, on stored embeddings."""

import dataclasses
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from advance_tf.config import WHOLE_TOWER, Config
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.data.splits import spread_over_scenes
from advance_tf.metrics.scores import scene_scores
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.heads import copy_heads
from advance_tf.models.recognizer import build_recognizer
from advance_tf.models.weights import load_pretrained
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training import callbacks, runtime, session
from advance_tf.training.checkpoint import Progress
from advance_tf.training.embeddings import FOLDER, Embeddings, compute_embeddings
from advance_tf.training.heads import MONITOR, HeadTrainer
from advance_tf.training.term_shares import SHARE_PAIRS, TermShares


def trains_heads_only(config: Config) -> bool:
    """Whether a run trains its heads on stored embeddings.

    Args:
        config: model and training.cached_views are used.

    Returns:
        True when `cached_views` is at least 1 and every tower in use is frozen.

    >>> trains_heads_only(Config())
    False
    """
    model = config.model
    frozen = {"image": model.image_frozen_stages, "sound": model.audio_frozen_stages}
    used = [kind for kind in frozen if model.modality in ("both", kind)]
    return config.training.cached_views > 0 and all(
        frozen[kind] == WHOLE_TOWER for kind in used
    )


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


def frozen_recognizer(config: Config) -> keras.Model:
    """Builds the recognizer of a run with the initial weights of its towers.

    Sets the seed and the precision of this process: float32, in which the recognizer
    is evaluated.

    Args:
        config: model, features, transfer and training.seed are used.

    Returns:
        The recognizer.

    Raises:
        ValueError: a file of weights does not fit.
    """
    runtime.start(
        dataclasses.replace(config.training, precision="float32", strategy="one")
    )
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    load_pretrained(recognizer, config.model)
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
        rows=np.flatnonzero(np.array(manifest.splits) == "training").tolist(),
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
    """Trains the heads of a run, or resumes their training.

    best.weights.h5 holds the complete recognizer; checkpoint.npz holds the heads and
    the state of their optimizer.

    Args:
        config: configuration of the run, see `trains_heads_only`.
        manifest: pairs and splits.
        workdir: folder of the run.
        knowledge: event knowledge of the teacher; None only for transfer "none".

    Returns:
        The progress after the last epoch.

    Raises:
        ValueError: a split is too small, a file cannot be read, or the loss is not
            finite.
    """
    progress = session.run_progress(workdir)
    if session.is_finished(progress, config.training):
        return progress
    recognizer = frozen_recognizer(config)
    if progress.epochs:
        # The towers of the run, whatever has become of their weights files since.
        callbacks.load_best_weights(workdir, recognizer)
    splits = np.array(manifest.splits)
    used = ("training", "validation", *["test"] * config.training.test_epochs)
    rows = np.flatnonzero(np.isin(splits, used))
    is_training = splits[rows] == "training"
    embeddings = compute_embeddings(
        recognizer,
        config,
        manifest.pairs,
        embedding_folder(config, workdir),
        rows=rows.tolist(),
        augmented=rows[is_training].tolist(),
    )
    heads = HeadTrainer(
        config,
        embeddings,
        np.flatnonzero(is_training),
        np.flatnonzero(splits[rows] == "validation"),
        knowledge=knowledge,
    )

    def complete(trainer: keras.Model) -> keras.Model:
        copy_heads(trainer.model, recognizer)
        return recognizer

    progress = session.start_or_resume(heads.trainer, workdir, complete)
    record = callbacks.RunRecord(
        workdir, MONITOR, config.training.patience, progress, saved_model=complete
    )
    row_of = {key: row for row, key in enumerate(embeddings.keys)}
    measured = spread_over_scenes(manifest.of("training"), SHARE_PAIRS)
    shares = TermShares(
        heads.trainer.model,
        heads.trainer.objective,
        heads.batch([row_of[pair.scene, pair.stem] for pair in measured]),
        config.transfer,
        towers=(),
        warn=not progress.epochs,
    )
    heads.fit(
        [
            callbacks.LearningRateDrops(config.training),
            # The terminal does not show what the shares add.
            keras.callbacks.ProgbarLogger(),
            shares,
            *_score_test(embeddings, np.flatnonzero(splits[rows] == "test")),
            *session.tensorboard_callbacks(workdir),
            record,
        ],
        progress,
        verbose=session.verbosity(),
    )
    return record.progress


def _score_test(
    embeddings: Embeddings, rows: np.ndarray
) -> list[callbacks.ValidationScores]:
    """The callback that scores test pairs after each epoch; none without pairs."""
    if not len(rows):
        return []
    batch = (embeddings.rows(rows), {"scene": embeddings.scenes[rows]})
    dataset = tf.data.Dataset.from_tensors(batch)
    return [
        callbacks.ValidationScores(
            dataset, "scene", "scene_logits", scene_scores, "test"
        )
    ]
