"""The protocol with frozen towers: searches inside training, then tables of splits."""

import json

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.config import DataConfig
from advance_tf.csv_tables import read_table
from advance_tf.data.advance import AdvanceDataset
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.experiments import protocol
from advance_tf.experiments.protocol import Grid, Resources, run_grid, run_tables
from advance_tf.experiments.repeated_splits import SplitStudy, open_splits
from advance_tf.experiments.reproduction import predictions_of
from advance_tf.experiments.scheduler import RESULT
from advance_tf.inference.evaluation import evaluate
from advance_tf.runs.training import train
from advance_tf.runs.workdir import write_config
from tests.experiments.factories import open_small_study, write_progress
from tests.experiments.test_frozen_heads import FROZEN


@pytest.fixture
def teacher(tmp_path):
    """Weights of an audio tower with an event head."""
    import keras

    from advance_tf.config import FeatureConfig, ModelConfig
    from advance_tf.models.recognizer import build_audio_tagger
    from advance_tf.models.weights import TowerMetadata, save_tower

    keras.utils.set_random_seed(0)
    model = ModelConfig(audio_depth=10, audio_width=2)
    tagger = build_audio_tagger(model, FeatureConfig(clip_seconds=1.0))
    tower, head = map(tagger.get_layer, ("audio_tower", "audio_event_head"))
    path = tmp_path / "tower.npz"
    save_tower(path, tower, TowerMetadata("audio", 10, 2), head)
    return str(path)


@pytest.fixture
def used(monkeypatch):
    """The jobs that would be trained, with their manifests; alpha = 0.3 is best."""
    found = []

    def record(work, embeddings_of, *, parallel):
        for each in work:
            for job in each.jobs:
                found.append((job, each.manifest))
                best = 0.5 + 0.1 * (job.config.transfer.alpha == 0.3)
                job.workdir.mkdir(parents=True, exist_ok=True)
                path = job.workdir / RESULT
                result = dict.fromkeys(("config", "manifest_sha256"), "")
                path.write_text(json.dumps(result | {"best_score": best}))

    monkeypatch.setattr(protocol, "run_head_jobs", record)
    monkeypatch.setattr(protocol, "split_table", lambda splits, table, jobs: jobs)
    monkeypatch.setattr(protocol, "write_split_table", lambda *given: given[2:])
    return found


def test_every_split_is_searched_inside_its_training_split(
    tmp_path, fabricated_advance, teacher, used
):
    study = open_small_study(
        tmp_path, fabricated_advance, audio_weights=teacher, **FROZEN
    )
    grid = Grid(alphas=(0.1, 0.3), betas=(0.01,), folds=2, recipe="table1_event")
    ((jobs_of, note),) = run_tables(
        study, [1], 1, splits=2, grid=grid, resources=Resources(teacher)
    )
    assert note == (
        "Searched weights. table1_event: α = 0.3 is at the edge of the grid: add "
        "larger values (in 2 of 2 splits)."
    )
    splits = open_splits(study, splits=2)
    searched = [(j, m) for j, m in used if "/grid/" in str(j.workdir)]
    assert len(searched) == 2 * 2 * 2
    for job, manifest in searched:
        (own,) = [s for s in splits if s.study.workdir in job.workdir.parents]
        assert set(manifest.pairs) == set(own.manifest.pairs_of("training"))
        assert "test" not in manifest.splits
        assert Manifest.load(job.manifest_path).sha256 == manifest.sha256
    for jobs in jobs_of:
        alphas = {job.recipe: job.config.transfer.alpha for job in jobs}
        assert alphas["table1_event"] == 0.3
        assert alphas["table1_kl_audio"] == 0.1
    assert "`alpha=0.3` `beta=0.01`" in run_grid(
        study, grid, resources=Resources(teacher)
    )


def test_only_chosen_rows_are_searched_and_trained(
    tmp_path, fabricated_advance, teacher, used
):
    study = open_small_study(
        tmp_path, fabricated_advance, audio_weights=teacher, **FROZEN
    )
    grid = Grid(alphas=(0.1,), folds=2)
    rows = ["table1_kl_audio", "table1_sq_audio"]
    resources = Resources(teacher)
    run_tables(study, [1], 1, splits=2, rows=rows, grid=grid, resources=resources)
    searched = {job.recipe for job, _ in used if "/grid/" in str(job.workdir)}
    trained = {job.recipe for job, _ in used if "/runs/" in str(job.workdir)}
    assert searched == set(rows)
    assert trained == {"table1_both", *rows}


def test_a_manifest_and_repeated_splits_contradict_each_other(
    tmp_path, fabricated_advance
):
    study = open_small_study(tmp_path, fabricated_advance)
    with pytest.raises(ValueError, match="^Repeated splits are made by themselves"):
        run_tables(study, [1], 1, folds=3, manifest_path="split.csv")
    with pytest.raises(ValueError, match="^grid_recipe must be one of table1_both, "):
        run_tables(study, [3], 1, splits=2, grid=Grid(recipe="table1_event"))
    with pytest.raises(ValueError, match="with a transfer loss; received table1_both"):
        run_tables(study, [1], 1, splits=2, rows=["table1_both"], grid=Grid())
    rows = ["table1_kl_audio", "table1_sq_audio"]
    with pytest.raises(ValueError, match="^betas needs a row with L_E .* received "):
        run_tables(study, [1], 1, splits=2, rows=rows, grid=Grid(betas=(0.1,)))
    alphas = ["table1_event=0.1", "table1_kl_audio=1"]
    with pytest.raises(ValueError, match="received both for table1_kl_audio. Leave"):
        run_tables(
            *(study, [1], 1),
            splits=2,
            grid=Grid(recipe="table1_kl_audio"),
            row_alphas=alphas,
        )


