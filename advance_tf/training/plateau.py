"""The learning rate on a plateau of the validation score."""

from collections.abc import Sequence

import keras

from advance_tf.config import TrainingConfig
from advance_tf.training.callbacks import RunRecord


def plateau_drops(scores: Sequence[float], patience: int) -> int:
    """How often a history of scores has stood still.

    A drop is due after `patience` epochs without a new best score; the count of
    epochs then begins again.

    Args:
        scores: validation score of each finished epoch, higher is better.
        patience: epochs ≥ 1.

    Returns:
        The number of drops so far.
    """
    best, waited, drops = float("-inf"), 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited >= patience:
            drops, waited = drops + 1, 0
    return drops


class PlateauDrops(keras.callbacks.Callback):
    """Sets each epoch's learning rate from the recorded scores.

    The rate is a function of the record alone, so that a resumed run goes on
    with the rate it had.

    Args:
        config: learning_rate and drop_factor are read.
        record: the run's record, with the score of every finished epoch.
        patience: epochs without a better score before a drop.
    """

    def __init__(self, config: TrainingConfig, record: RunRecord, patience: int):
        super().__init__()
        self.config = config
        self.record = record
        self.patience = patience

    def on_epoch_begin(self, epoch, logs=None):
        """Sets the rate before the first step."""
        scores = [float(row[self.record.monitor]) for row in self.record.rows]
        drops = plateau_drops(scores, self.patience)
        rate = self.config.learning_rate * self.config.drop_factor**drops
        self.model.optimizer.learning_rate = rate
