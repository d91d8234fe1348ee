"""The learning rate drops without an improvement; a removed folder ends the run."""

import types

import keras
import pytest

from advance_tf.config import TrainingConfig
from advance_tf.training.callbacks import PlateauDrops, RunRecord, plateau_drops


@pytest.mark.parametrize(
    ("scores", "drops"),
    [
        ([], 0),
        ([0.1, 0.2, 0.3], 0),
        ([0.3, 0.2, 0.3], 1),
        ([0.3, 0.2, 0.3, 0.1, 0.1], 2),
        ([0.3, 0.2, 0.4, 0.3], 0),
    ],
)
def test_a_drop_is_due_after_two_epochs_without_a_better_score(scores, drops):
    assert plateau_drops(scores, patience=2) == drops


def test_the_rate_is_a_function_of_the_record():
    record = types.SimpleNamespace(
        monitor="val_map", rows=[{"val_map": "0.5"}, {"val_map": "0.4"}]
    )
    callback = PlateauDrops(
        TrainingConfig(learning_rate=0.2, drop_factor=0.5), record, patience=1
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    callback.set_model(model)
    callback.on_epoch_begin(2)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)


def test_a_folder_that_is_removed_stops_the_run(tmp_path):
    record = RunRecord(tmp_path / "run", "val_map")
    with pytest.raises(ValueError, match=r"run has been removed\. Start the run again"):
        record.on_epoch_end(0, {"loss": 1.0, "val_map": 0.5})
    assert not (tmp_path / "run").exists()


def test_other_settings_after_an_epoch_need_another_folder(tmp_path):
    record = RunRecord(tmp_path, "val_map")
    logs = {"loss": float("nan"), "val_map": 0.5}
    with pytest.raises(ValueError, match="in epoch 1. Lower .*precision='float32'`.$"):
        record.on_epoch_end(0, logs)
    message = "in epoch 2. checkpoint.npz holds .* in another `workdir`.$"
    with pytest.raises(ValueError, match=message):
        record.on_epoch_end(1, logs)
