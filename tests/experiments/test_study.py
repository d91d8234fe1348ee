"""Settings of a study, what its runs share, and the lock of its folder."""

import hashlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from advance_tf.config_io import load_config, to_dict
from advance_tf.experiments import study as study_module
from advance_tf.experiments.recipes import read_recipe
from advance_tf.experiments.study import prepare_study
from advance_tf.labels import asset_path
from advance_tf.locks import lock_folder
from advance_tf.runs.training import find_manifest
from advance_tf.runs.workdir import KNOWLEDGE, MANIFEST, write_config
from advance_tf.teacher.storage import POSTERIORS
from tests.experiments.factories import (
    open_small_study,
    write_progress,
    write_trained,
)


def test_a_recipe_takes_precedence_over_the_settings(tmp_path, fabricated_advance):
    study = open_small_study(
        tmp_path, fabricated_advance, image_weights="/image.npz", learning_rate=0.5
    )
    job = study.job("table2_image_random", 3)
    assert job.config.model.modality == "image"
    assert job.config.model.image_weights == "random"
    assert job.config.training.seed == 3
    assert job.config.training.learning_rate == 0.5
    assert job.name == "runs/table2_image_random/3"
    assert study.job("table1_image", 0).config.model.image_weights == "/image.npz"
    assert not any("knowledge_dir" in argument for argument in job.command())
    with_transfer = study.job("table1_event", 0)
    assert f"--knowledge_dir={study.workdir / KNOWLEDGE}" in with_transfer.command()
    assert job.config.data.cache_dir == str(study.workdir / "cache")


def test_a_job_writes_the_configuration_that_its_command_reads(
    tmp_path, fabricated_advance
):
    job = open_small_study(tmp_path, fabricated_advance).job("table1_event", 3)
    job.write()
    (flag,) = [part for part in job.command() if part.startswith("--config=")]
    assert load_config(flag.removeprefix("--config=")) == job.config


def test_the_settings_replace_alpha_and_beta_of_a_recipe_that_has_them(
    tmp_path, fabricated_advance
):
    study = open_small_study(tmp_path, fabricated_advance, alpha=7.0, beta=0.5)
    found = {
        recipe: study.job(recipe, 0).config.transfer
        for recipe in ("table1_event", "table3_event_kl", "table1_both")
    }
    assert (found["table1_event"].alpha, found["table1_event"].beta) == (7.0, 0.5)
    # L_E1 alone has no β.
    assert (found["table3_event_kl"].alpha, found["table3_event_kl"].beta) == (7.0, 0)
    assert found["table1_both"].transfer == "none"


def test_settings_of_the_rows_are_refused(tmp_path, fabricated_advance):
    with pytest.raises(ValueError, match="received `modality`, `seed`"):
        open_small_study(tmp_path, fabricated_advance, seed=1, modality="image")


@pytest.mark.parametrize("name", ["authors_code", "paper", "small", "frozen"])
def test_flags_that_are_no_row_apply_to_every_row(name, tmp_path, fabricated_advance):
    given = read_recipe(asset_path(f"recipes/{name}.flags"))
    study = study_module.open_study(
        tmp_path / "study", {**given, "data_dir": str(fabricated_advance)}
    )
    job = study.job("table1_kl_audio", 3)
    config = to_dict(job.config)
    fields = {field: v for group in config.values() for field, v in group.items()}
    for field, value in given.items():
        found = fields[field]
        assert (tuple(found) if isinstance(found, list) else found) == value, field
    assert (fields["transfer"], fields["seed"]) == ("kl_audio", 3)


