"""The mean and deviation that the authors' code prints, against NumPy."""

import numpy as np
import pytest

from advance_tf.metrics.epochs import epochs_table, scores_over_epochs

RNG = np.random.default_rng(2)
LOG = {
    "epoch": np.arange(1, 12),
    "val_f_score": np.array([0.1, 0.3, 0.2, 0.5, 0.4, 0.5, 0.1, 0.2, 0.3, 0.2, 0.1]),
    **{f"test_{score}": RNG.uniform(size=11) for score in ("precision", "recall")},
    "test_f_score": RNG.uniform(size=11),
}


def test_the_best_epoch_and_the_five_after_it():
    found = scores_over_epochs(LOG)
    # The first of the two best, as `val_fscore > max_fscore` finds it.
    assert (found.best_epoch, found.epochs) == (4, 6)
    for score in ("precision", "recall", "f_score"):
        own = LOG[f"test_{score}"][3:9]
        assert found.mean[score] == pytest.approx(np.mean(own))
        assert found.deviation[score] == pytest.approx(np.std(own))


def test_a_run_that_ended_before_has_fewer_epochs():
    log = {name: values[:6] for name, values in LOG.items()}
    found = scores_over_epochs(log)
    assert (found.best_epoch, found.epochs) == (4, 3)
    assert scores_over_epochs(log, after=0).deviation["recall"] == 0


def test_a_log_without_test_scores_has_none():
    partial = {**LOG, "test_recall": np.r_[LOG["test_recall"][:-4], [np.nan] * 4]}
    assert scores_over_epochs(partial) is None
    del partial["test_recall"]
    assert scores_over_epochs(partial) is None
    assert scores_over_epochs({"val_f_score": []}) is None


def test_the_table_has_a_row_for_each_run():
    found = scores_over_epochs(LOG)
    text = epochs_table({"L_s": found})
    mean, deviation = 100 * found.mean["recall"], 100 * found.deviation["recall"]
    assert "| L_s | 4 to 9 |" in text
    assert f"{mean:.2f} ± {deviation:.2f}" in text
