"""Training with and without TensorBoard, and when a run is finished."""

import csv
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import TrainingConfig
from advance_tf.losses.objective import Term
from advance_tf.training import session
from advance_tf.training.callbacks import BEST_WEIGHTS, CHECKPOINT, LOG
from advance_tf.training.checkpoint import Progress
from advance_tf.training.trainer import Trainer


def fit(folder, config):
    """Trains a linear model; its validation loss serves as the score."""
    inputs = keras.Input((3,), name="x")
    outputs = keras.layers.Dense(1, name="y")(inputs)
    model = keras.Model({"x": inputs}, {"y": outputs})
    term = Term(keras.losses.MeanSquaredError(), "y", "y", 1.0)
    trainer = Trainer(model, {"regression": term})
    trainer.compile(optimizer=keras.optimizers.SGD(0.1))
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(size=(8, size)).astype(np.float32)
        for name, size in (("x", 3), ("y", 1))
    }
    batches = tf.data.Dataset.from_tensors(({"x": arrays["x"]}, {"y": arrays["y"]}))
    return session.fit(
        trainer,
        batches,
        batches,
        config,
        folder,
        progress=session.start_or_resume(trainer, folder),
        monitor="val_loss",
    )


@pytest.mark.parametrize("installed", [True, False])
def test_tensorboard_is_written_only_where_it_is_installed(
    installed, tmp_path, monkeypatch
):
    if installed:
        pytest.importorskip("tensorboard")
    else:
        # Neither found nor importable.
        for name in [*sys.modules, "tensorboard"]:
            if name.partition(".")[0] == "tensorboard":
                monkeypatch.setitem(sys.modules, name, None)
    progress = fit(tmp_path, TrainingConfig(epochs=2))
    assert progress.epochs == session.run_progress(tmp_path).epochs == 2
    names = {path.name for path in tmp_path.iterdir()}
    assert names - {"tensorboard"} == {BEST_WEIGHTS, CHECKPOINT, LOG}
    events = list(tmp_path.rglob("*tfevents*"))
    assert bool(events) == ("tensorboard" in names) == installed
    with (tmp_path / LOG).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["regression_loss"]) < float(rows[0]["regression_loss"])


def test_a_finished_run_trains_no_further_epoch(tmp_path):
    progress = fit(tmp_path, TrainingConfig(epochs=1))
    assert session.is_finished(progress, TrainingConfig(epochs=1))
    before = (tmp_path / CHECKPOINT).stat().st_mtime_ns
    assert fit(tmp_path, TrainingConfig(epochs=1)) == progress
    assert (tmp_path / CHECKPOINT).stat().st_mtime_ns == before
    assert fit(tmp_path, TrainingConfig(epochs=2)).epochs == 2


@pytest.mark.parametrize(
    ("progress", "config", "finished"),
    [
        (Progress(4, 1, 0.5), {"epochs": 5}, False),
        (Progress(5, 5, 0.5), {"epochs": 5}, True),
        (Progress(4, 1, 0.5), {"epochs": 5, "patience": 3}, True),
        (Progress(4, 2, 0.5), {"epochs": 5, "patience": 3}, False),
    ],
)
def test_a_run_is_finished_after_its_epochs_or_its_patience(progress, config, finished):
    assert session.is_finished(progress, TrainingConfig(**config)) == finished


def test_a_folder_without_a_run_has_zero_epochs(tmp_path):
    assert session.run_progress(tmp_path) == Progress()
