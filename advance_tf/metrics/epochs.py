"""The authors' deviation: over the best epoch of one run and those after it."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.metrics.comparison import SCORES, score_cell
from advance_tf.metrics.tables import markdown_table

# Epochs after the best one, the patience of the authors' code.
EPOCHS_AFTER = 5


@dataclasses.dataclass(frozen=True)
class ScoresOverEpochs:
    """Scores of a split over the best epoch of a run and those after it.

    Attributes:
        best_epoch: epoch of the best validation F, from 1.
        epochs: number of epochs, 6 unless the run ended before.
        mean: precision, recall, f_score → mean in [0, 1].
        deviation: the same → population standard deviation, as `numpy.std`.
    """

    best_epoch: int
    epochs: int
    mean: Mapping[str, float]
    deviation: Mapping[str, float]


def scores_over_epochs(
    log: Mapping[str, ArrayLike], after: int = EPOCHS_AFTER, split: str = "test"
) -> ScoresOverEpochs | None:
    """Computes the mean and the deviation that the authors' code prints.

        b = argmax_e F_val(e),  mean and deviation of s(b), …, s(b + after)

    Args:
        log: columns of log.csv by name: `val_f_score` and `<split>_precision`,
            `<split>_recall`, `<split>_f_score`, one value for each epoch.
        after: number of epochs after the best.
        split: "test", which needs `test_epochs`, or "val".

    Returns:
        The scores; None for a log without them.

    Source: the authors' training scripts, which score the test data after each epoch,
    print this at the fifth epoch without a better one and report it as ±. It measures
    how the scores vary from epoch to epoch, not from run to run.

    >>> log = {"val_f_score": [0.3, 0.5, 0.4], "test_f_score": [0.1, 0.4, 0.2]}
    >>> log |= {"test_precision": [0, 1, 1], "test_recall": [0, 1, 0]}
    >>> found = scores_over_epochs(log)
    >>> found.best_epoch, found.epochs, round(found.mean["f_score"], 3)
    (2, 2, 0.3)
    """
    columns = {score: f"{split}_{score}" for score in SCORES}
    if "val_f_score" not in log or not set(columns.values()) <= set(log):
        return None
    validation = np.asarray(log["val_f_score"], np.float64)
    best = int(np.argmax(validation))
    rows = {
        score: np.asarray(log[column], np.float64)[best : best + after + 1]
        for score, column in columns.items()
    }
    if not all(len(values) and np.isfinite(values).all() for values in rows.values()):
        return None
    return ScoresOverEpochs(
        best + 1,
        len(rows[SCORES[0]]),
        {score: float(values.mean()) for score, values in rows.items()},
        {score: float(values.std()) for score, values in rows.items()},
    )


def epochs_table(found: Mapping[str, ScoresOverEpochs]) -> str:
    """Formats the scores of runs as Markdown, in percent.

    Args:
        found: name of a run → its scores.

    Returns:
        A table with a row for each run.
    """
    rows = [
        [
            name,
            f"{scores.best_epoch} to {scores.best_epoch + scores.epochs - 1}",
            *(score_cell(scores.mean[s], scores.deviation[s]) for s in SCORES),
        ]
        for name, scores in found.items()
    ]
    return markdown_table(["method", "epochs", "P", "R", "F"], rows)
