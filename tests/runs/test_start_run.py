"""The files that a run begins with, new or resumed."""

import dataclasses

import pytest

from advance_tf.runs import training
from advance_tf.runs.calibration import CALIBRATION
from advance_tf.runs.training import prepare, start_run
from advance_tf.training.checkpoint import Progress
from tests.training import factories


@pytest.fixture
def setup(fabricated_advance, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / CALIBRATION).write_bytes(b"of the first two epochs")
    return prepare(
        workdir,
        start=factories.build_config(fabricated_advance),
        manifest=factories.build_manifest(fabricated_advance),
    )


@pytest.mark.parametrize(("epochs", "kept"), [(2, True), (3, False)])
def test_a_run_with_more_epochs_to_train_is_calibrated_again(
    setup, monkeypatch, epochs, kept
):
    monkeypatch.setattr(training, "run_progress", lambda _: Progress(2, 2, 0.5))
    more = factories.with_training(setup.config, epochs=epochs)
    start_run(dataclasses.replace(setup, config=more))
    assert (setup.workdir / CALIBRATION).exists() == kept
