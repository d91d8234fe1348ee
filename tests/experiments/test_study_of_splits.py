"""The folder of a study of several splits: its settings and its progress bar."""

import dataclasses
import json

import pytest

from advance_tf.experiments import protocol, scheduler
from advance_tf.experiments.protocol import run_tables
from advance_tf.experiments.study import SETTINGS, open_study
from tests.experiments.factories import open_small_study, write_progress


def stop_before_training(*_):
    raise InterruptedError


def test_the_settings_of_the_whole_are_stored(
    tmp_path, fabricated_advance, monkeypatch
):
    study = open_small_study(tmp_path, fabricated_advance, label_smoothing=0.1)
    monkeypatch.setattr(protocol, "_train", stop_before_training)
    monkeypatch.setattr(
        "advance_tf.experiments.repeated_splits.prepare_study",
        lambda *args, **kwargs: None,
    )
    monkeypatch.setattr(
        "advance_tf.experiments.repeated_splits.load_knowledge", lambda *_: None
    )
    monkeypatch.setattr(
        "advance_tf.experiments.repeated_splits.share_knowledge", lambda *_: None
    )
    with pytest.raises(InterruptedError):
        run_tables(study, [1], 1, splits=2)
    stored = json.loads((study.workdir / SETTINGS).read_text())
    assert stored == json.loads(json.dumps(study.settings))
    # The same command without its flags resumes; other settings are refused.
    assert open_study(study.workdir, {}).config == study.config
    with pytest.raises(ValueError, match="`image_size` was 32, now 64"):
        open_study(study.workdir, {"image_size": 64})


def test_the_bar_counts_runs_of_the_same_name_in_every_split(
    tmp_path, fabricated_advance, capsys
):
    study = open_small_study(tmp_path, fabricated_advance)
    job = study.job("table1_both", 0)
    jobs = [
        dataclasses.replace(job, workdir=tmp_path / split / job.name)
        for split in ("first", "second")
    ]
    for each in jobs:
        write_progress(each)
    scheduler.run_jobs(jobs)
    assert "4/4" in capsys.readouterr().err


def test_paths_of_backbones_are_stored_as_absolute_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"data_dir": "data", "image_backbone": "file:image.onnx,output=embedding"}
    study = open_study(tmp_path / "study", given)
    assert study.settings["image_backbone"] == (
        f"file:{tmp_path}/image.onnx,output=embedding"
    )


def test_a_row_that_cannot_start_from_random_weights_is_refused_at_once(
    tmp_path, fabricated_advance
):
    study = open_small_study(
        tmp_path, fabricated_advance, image_backbone="file:image.onnx,output=x"
    )
    with pytest.raises(ValueError, match="image_weights must not be 'random'"):
        run_tables(study, [2], 1)
    assert not (study.workdir / "runs").exists()


def test_one_alpha_for_different_losses_is_named(
    tmp_path, fabricated_advance, monkeypatch, caplog
):
    def warned(table, **settings):
        caplog.clear()
        study = open_small_study(tmp_path / str(table), fabricated_advance, **settings)
        monkeypatch.setattr(protocol.reproduction, "table_jobs", stop_before_training)
        with pytest.raises(InterruptedError):
            run_tables(study, [table], 1)
        return "alpha=0.3 is that of every row" in caplog.text

    assert warned(1, alpha=0.3)
    assert not warned(1)