def test_a_manifest_of_another_split_is_refused(tmp_path, fabricated_advance):
    study = open_small_study(tmp_path, fabricated_advance, split_seed=5)
    path = tmp_path / "split.csv"
    make_manifest(DataConfig(data_dir=str(fabricated_advance))).save(path)
    with pytest.raises(ValueError, match="its `split_seed` is 0, received `split_seed"):
        run_tables(study, [1], 1, manifest_path=str(path))


def test_every_split_must_have_pairs(tmp_path, fabricated_advance):
    without = {"train_fraction": 0.9, "validation_fraction": 0.1}
    study = open_small_study(tmp_path, fabricated_advance, **FROZEN, **without)
    with pytest.raises(ValueError, match="must have pairs; the manifest has none"):
        run_tables(study, [1], 1, splits=2)
    assert not study.workdir.exists()


def test_alpha_of_single_rows(tmp_path, fabricated_advance, monkeypatch):
    study = open_small_study(tmp_path, fabricated_advance, **FROZEN)
    received = []

    def jobs(study, tables, runs, weights, rows):
        received.append(weights)
        raise InterruptedError

    monkeypatch.setattr(protocol.reproduction, "table_jobs", jobs)
    with pytest.raises(InterruptedError):
        run_tables(study, [1], 1, row_alphas=["table1_sq_audio=0.0001"])
    assert received == [{"table1_sq_audio": {"alpha": 0.0001}}]
    for text in ("table3_event=0.1", "table1_event", "table1_event=-1"):
        with pytest.raises(ValueError, match=f"α, such as .* received '{text}'"):
            run_tables(study, [1], 1, row_alphas=[text])


def test_a_study_with_trained_towers_is_continued_after_its_search(
    tmp_path, fabricated_advance, teacher, monkeypatch
):
    """The row has trained at the searched α, another one than that of its recipe."""
    started = []

    def finish(jobs, *, parallel, lock):
        for job in jobs:
            if job.is_finished():
                continue
            started.append((job.recipe, job.config.transfer.alpha))
            job.workdir.mkdir(parents=True)
            write_config(job.workdir, job.config, Manifest.load(job.manifest_path))
            best = 0.5 + 0.1 * (job.config.transfer.alpha == 0.3)
            write_progress(job, best_score=best)

    monkeypatch.setattr(protocol, "run_jobs", finish)
    monkeypatch.setattr(protocol.reproduction, "evaluate_jobs", lambda jobs: None)
    monkeypatch.setattr(protocol.reproduction, "write_table", lambda *given: "")
    row = "table1_kl_audio"

    def run(runs, *alphas):
        started.clear()
        study = open_small_study(tmp_path, fabricated_advance, audio_weights=teacher)
        run_tables(study, [1], runs, rows=[row], grid=Grid(alphas, folds=2))
        return list(started)

    both = ("table1_both", 0.1)
    assert run(1, 0.1, 0.3) == [*[(row, 0.1), (row, 0.3)] * 2, both, (row, 0.3)]
    # Resumed, then with another seed and another α.
    assert run(1, 0.1, 0.3) == []
    assert run(2, 0.1, 0.3, 1.0) == [(row, 1.0), (row, 1.0), both, (row, 0.3)]


def test_heads_of_a_job_are_those_of_its_run_on_augmented_views(
    tmp_path, fabricated_advance
):
    """Also where the order of the manifest is not that of the stems."""
    study = open_small_study(
        tmp_path, fabricated_advance, cached_views=2, learning_rate=0.05, **FROZEN
    )
    found = make_manifest(study.config.data)
    manifest = Manifest(found.pairs[::-1], found.splits[::-1], "site", 0)
    job = study.job("table1_both", 0)
    split = SplitStudy(study, manifest)
    protocol._train([split], [[job]], Resources(), [split])
    dataset = AdvanceDataset(manifest, fabricated_advance)
    run = train(job.config, dataset, tmp_path / "run")
    expected = evaluate(run, "test")
    rows = [row.values for row in read_table(predictions_of(job)).rows]
    assert [row["stem"] for row in rows] == list(expected.stems)
    probs = [[float(row[scene]) for scene in labels.scenes()] for row in rows]
    np.testing.assert_allclose(probs, expected.scene_probs, rtol=0, atol=1e-5)


def test_settings_without_effect_on_frozen_rows_are_named_once(
    tmp_path, fabricated_advance, caplog
):
    rows = ["table1_both", "table1_event"]
    given = {"test_epochs": True, "precision": "mixed_float16"}
    trained = open_small_study(tmp_path, fabricated_advance, **given)
    protocol._warn_of_unused(trained, rows)
    assert not caplog.text
    frozen = open_small_study(tmp_path, fabricated_advance, **given, **FROZEN)
    protocol._warn_of_unused(frozen, rows)
    assert caplog.text.count("test_epochs has no effect") == 1
    assert caplog.text.count("precision=mixed_float16 has no effect") == 1
