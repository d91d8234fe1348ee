"""Trains any trainer in a work directory, from its start or from its last epoch."""

import pathlib
import sys
from collections.abc import Sequence

import keras
import tensorflow as tf

from advance_tf.config import TrainingConfig
from advance_tf.training import callbacks
from advance_tf.training.checkpoint import Progress, read_progress, restore_state
from advance_tf.training.plateau import PlateauDrops
from advance_tf.training.trainer import Trainer


def start_or_resume(trainer: Trainer, workdir: pathlib.Path) -> Progress:
    """Builds the optimizer and restores the last finished epoch, if there is one.

    Args:
        trainer: a compiled trainer.
        workdir: folder of the run.

    Returns:
        The progress so far, zero epochs for a new run.

    Raises:
        ValueError: the checkpoint is broken or of another model.
    """
    trainer.optimizer.build(trainer.model.trainable_variables)
    checkpoint = workdir / callbacks.CHECKPOINT
    if not checkpoint.exists():
        return Progress()
    return restore_state(checkpoint, trainer)


def is_over(progress: Progress, config: TrainingConfig) -> bool:
    """Whether a run has had all its epochs, or has lost its patience.

    Args:
        progress: of the run.
        config: epochs and patience are read.

    Returns:
        True when `fit` would train no further.
    """
    return progress.epochs >= config.epochs or callbacks.out_of_patience(
        progress, config.patience
    )


def progress_of(workdir: pathlib.Path) -> Progress:
    """How far the run in a folder has come; zero epochs where there is none."""
    return read_progress(workdir / callbacks.CHECKPOINT)


def fit(
    trainer: Trainer,
    training: tf.data.Dataset,
    validation: tf.data.Dataset,
    config: TrainingConfig,
    workdir: pathlib.Path,
    *,
    progress: Progress,
    monitor: str,
    before_record: Sequence[keras.callbacks.Callback] = (),
    plateau_patience: int = 0,
) -> Progress:
    """Runs the epochs that are left and keeps the best weights.

    Writes best.weights.h5, log.csv, checkpoint.npz and TensorBoard scalars.

    Args:
        trainer: a compiled trainer in the state that `progress` tells of.
        training: batches of (inputs, targets); its first pass must be that of
            epoch `progress.epochs`.
        validation: batches of the same form.
        config: epochs, patience and the learning rate are read.
        workdir: folder of the run.
        progress: as `start_or_resume` returned it.
        monitor: name of the validation score to maximize.
        before_record: callbacks that add to the logs of an epoch.
        plateau_patience: when above 0, the rate drops after so many epochs
            without a better score, and not at `drop_epochs`.

    Returns:
        The progress at the end.
    """
    record = callbacks.RunRecord(workdir, monitor, config.patience, progress)
    if is_over(progress, config):
        return progress
    rates: keras.callbacks.Callback = callbacks.LearningRateDrops(config)
    if plateau_patience:
        rates = PlateauDrops(config, record, plateau_patience)
    trainer.fit(
        training,
        validation_data=validation,
        initial_epoch=progress.epochs,
        epochs=config.epochs,
        callbacks=[
            rates,
            *before_record,
            keras.callbacks.TensorBoard(workdir / "tensorboard", write_graph=False),
            record,
        ],
        # The dataset shuffles by itself; Keras would warn that it cannot.
        shuffle=False,
        verbose=1 if sys.stderr.isatty() else 2,
    )
    return record.progress
