"""Settings of a study: what rows decide, what the user does, what is kept."""

import json
import pathlib

import numpy as np
import pytest

from advance_tf import config_flags
from advance_tf.studies import study as study_module
from advance_tf.studies.study import prepare
from advance_tf.teacher.knowledge import POSTERIORS
from advance_tf.training.workdir import KNOWLEDGE, MANIFEST
from tests.studies.made import a_study, write_progress, write_trained


def test_a_job_is_its_recipe_over_the_settings(tmp_path, fabricated_advance):
    study = a_study(
        tmp_path, fabricated_advance, image_weights="/image.npz", learning_rate=0.5
    )
    job = study.job("table2_image_random", 3)
    assert job.config.model.modality == "image"
    assert job.config.model.image_weights == ""
    assert job.config.training.seed == 3
    assert job.config.training.learning_rate == 0.5
    assert job.name == "runs/table2_image_random/3"
    assert study.job("table1_image", 0).config.model.image_weights == "/image.npz"
    assert not any("knowledge_dir" in flag for flag in job.arguments)
    knowing = study.job("table1_event", 0)
    assert f"--knowledge_dir={study.workdir / KNOWLEDGE}" in knowing.arguments
    assert job.config.data.cache_dir == str(study.workdir / "cache")


def test_alpha_and_beta_are_the_users_where_the_row_has_them(
    tmp_path, fabricated_advance
):
    study = a_study(tmp_path, fabricated_advance, alpha=7.0, beta=0.5)
    found = {
        recipe: study.job(recipe, 0).config.transfer
        for recipe in ("table1_event", "table3_event_kl", "table1_both")
    }
    assert (found["table1_event"].alpha, found["table1_event"].beta) == (7.0, 0.5)
    # L_E1 stays without L_E2.
    assert (found["table3_event_kl"].alpha, found["table3_event_kl"].beta) == (7.0, 0)
    assert found["table1_both"].transfer == "none"


def test_what_rows_decide_is_refused(tmp_path, fabricated_advance):
    with pytest.raises(ValueError, match="received --modality, --seed"):
        a_study(tmp_path, fabricated_advance, seed=1, modality="image")


def test_settings_are_kept_and_given_ones_go_before_them(tmp_path, fabricated_advance):
    study = a_study(tmp_path, fabricated_advance, learning_rate=0.5)
    prepare(study, [])

    def again(**given):
        return study_module.open_study(
            study.workdir, given, study.parse, study.to_flags
        )

    assert again(epochs=9).config.training.learning_rate == 0.5
    assert again(epochs=9).config.training.epochs == 9
    for other in ({"learning_rate": 0.1}, {"split_seed": 7}, {"patience": 1}):
        with pytest.raises(ValueError, match=f"--{next(iter(other))} was"):
            again(**other)
    (study.workdir / "settings.json").write_text("[1")
    with pytest.raises(ValueError, match="must hold the settings of a study"):
        again()


def test_paths_are_kept_whole(tmp_path, fabricated_advance, monkeypatch):
    monkeypatch.chdir(fabricated_advance.parent)
    study = study_module.open_study(
        pathlib.Path("there"),
        {"data_dir": fabricated_advance.name, "log_mel_stats": "authors"},
        config_flags.parse,
        config_flags.arguments_of,
    )
    job = study.job("table1_event", 0)
    assert job.config.data.data_dir == str(fabricated_advance)
    assert job.config.features.log_mel_stats == "authors"
    assert job.workdir.is_absolute()
    folder = fabricated_advance.parent / "there"
    assert f"--knowledge_dir={folder / KNOWLEDGE}" in job.arguments


def test_without_a_cache_nothing_is_kept(tmp_path, fabricated_advance, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    study = a_study(tmp_path, fabricated_advance, cache_dir="")
    prepare(study, [study.job("table1_both", 0)])
    assert not list(empty.iterdir())
    assert not (study.workdir / "cache").exists()


def test_without_data_there_is_no_study(tmp_path, fabricated_advance):
    with pytest.raises(ValueError, match="--data_dir must name"):
        a_study(tmp_path, "")


def test_a_run_of_other_settings_or_another_split_is_not_counted(
    tmp_path, fabricated_advance
):
    study = a_study(tmp_path, fabricated_advance)
    job = study.job("table1_both", 0)
    manifest = prepare(study, [])
    write_trained(job, manifest)
    assert prepare(study, [job]).sha256 == manifest.sha256
    other = study.job("table1_both", 0, changes={"learning_rate": 0.5})
    with pytest.raises(ValueError, match="--learning_rate was"):
        prepare(study, [other])
    fewer = study.job("table1_both", 0, changes={"epochs": 1})
    with pytest.raises(ValueError, match="has had 2, more than --epochs=1"):
        fewer.check(manifest)
    # More epochs are the same run, gone on with.
    longer = a_study(tmp_path, fabricated_advance, epochs=5).job("table1_both", 0)
    longer.check(manifest)
    assert job.is_finished()
    assert not longer.is_finished()
    assert (job.epochs, longer.epochs) == (2, 2)
    contents = json.loads((job.workdir / "config.json").read_text())
    contents["manifest_sha256"] = "0" * 64
    (job.workdir / "config.json").write_text(json.dumps(contents))
    with pytest.raises(ValueError, match="All runs of a study have one split"):
        job.check(manifest)


def test_a_broken_checkpoint_is_named(tmp_path, fabricated_advance):
    job = a_study(tmp_path, fabricated_advance).job("table1_both", 0)
    assert job.epochs == 0
    write_progress(job, epochs=1)
    assert job.epochs == 1
    (job.workdir / "checkpoint.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"checkpoint\.npz must be a whole file"):
        job.is_finished()


class FakeTeacher:
    """Hears the same in everything."""

    name = "fake"
    event_mask = np.ones(527, bool)
    clip_samples = 16_000
    heard = 0

    def __init__(self, letter):
        self.sha256 = letter * 64

    def logits(self, waveforms):
        FakeTeacher.heard += len(waveforms)
        rising = np.linspace(-3, 3, 527, dtype=np.float32)
        return np.tile(rising, (len(waveforms), 1))


def test_all_runs_have_one_teacher_who_hears_once(
    tmp_path, fabricated_advance, monkeypatch
):
    monkeypatch.setattr(
        study_module, "build_teacher", lambda path, features: FakeTeacher(path)
    )
    study = a_study(tmp_path, fabricated_advance)
    jobs = [study.job("table1_event", 0)]
    manifest = prepare(study, jobs, teacher="a")
    assert FakeTeacher.heard == len(manifest.pairs) == 130
    assert (study.workdir / KNOWLEDGE / POSTERIORS).exists()
    # All that is trained on is decoded once, for all runs.
    cached = list((study.workdir / "cache").rglob("*.pair"))
    assert len(cached) == len(manifest.of("training")) + len(manifest.of("validation"))
    prepare(study, jobs, teacher="a")
    prepare(study, jobs)
    assert FakeTeacher.heard == 130
    with pytest.raises(ValueError, match="One teacher teaches all runs of a study"):
        prepare(study, jobs, teacher="b")


def test_without_a_teacher_only_rows_without_transfer_are_prepared(
    tmp_path, fabricated_advance
):
    study = a_study(tmp_path, fabricated_advance)
    with pytest.raises(ValueError, match="needs the teacher's event knowledge"):
        prepare(study, [study.job("table1_event", 0)])
    assert not (study.workdir / MANIFEST).exists()
    prepare(study, [study.job("table1_both", 0)])
