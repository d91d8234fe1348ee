"""Training with and without TensorBoard, and when a run is finished."""

import csv
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.checksums import CHECKSUMS, replacing_checked
from advance_tf.config import TrainingConfig
from advance_tf.losses.objective import Term
from advance_tf.models.recognizer import dtype_policy
from advance_tf.training import session
from advance_tf.training.callbacks import BEST_WEIGHTS, CHECKPOINT, LOG
from advance_tf.training.checkpoint import Progress, read_progress, save_state
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
    assert names - {"tensorboard"} == {BEST_WEIGHTS, CHECKPOINT, LOG, CHECKSUMS}
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


def test_best_weights_that_were_removed_are_written_again_or_missed(tmp_path):
    # The loss, which serves as the score here, falls: the first epoch is the best.
    fit(tmp_path, TrainingConfig(epochs=1))
    best = tmp_path / BEST_WEIGHTS
    contents = best.read_bytes()
    best.unlink()
    fit(tmp_path, TrainingConfig(epochs=1))
    assert len(best.read_bytes()) == len(contents)
    fit(tmp_path, TrainingConfig(epochs=3))
    best.unlink()
    with pytest.raises(ValueError, match=r"those of the best epoch, 1\. Restore it"):
        fit(tmp_path, TrainingConfig(epochs=3))


@pytest.mark.parametrize("name", [CHECKPOINT, LOG])
def test_a_damaged_file_of_a_run_is_an_error(tmp_path, name):
    fit(tmp_path, TrainingConfig(epochs=1))
    contents = bytearray((tmp_path / name).read_bytes())
    contents[len(contents) // 2] ^= 1
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(ValueError, match=f"{name} .*(damaged|complete)"):
        fit(tmp_path, TrainingConfig(epochs=2))


def build_scaled(policy):
    """A compiled trainer of a policy; mixed_float16 scales the loss."""
    with dtype_policy(policy):
        inputs = keras.Input((3,), name="x")
        model = keras.Model({"x": inputs}, {"y": keras.layers.Dense(1)(inputs)})
        term = Term(keras.losses.MeanSquaredError(), "y", "y", 1.0)
        trainer = Trainer(model, {"regression": term})
        session.compile_trainer(trainer, TrainingConfig())
    return trainer


def test_a_checkpoint_names_the_precision_of_the_training(tmp_path):
    path, trainer = tmp_path / CHECKPOINT, build_scaled("mixed_float16")
    assert session.run_precision(tmp_path) == ""
    session.start_or_resume(trainer, tmp_path)
    save_state(path, trainer, Progress(1))
    assert session.run_precision(tmp_path) == "mixed_float16"
    same = build_scaled("mixed_float16")
    assert session.start_or_resume(same, tmp_path) == Progress(1)
    message = "training in {}, and the model is in float32: set `precision`"
    other = build_scaled("float32")
    with pytest.raises(ValueError, match=message.format("mixed_float16")):
        session.start_or_resume(other, tmp_path)
    # As an earlier version has written it.
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "precision"}
    with replacing_checked(path) as temporary:
        np.savez(temporary, **arrays)
    assert session.run_precision(tmp_path) == ""
    same = build_scaled("mixed_float16")
    assert session.start_or_resume(same, tmp_path) == Progress(1)
    with pytest.raises(ValueError, match=message.format("an unknown precision")):
        session.start_or_resume(other, tmp_path)


def test_progress_is_read_without_the_variables(tmp_path):
    """A study asks for it every second; the variables are verified when needed."""
    fit(tmp_path, TrainingConfig(epochs=1))
    path = tmp_path / CHECKPOINT
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)
    assert read_progress(path).epochs == 1
    with pytest.raises(ValueError, match="damaged.* Remove it to restart the run"):
        fit(tmp_path, TrainingConfig(epochs=2))
    path.write_bytes(contents[: len(contents) // 3])
    with pytest.raises(ValueError, match="must be a complete checkpoint"):
        read_progress(path)


_ON_A_FULL_DISK = """
import pathlib, resource, sys
import keras
from advance_tf.training.callbacks import save_best_weights

model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(1000)])
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    save_best_weights(pathlib.Path(sys.argv[1]), model)
except OSError as error:
    print(error)
"""


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-c", _ON_A_FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"[Errno 27] File too large: '{tmp_path}'\n"
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
