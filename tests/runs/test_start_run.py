"""The files that a run begins with, new or resumed."""

import dataclasses

import pytest

from advance_tf.runs import training
from advance_tf.runs.calibration import CALIBRATION
from advance_tf.runs.training import prepare, start_run
from advance_tf.runs.workdir import read_config
from advance_tf.training.callbacks import BEST_WEIGHTS
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


def test_settings_may_change_before_the_first_epoch(setup):
    start_run(setup)
    smaller = prepare(setup.workdir, {"batch_size": 4})
    assert smaller.manifest.sha256 == setup.manifest.sha256
    assert start_run(smaller).training.batch_size == 4
    assert read_config(setup.workdir)[0].training.batch_size == 4
    (setup.workdir / BEST_WEIGHTS).write_bytes(b"of the first epoch")
    with pytest.raises(ValueError, match="batch_size` was 4, now 8"):
        prepare(setup.workdir, {"batch_size": 8})


def test_a_run_resumes_with_its_teacher(setup, monkeypatch):
    known = factories.build_scene_knowledge(setup.manifest)
    other = dataclasses.replace(known, teacher="other", teacher_sha256="1" * 64)
    setup = dataclasses.replace(setup, knowledge_dir="knowledge")
    # Before the first epoch the teacher may change.
    for knowledge in (other, known):
        start_run(setup, knowledge)
        recorded = read_config(setup.workdir)[1]["teacher_sha256"]
        assert recorded == knowledge.teacher_sha256
    monkeypatch.setattr(training, "run_progress", lambda _: Progress(1, 1, 0.5))
    resumed = prepare(setup.workdir, knowledge_dir="knowledge")
    resumed = dataclasses.replace(resumed, knowledge_dir="knowledge")
    before = (setup.workdir / "config.json").read_bytes()
    message = "SHA-256 0{16}; the event knowledge in knowledge is from other, 1{16}"
    with pytest.raises(ValueError, match=message):
        start_run(resumed, other)
    assert (setup.workdir / "config.json").read_bytes() == before
    start_run(resumed, known)