def test_settings_are_stored_and_given_ones_replace_them(tmp_path, fabricated_advance):
    study = open_small_study(tmp_path, fabricated_advance, learning_rate=0.5)
    prepare_study(study, [])

    def reopen(**given):
        return study_module.open_study(study.workdir, given)

    assert reopen(epochs=9).config.training.learning_rate == 0.5
    assert reopen(epochs=9).config.training.epochs == 9
    # Before the first epoch, settings of the training may change.
    assert reopen(batch_size=3).config.training.batch_size == 3
    with pytest.raises(ValueError, match="split_seed`? was"):
        reopen(split_seed=7)
    cosine = {"learning_rate_schedule": "cosine"}
    assert reopen(epochs=7, **cosine).config.training.epochs == 7
    prepare_study(reopen(**cosine), [])
    assert reopen(epochs=7).config.training.epochs == 7
    prepare_study(reopen(learning_rate_schedule="drops"), [])
    write_progress(study.job("table1_both", 0), epochs=1)
    for other in ({"learning_rate": 0.1}, {"split_seed": 7}, {"patience": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(other))}`? was"):
            reopen(**other)
    with pytest.raises(ValueError, match="`precision` was 'auto', now 'float32'"):
        reopen(precision="float32")
    # Also where most rows train on stored outputs: those with a dagger do not.
    frozen = {"image_frozen_stages": 5, "audio_frozen_stages": 5}
    other = open_small_study(tmp_path / "frozen", fabricated_advance, **frozen)
    prepare_study(other, [])
    write_progress(other.job("table2_image_random", 0), epochs=1)
    with pytest.raises(ValueError, match="`precision` was 'auto', now 'float32'"):
        study_module.open_study(other.workdir, {"precision": "float32"})
    assert reopen(precision="auto").config.training.precision == "auto"
    (study.workdir / "settings.json").write_text("[1")
    with pytest.raises(ValueError, match="must hold the settings of a study"):
        reopen()


def test_paths_are_stored_as_absolute_paths(tmp_path, fabricated_advance, monkeypatch):
    monkeypatch.chdir(fabricated_advance.parent)
    study = study_module.open_study(
        pathlib.Path("there"),
        {"data_dir": fabricated_advance.name, "log_mel_stats": "authors"},
    )
    job = study.job("table1_event", 0)
    assert job.config.data.data_dir == str(fabricated_advance)
    assert job.config.features.log_mel_stats == "authors"
    assert job.workdir.is_absolute()
    folder = fabricated_advance.parent / "there"
    assert f"--knowledge_dir={folder / KNOWLEDGE}" in job.command()


def test_without_a_cache_no_pair_is_stored(tmp_path, fabricated_advance, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    study = open_small_study(tmp_path, fabricated_advance, cache_dir="")
    prepare_study(study, [study.job("table1_both", 0)])
    assert not list(empty.iterdir())
    assert not (study.workdir / "cache").exists()


def test_a_study_without_data_is_refused(tmp_path, fabricated_advance):
    with pytest.raises(ValueError, match="^data_dir must name"):
        open_small_study(tmp_path, "")


def test_a_run_with_other_settings_or_another_split_is_refused(
    tmp_path, fabricated_advance
):
    study = open_small_study(tmp_path, fabricated_advance)
    job = study.job("table1_both", 0)
    manifest = prepare_study(study, [])
    write_trained(job, manifest)
    assert prepare_study(study, [job]).sha256 == manifest.sha256
    other = study.job("table1_both", 0, changes={"learning_rate": 0.5})
    with pytest.raises(ValueError, match="learning_rate`? was"):
        prepare_study(study, [other])
    fewer = study.job("table1_both", 0, changes={"epochs": 1})
    with pytest.raises(ValueError, match="has 2, more than `epochs=1`"):
        fewer.check(manifest)
    # More epochs resume the same run.
    longer = open_small_study(tmp_path, fabricated_advance, epochs=5).job(
        "table1_both", 0
    )
    longer.check(manifest)
    assert job.is_finished()
    assert not longer.is_finished()
    assert (job.epochs, longer.epochs) == (2, 2)
    (job.workdir / "checksums.json").unlink()
    contents = json.loads((job.workdir / "config.json").read_text())
    contents["manifest_sha256"] = "0" * 64
    (job.workdir / "config.json").write_text(json.dumps(contents))
    with pytest.raises(ValueError, match="All runs of a study must have one split"):
        job.check(manifest)


