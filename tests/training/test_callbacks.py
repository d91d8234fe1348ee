"""The learning rate drops when the validation score stops improving."""

import types

import keras
import pytest

from advance_tf.config import TrainingConfig
from advance_tf.training.callbacks import PlateauDrops, plateau_drops


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
