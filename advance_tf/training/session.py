"""Trains a `Trainer` in a work directory, from the start or from the last epoch."""

import importlib.util
import pathlib
import sys
from collections.abc import Sequence

import keras
import tensorflow as tf

from advance_tf.config import TrainingConfig
from advance_tf.training import callbacks
from advance_tf.training.checkpoint import (
    Progress,
    read_precision,
    read_progress,
    restore_state,
)
from advance_tf.training.cluster import Worker
from advance_tf.training.epochs import Batches, train_epochs
from advance_tf.training.optimizer import build_optimizer
from advance_tf.training.trainer import Trainer


def compile_trainer(trainer: Trainer, config: TrainingConfig) -> None:
    """Compiles a trainer with the optimizer of a configuration.

    The optimizer scales the loss if the global dtype policy is mixed_float16.

    Args:
        trainer: built under that policy, in the scope of the strategy.
        config: learning_rate, weight_decay and weight_decay_mode are used.
    """
    mixed_float16 = keras.config.dtype_policy().name == "mixed_float16"
    trainer.compile(optimizer=build_optimizer(config, mixed_float16), jit_compile=False)


def start_or_resume(
    trainer: Trainer,
    workdir: pathlib.Path,
    saved_model: callbacks.ModelToSave = callbacks.trained_model,
) -> Progress:
    """Builds the optimizer and restores the checkpoint of a run, if it has one.

    Args:
        trainer: a compiled trainer.
        workdir: folder of the run.
        saved_model: as for `callbacks.RunRecord`.

    Returns:
        The progress of the run; zero epochs for a new one. Best weights that were
        removed are written again if the last epoch is the best.

    Raises:
        ValueError: the checkpoint is damaged or belongs to another model, or the
            best weights were removed and belong to an earlier epoch.
    """
    trainer.optimizer.build(trainer.model.trainable_variables)
    checkpoint = workdir / callbacks.CHECKPOINT
    if not checkpoint.exists():
        return Progress()
    progress = restore_state(checkpoint, trainer)
    if progress.best_epoch and not has_best_weights(workdir, progress):
        callbacks.save_best_weights(workdir, saved_model(trainer))
    return progress


def has_best_weights(workdir: pathlib.Path, progress: Progress) -> bool:
    """Whether a run that has trained an epoch still has its best weights.

    Args:
        workdir: folder of the run.
        progress: its progress.

    Returns:
        False if they were removed and are those of the checkpoint.

    Raises:
        ValueError: they were removed and belong to an earlier epoch.
    """
    best, checkpoint = (
        workdir / name for name in (callbacks.BEST_WEIGHTS, callbacks.CHECKPOINT)
    )
    if best.exists():
        return True
    if progress.best_epoch < progress.epochs:
        raise ValueError(
            f"{best} must exist; it has been removed, and {checkpoint} holds later "
            f"weights than those of the best epoch, {progress.best_epoch}. Restore "
            f"it, or remove {checkpoint} to train the run again."
        )
    return False


def is_finished(progress: Progress, config: TrainingConfig) -> bool:
    """Whether a run has trained all its epochs or has been stopped early.

    Args:
        progress: progress of the run.
        config: epochs and patience are used.

    Returns:
        True when `fit` trains no further epoch.

    >>> is_finished(Progress(epochs=3), TrainingConfig(epochs=5))
    False
    >>> is_finished(Progress(epochs=5), TrainingConfig(epochs=5))
    True
    """
    return progress.epochs >= config.epochs or callbacks.out_of_patience(
        progress, config.patience
    )


def run_progress(workdir: pathlib.Path) -> Progress:
    """Reads the progress of the run in a folder.

    Args:
        workdir: folder of the run.

    Returns:
        The progress at the last checkpoint; zero epochs without a checkpoint.

    Raises:
        ValueError: the checkpoint is damaged.
    """
    return read_progress(workdir / callbacks.CHECKPOINT)


def run_precision(workdir: pathlib.Path) -> str:
    """Reads the dtype policy that the run in a folder was trained with.

    Args:
        workdir: folder of the run.

    Returns:
        The policy at the last checkpoint; "" without one, or if it is not known.

    Raises:
        ValueError: the checkpoint is damaged.
    """
    return read_precision(workdir / callbacks.CHECKPOINT)


