"""What happens between two epochs: rate, best weights, log, checkpoint, stop."""

import csv
import math
import pathlib
import time

import keras

from advance_tf.config import TrainingConfig
from advance_tf.files import replacing
from advance_tf.training.checkpoint import Progress, save_state
from advance_tf.training.optimizer import learning_rate_at

BEST_WEIGHTS = "best.weights.h5"
CHECKPOINT = "checkpoint.npz"
LOG = "log.csv"


class LearningRateDrops(keras.callbacks.Callback):
    """Sets the learning rate of each epoch from the configuration.

    Args:
        config: see `optimizer.learning_rate_at`.
    """

    def __init__(self, config: TrainingConfig):
        super().__init__()
        self.config = config

    def on_epoch_begin(self, epoch, logs=None):
        """Makes the rate a function of the epoch alone, so that resume is exact."""
        self.model.optimizer.learning_rate = learning_rate_at(self.config, epoch)


class RunRecord(keras.callbacks.Callback):
    """Keeps best weights, log and checkpoint in step with each other.

    One callback, because their order matters: the checkpoint is written last,
    so that a run killed anywhere resumes from files that agree.

    Args:
        workdir: folder of the run.
        monitor: name of the validation score to maximize.
        patience: epochs without a better score before the run stops; 0 means
            never.
        progress: of an earlier part of the run.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        monitor: str,
        patience: int = 0,
        progress: Progress | None = None,
    ):
        super().__init__()
        self.workdir = workdir
        self.monitor = monitor
        self.patience = patience
        self.progress = progress or Progress()
        self.rows = _read_log(workdir / LOG, self.progress.epochs)
        self.started = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's clock."""
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Records the epoch.

        Raises:
            ValueError: the loss or the monitored score is not finite, or the
                score is not among the logs.
        """
        self._check(epoch, logs)
        score = float(logs[self.monitor])
        best_epoch, best_score = self.progress.best_epoch, self.progress.best_score
        if score > best_score:
            best_epoch, best_score = epoch + 1, score
            with replacing(self.workdir / BEST_WEIGHTS) as temporary:
                self.model.model.save_weights(temporary)
        self.progress = Progress(epoch + 1, best_epoch, best_score)
        self._write_log(epoch, logs)
        save_state(self.workdir / CHECKPOINT, self.model, self.progress)
        if out_of_patience(self.progress, self.patience):
            self.model.stop_training = True

    def _check(self, epoch, logs):
        if self.monitor not in logs:
            raise ValueError(
                f"The score '{self.monitor}' decides the best weights and must be "
                f"logged; received {', '.join(logs)}. Give validation pairs."
            )
        for name in ("loss", self.monitor):
            if not math.isfinite(logs[name]):
                raise ValueError(
                    f"'{name}' must stay finite; received {logs[name]} in epoch "
                    f"{epoch + 1}. The epoch before is kept in {CHECKPOINT}. Lower "
                    "--learning_rate or use --precision=float32."
                )

    def _write_log(self, epoch, logs):
        row = {
            "epoch": epoch + 1,
            "seconds": round(time.monotonic() - self.started, 3),
            "learning_rate": float(self.model.optimizer.learning_rate),
            **{name: float(value) for name, value in logs.items()},
        }
        self.rows.append({name: str(value) for name, value in row.items()})
        with replacing(self.workdir / LOG) as temporary:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)


def out_of_patience(progress: Progress, patience: int) -> bool:
    """Whether a run has gone `patience` epochs without a better score."""
    return bool(patience) and progress.epochs - progress.best_epoch >= patience


def _read_log(path: pathlib.Path, epochs: int) -> list[dict[str, str]]:
    """The first `epochs` rows; later ones belong to an epoch that was killed."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))[:epochs]
