"""Validation scores that need all predictions at once."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

Scorer = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]


def collect(
    model: keras.Model, dataset: tf.data.Dataset, target: str, output: str
) -> tuple[np.ndarray, np.ndarray]:
    """One target and one output over a whole dataset.

    Args:
        model: with named inputs and outputs.
        dataset: batches of (inputs, targets).
        target: name of the target.
        output: name of the output.

    Returns:
        Targets [n, ...] and outputs [n, ...] in the order of the dataset.
    """
    targets, outputs = [], []
    for inputs, wanted in dataset:
        outputs.append(model.predict_on_batch(inputs)[output])
        targets.append(wanted[target].numpy())
    return np.concatenate(targets), np.concatenate(outputs)


class ValidationScores(keras.callbacks.Callback):
    """Adds scores of the whole validation set to the logs of each epoch.

    Must stand before the callback that records the epoch.

    Args:
        dataset: validation batches of (inputs, targets).
        target: name of the target.
        output: name of the output.
        scorer: takes targets and outputs, returns score name → value; the
            names get the prefix `val_`.
    """

    def __init__(
        self, dataset: tf.data.Dataset, target: str, output: str, scorer: Scorer
    ):
        super().__init__()
        self.dataset = dataset
        self.target = target
        self.output = output
        self.scorer = scorer

    def on_epoch_end(self, epoch, logs=None):
        """Scores the epoch."""
        arrays = collect(self.model.model, self.dataset, self.target, self.output)
        scores = self.scorer(*arrays)
        logs.update({f"val_{name}": value for name, value in scores.items()})
