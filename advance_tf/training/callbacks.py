"""Callbacks of training: learning rate, validation scores, log and checkpoint."""

import csv
import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from advance_tf.checksums import replacing_checked, verify
from advance_tf.config import TrainingConfig
from advance_tf.csv_tables import read_table
from advance_tf.files import reading, reserve
from advance_tf.models.heads import (
    InferenceFunction,
    inference_function,
    with_mask,
)
from advance_tf.models.weights import load_keras_weights
from advance_tf.training.checkpoint import Progress, save_state
from advance_tf.training.optimizer import learning_rate_at

BEST_WEIGHTS = "best.weights.h5"
CHECKPOINT = "checkpoint.npz"
LOG = "log.csv"
# Structure that HDF5 adds for a variable.
_HDF5_BYTES = 4096

Logs = dict[str, float]
ModelToSave = Callable[[keras.Model], keras.Model]
Scorer = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]


def trained_model(trainer: keras.Model) -> keras.Model:
    """Returns the model of a trainer."""
    model: keras.Model = trainer.model
    return model


class LearningRateSchedule(keras.callbacks.Callback):
    """Sets the learning rate of each epoch from the configuration.

    Args:
        config: see `optimizer.learning_rate_at`.
    """

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.config = config

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Sets the rate, a function of the epoch alone, so that resuming is exact."""
        self.model.optimizer.learning_rate = learning_rate_at(self.config, epoch)


class RunRecord(keras.callbacks.Callback):
    """Writes best weights, log and checkpoint after each epoch.

    It is one callback because the order matters: the checkpoint is written last,
    so that a run that is killed at any time resumes from files that agree.

    Args:
        workdir: folder of the run.
        monitor: name of the validation score to maximize.
        patience: epochs without a better score before the run stops; 0 means
            never.
        progress: progress of the epochs that are trained already.
        saved_model: function of the trainer that returns the model whose weights are
            the best; by default the trained model.
        writes: False in a process of a cluster that is not its chief: it counts the
            same epochs and writes nothing.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        monitor: str,
        patience: int = 0,
        progress: Progress | None = None,
        saved_model: ModelToSave = trained_model,
        *,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self.workdir = workdir
        self.monitor = monitor
        self.patience = patience
        self.saved_model = saved_model
        self.writes = writes
        self.progress = progress or Progress()
        self.rows = _read_log(workdir / LOG, self.progress.epochs) if writes else []
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Stores the time at which the epoch starts."""
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes the files of the epoch.

        Args:
            epoch: counted from 0.
            logs: losses and scores of the epoch.

        Raises:
            ValueError: the loss or the monitored score is not finite, or the
                score is not in the logs.
        """
        logs = logs or {}
        check_logs(
            logs,
            self.monitor,
            epoch,
            kept=f"{CHECKPOINT} holds the epoch before it. " if epoch else "",
            # The settings of a run with an epoch do not change.
            where=" in another `workdir`" if epoch else "",
        )
        if self.writes and not self.workdir.is_dir():
            raise ValueError(
                f"The folder of the run must stay while it is trained; {self.workdir} "
                "has been removed. Start the run again."
            )
        score = float(logs[self.monitor])
        best_epoch, best_score = self.progress.best_epoch, self.progress.best_score
        if score > best_score:
            best_epoch, best_score = epoch + 1, score
            if self.writes:
                save_best_weights(self.workdir, self.saved_model(self.model))
        self.progress = Progress(epoch + 1, best_epoch, best_score)
        if self.writes:
            self._write_log(epoch, logs)
            save_state(self.workdir / CHECKPOINT, self.model, self.progress)
        if out_of_patience(self.progress, self.patience):
            self.model.stop_training = True

    def _write_log(self, epoch: int, logs: Logs) -> None:
        row: dict[str, float] = {
            "epoch": epoch + 1,
            "seconds": round(time.monotonic() - self.started, 3),
            "learning_rate": float(
                keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
            ),
            **{name: float(value) for name, value in logs.items()},
        }
        self.rows.append({name: str(value) for name, value in row.items()})
        # The epochs of an earlier version may have other columns.
        columns = dict.fromkeys([*row, *(name for each in self.rows for name in each)])
        with replacing_checked(self.workdir / LOG) as temporary:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(columns), lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)


def save_best_weights(workdir: pathlib.Path, model: keras.Model) -> None:
    """Writes the best weights of a run.

    Args:
        workdir: folder of the run.
        model: the model, without its trainer.

    Raises:
        OSError: the disk is full; the previous file is kept.
    """
    with replacing_checked(workdir / BEST_WEIGHTS) as temporary:
        reserve(temporary, _weight_bytes(model))
        model.save_weights(temporary)


def load_best_weights(workdir: pathlib.Path, model: keras.Model) -> None:
    """Loads the best weights of a run.

    Args:
        workdir: folder of the run.
        model: a model of the same layers.

    Raises:
        ValueError: the file is missing, damaged or of another model.
    """
    path = workdir / BEST_WEIGHTS
    if not path.exists():
        raise ValueError(
            f"{path} must exist; it has been removed. Restore it, or train again in "
            "another `workdir`."
        )
    verify(path)
    way_out = "Restore it or train again in another `workdir`."
    with reading(path, "hold the weights of the run's model", way_out):
        try:
            load_keras_weights(model, path)
        except OSError as error:
            raise ValueError(str(error)) from error