def test_a_run_is_not_continued_from_other_weights(tmp_path, fabricated_advance):
    """A weights file was replaced under its path; one that was removed is not read."""
    weights = tmp_path / "image.npz"
    weights.write_bytes(b"first")
    study = open_small_study(tmp_path, fabricated_advance, image_weights=str(weights))
    manifest = find_manifest(study.workdir, study.config)
    jobs = [study.job(recipe, 0) for recipe in ("table1_both", "table1_sound")]
    for job in jobs:
        job.workdir.mkdir(parents=True)
        write_config(job.workdir, job.config, manifest)
        write_progress(job, epochs=1)
        job.check(manifest)
    weights.write_bytes(b"replaced")
    sha256 = hashlib.sha256(b"replaced").hexdigest()[:16]
    with pytest.raises(ValueError, match=f"`image_weights` has the SHA-256 {sha256}"):
        jobs[0].check(manifest)
    jobs[1].check(manifest)
    weights.unlink()
    jobs[0].check(manifest)


def test_a_broken_checkpoint_is_named(tmp_path, fabricated_advance):
    job = open_small_study(tmp_path, fabricated_advance).job("table1_both", 0)
    assert job.epochs == 0
    write_progress(job, epochs=1)
    assert job.epochs == 1
    (job.workdir / "checkpoint.npz").write_bytes(b"PK")
    with pytest.raises(
        ValueError, match=r"checkpoint\.npz must be a complete checkpoint"
    ):
        job.is_finished()


class FakeTeacher:
    """Predicts the same logits for every clip and counts the clips."""

    name = "fake"
    event_mask = np.ones(527, bool)
    clip_samples = 16_000
    clips = 0

    def __init__(self, letter):
        self.sha256 = letter * 64

    def logits(self, waveforms):
        FakeTeacher.clips += len(waveforms)
        rising = np.linspace(-3, 3, 527, dtype=np.float32)
        return np.tile(rising, (len(waveforms), 1))


def test_all_runs_share_soft_labels_that_are_computed_once(
    tmp_path, fabricated_advance, monkeypatch
):
    monkeypatch.setattr(
        study_module, "load_teacher", lambda path, features: FakeTeacher(path)
    )
    study = open_small_study(tmp_path, fabricated_advance)
    jobs = [study.job("table1_event", 0)]
    manifest = prepare_study(study, jobs, teacher="a")
    assert FakeTeacher.clips == len(manifest.pairs) == 130
    assert (study.workdir / KNOWLEDGE / POSTERIORS).exists()
    # Training and validation pairs are decoded once for all runs.
    cached = list((study.workdir / "cache").rglob("*.pair"))
    assert len(cached) == len(manifest.pairs_of("training")) + len(
        manifest.pairs_of("validation")
    )
    prepare_study(study, jobs, teacher="a")
    prepare_study(study, jobs)
    assert FakeTeacher.clips == 130
    with pytest.raises(ValueError, match="All runs of a study must have one teacher"):
        prepare_study(study, jobs, teacher="b")


def test_without_a_teacher_only_rows_without_transfer_are_prepared(
    tmp_path, fabricated_advance
):
    study = open_small_study(tmp_path, fabricated_advance)
    with pytest.raises(ValueError, match="needs the teacher's event knowledge"):
        prepare_study(study, [study.job("table1_event", 0)])
    assert not (study.workdir / MANIFEST).exists()
    prepare_study(study, [study.job("table1_both", 0)])


def test_a_second_study_in_a_folder_is_refused_until_the_first_ends(tmp_path):
    with lock_folder(tmp_path / "new", "study"):
        with pytest.raises(ValueError, match="One study at a time may use"):
            with lock_folder(tmp_path / "new", "study"):
                pass
    with lock_folder(tmp_path / "new", "study"):
        pass


def test_a_child_process_keeps_the_lock(tmp_path):
    code = "import sys; sys.stdin.read()"
    with lock_folder(tmp_path, "study") as descriptor:
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, pass_fds=(descriptor,)
        )
    with pytest.raises(ValueError, match="one that it started"):
        with lock_folder(tmp_path, "study"):
            pass
    child.communicate()
    with lock_folder(tmp_path, "study"):
        pass