def has_trained(workdir: pathlib.Path) -> bool:
    """Whether the settings of the run in a folder can no longer change.

    Before the first epoch no weights depend on them.

    Args:
        workdir: folder of the run.

    Returns:
        True where there are weights, trained or converted, or a checkpoint.

    Raises:
        ValueError: the checkpoint is damaged.
    """
    best = workdir / callbacks.BEST_WEIGHTS
    return best.exists() or run_progress(workdir).epochs > 0


def tensorboard_callbacks(workdir: pathlib.Path) -> list[keras.callbacks.Callback]:
    """The callback that writes TensorBoard scalars, where TensorBoard is installed.

    TensorFlow does not install the package `tensorboard`; the extra `report` of
    advance_tf does. The scalars repeat the contents of log.csv.

    Args:
        workdir: folder of the run; the event files are in its tensorboard/.

    Returns:
        One callback, or none without the package.
    """
    if importlib.util.find_spec("tensorboard") is None:
        return []
    folder = workdir / "tensorboard"
    return [keras.callbacks.TensorBoard(folder, write_graph=False)]


def verbosity() -> int:
    """How Keras shows an epoch: 1, a progress bar, on a terminal, else 2, a line."""
    return 1 if sys.stderr.isatty() else 2


def fit(
    trainer: Trainer,
    training: Batches,
    validation: Batches,
    config: TrainingConfig,
    workdir: pathlib.Path,
    *,
    progress: Progress,
    monitor: str,
    before_record: Sequence[keras.callbacks.Callback] = (),
    diagnostics: Sequence[keras.callbacks.Callback] = (),
    plateau_patience: int = 0,
    worker: Worker | None = None,
    saved_model: callbacks.ModelToSave = callbacks.trained_model,
) -> Progress:
    """Trains the remaining epochs and keeps the best weights.

    Writes best.weights.h5, log.csv, checkpoint.npz and, where TensorBoard is
    installed, tensorboard/.

    Args:
        trainer: a compiled trainer in the state that `progress` describes.
        training: batches of (inputs, targets); the first pass must be that of
            epoch `progress.epochs`.
        validation: batches of the same form.
        config: epochs, patience and the learning rate are used.
        workdir: folder of the run.
        progress: as returned by `start_or_resume`.
        monitor: name of the validation score to maximize.
        before_record: callbacks that add to the logs of an epoch.
        diagnostics: callbacks that add to the logs what the terminal does not show.
        plateau_patience: above 0, the learning rate drops after this many
            epochs without a better score instead of at `drop_epochs`.
        worker: this process of a cluster; the chief writes and runs `before_record`
            and `diagnostics`.
        saved_model: as for `callbacks.RunRecord`.

    Returns:
        The progress after the last epoch.

    Raises:
        ValueError: the loss or the monitored score is not finite.
    """
    writes = worker is None or worker.is_chief
    record = callbacks.RunRecord(
        workdir,
        monitor,
        config.patience,
        progress,
        saved_model=saved_model,
        writes=writes,
    )
    if is_finished(progress, config):
        return progress
    rates: keras.callbacks.Callback = callbacks.LearningRateSchedule(config)
    if plateau_patience:
        rates = callbacks.PlateauDrops(config, record, plateau_patience)
    if not writes:
        handlers = [rates, record]
    else:
        handlers = [
            rates,
            *before_record,
            keras.callbacks.ProgbarLogger(),
            *diagnostics,
            *tensorboard_callbacks(workdir),
            # The record is last: it writes what the others add to the logs.
            record,
        ]
    in_cluster = worker is not None and worker.count > 1
    if in_cluster or not isinstance(training, tf.data.Dataset):
        train_epochs(
            trainer,
            training,
            validation,
            handlers,
            first_epoch=progress.epochs,
            epochs=config.epochs,
            verbose=verbosity(),
        )
        return record.progress
    trainer.fit(
        training,
        validation_data=validation,
        initial_epoch=progress.epochs,
        epochs=config.epochs,
        callbacks=handlers,
        # The dataset shuffles itself; with True, Keras warns that it cannot.
        shuffle=False,
        verbose=verbosity(),
    )
    return record.progress