def _weight_bytes(model: keras.Model) -> int:
    """An upper bound of the size of a file of weights."""
    # HDF5 adds a few kilobytes of structure to each variable.
    return sum(
        np.dtype(keras.backend.standardize_dtype(variable.dtype)).itemsize
        * math.prod(variable.shape)
        + _HDF5_BYTES
        for variable in model.variables
    )


def check_logs(
    logs: Logs, monitor: str, epoch: int, *, kept: str = "", where: str = ""
) -> None:
    """Checks the losses and scores of an epoch.

    Args:
        logs: losses and scores of the epoch.
        monitor: name of the validation score that selects the best weights.
        epoch: counted from 0.
        kept: what is left of the epochs before, for the error.
        where: where to train with other settings, for the error.

    Raises:
        ValueError: the loss or the monitored score is not finite, or the score is
            not in the logs.
    """
    if monitor not in logs:
        raise ValueError(
            f"The score '{monitor}' selects the best weights and must be "
            f"logged; received {', '.join(logs)}. Add validation pairs."
        )
    for name in ("loss", monitor):
        if not math.isfinite(logs[name]):
            raise ValueError(
                f"'{name}' must stay finite; received {logs[name]} in epoch "
                f"{epoch + 1}. {kept}Lower `learning_rate` or use "
                f"`precision='float32'`{where}."
            )


def out_of_patience(progress: Progress, patience: int) -> bool:
    """Whether the last `patience` epochs brought no better score.

    Args:
        progress: progress of the run.
        patience: number of epochs; 0 means never.

    Returns:
        True when training must stop.

    >>> out_of_patience(Progress(epochs=7, best_epoch=5), patience=2)
    True
    """
    return bool(patience) and progress.epochs - progress.best_epoch >= patience


def _read_log(path: pathlib.Path, epochs: int) -> list[dict[str, str]]:
    """The first `epochs` rows; later rows belong to an epoch that was killed."""
    if not path.exists():
        return []
    verify(path)
    return [dict(row.values) for row in read_table(path).rows[:epochs]]


def plateau_drops(scores: Sequence[float], patience: int) -> int:
    """Counts the drops of the learning rate that a history of scores calls for.

    A drop is due after `patience` epochs without a new best score; the count of
    epochs then starts again.

    Args:
        scores: validation score of each finished epoch, higher is better.
        patience: number of epochs, at least 1.

    Returns:
        The number of drops so far.

    >>> plateau_drops([0.3, 0.2, 0.3, 0.1, 0.1], patience=2)
    2
    """
    best, waited, drops = float("-inf"), 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited >= patience:
            drops, waited = drops + 1, 0
    return drops


class PlateauDrops(keras.callbacks.Callback):
    """Lowers the learning rate when the recorded score stops improving.

    The rate is a function of the record alone, so that a resumed run continues
    with the same rate.

    Args:
        config: learning_rate and drop_factor are used.
        record: the run's record, with the score of every finished epoch.
        patience: epochs without a better score before a drop.
    """

    def __init__(
        self, config: TrainingConfig, record: RunRecord, patience: int
    ) -> None:
        super().__init__()
        self.config = config
        self.record = record
        self.patience = patience

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Sets the rate before the first step of the epoch."""
        scores = [float(row[self.record.monitor]) for row in self.record.rows]
        drops = plateau_drops(scores, self.patience)
        rate = self.config.learning_rate * self.config.drop_factor**drops
        self.model.optimizer.learning_rate = rate


def collect(
    model: keras.Model,
    dataset: tf.data.Dataset,
    target: str,
    output: str,
    run: InferenceFunction | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Collects one target and one output over a whole dataset.

    Args:
        model: model with named inputs and outputs.
        dataset: batches of (inputs, targets).
        target: name of the target.
        output: name of the output.
        run: `inference_function` of the model, to trace it once for several calls.

    Returns:
        Targets [n, ...] and outputs [n, ...] in the order of the dataset.
    """
    run = run or inference_function(model)
    all_targets, all_outputs = [], []
    for inputs, targets in dataset:
        all_outputs.append(run(with_mask(model, inputs))[output].numpy())
        all_targets.append(targets[target].numpy())
    return np.concatenate(all_targets), np.concatenate(all_outputs)


class ValidationScores(keras.callbacks.Callback):
    """Adds scores of a whole set, such as validation, to the logs of each epoch.

    It must precede the callback that records the epoch.

    Args:
        dataset: batches of (inputs, targets), such as those of validation.
        target: name of the target.
        output: name of the output.
        scorer: function of targets and outputs that returns score name → value;
            the names get a prefix.
        prefix: "val", or "test" for the test set.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        target: str,
        output: str,
        scorer: Scorer,
        prefix: str = "val",
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.target = target
        self.output = output
        self.scorer = scorer
        self.prefix = prefix
        self._run: InferenceFunction | None = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds the scores of the epoch to `logs`."""
        if logs is None:
            return
        model = self.model.model
        self._run = self._run or inference_function(model)
        arrays = collect(model, self.dataset, self.target, self.output, self._run)
        scores = self.scorer(*arrays)
        logs.update({f"{self.prefix}_{name}": value for name, value in scores.items()})
