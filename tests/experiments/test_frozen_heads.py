"""Heads in memory: equal to those of `train_heads`, resumed, and in processes."""

import concurrent.futures
import dataclasses
import json
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.config_io import replace_fields
from advance_tf.csv_tables import read_table
from advance_tf.data.manifest import make_manifest
from advance_tf.experiments import frozen_heads
from advance_tf.experiments.folds import training_folds
from advance_tf.experiments.frozen_heads import (
    HeadJobs,
    SharedHeads,
    embedding_key,
    run_head_jobs,
    train_jobs,
)
from advance_tf.experiments.head_results import is_trained, read_result
from advance_tf.experiments.repeated_splits import in_folder, share_knowledge
from advance_tf.experiments.reproduction import predictions_of
from advance_tf.experiments.scheduler import RESULT
from advance_tf.metrics.comparison import read_predictions
from advance_tf.runs.workdir import KNOWLEDGE
from advance_tf.teacher.knowledge import save_knowledge
from advance_tf.training.embeddings import Embeddings
from advance_tf.training.heads import train_heads
from tests.experiments.factories import open_small_study
from tests.training.factories import build_scene_knowledge

SIZES = {"image": 6, "audio": 4}
FROZEN = {"image_frozen_stages": 5, "audio_frozen_stages": 5}


@pytest.fixture(scope="module")
def study(tmp_path_factory, fabricated_advance):
    return open_small_study(
        tmp_path_factory.mktemp("frozen"),
        fabricated_advance,
        epochs=3,
        learning_rate=0.05,
        **FROZEN,
    )


@pytest.fixture(scope="module")
def manifest(study):
    return make_manifest(study.config.data)


@pytest.fixture(scope="module")
def embeddings(manifest):
    """Random embeddings with the scene in them, not in the order of the manifest."""
    rng = np.random.default_rng(0)
    pairs = list(reversed(manifest.pairs))
    scenes = np.array([labels.scenes().index(pair.scene) for pair in pairs])
    arrays = {
        tower: (rng.normal(size=(13, size)) * 2)[scenes]
        + rng.normal(size=(len(pairs), size))
        for tower, size in SIZES.items()
    }
    return Embeddings(tuple((p.scene, p.stem) for p in pairs), **arrays)


@pytest.fixture(scope="module")
def knowledge(study, manifest):
    known = build_scene_knowledge(manifest)
    save_knowledge(study.workdir / KNOWLEDGE, known, "0" * 16)
    return known


def rows_of(manifest, embeddings, split):
    row = {key: number for number, key in enumerate(embeddings.keys)}
    return [row[pair.scene, pair.stem] for pair in manifest.pairs_of(split)]


def test_shared_heads_equal_heads_that_are_trained_alone(
    study, manifest, embeddings, knowledge
):
    """With other weights before, and whichever α, β and seed came first."""
    rows = [rows_of(manifest, embeddings, s) for s in ("training", "validation")]
    job = study.job("table1_event", 0)
    shared = SharedHeads(job.config, embeddings, *rows, knowledge)
    for changes in (
        {"alpha": 2.0, "beta": 0.5, "seed": 3},
        {"alpha": 0.1, "beta": 0.0, "seed": 0},
    ):
        config = replace_fields(job.config, changes)
        found = shared.train(config)
        alone = train_heads(config, embeddings, *rows, knowledge=knowledge)
        assert found.progress == alone.progress
        expected = alone.logits(rows[1])["scene_logits"]
        logits = found.logits(rows[1])["scene_logits"]
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_jobs_without_relevance_need_none(study, manifest, embeddings, knowledge):
    """A group with L_E2 in its second job alone, and one without it."""
    rows = [rows_of(manifest, embeddings, s) for s in ("training", "validation")]
    job = study.job("table1_event", 0, changes={"relevance": "centered_pca"})
    plain = replace_fields(job.config, {"beta": 0.0})
    undefined = {"centered_pca": knowledge.relevances["gram"] * np.nan}
    other = dataclasses.replace(knowledge, relevances=undefined)
    shared = SharedHeads(plain, embeddings, *rows, other)
    assert shared.train(plain).history[0].keys().isdisjoint({"relevance_loss"})
    # The graph has L_E2 whatever α the configuration has.
    zero = study.job("table1_event", 0, changes={"alpha": 0.0}).config
    both = SharedHeads(zero, embeddings, *rows, knowledge)
    weighted = replace_fields(zero, {"alpha": 1.0, "beta": 1.0})
    assert both.train(weighted).history[0]["relevance_loss"] > 0
    with pytest.raises(ValueError, match="beta must be 0 as in the configuration"):
        shared.train(job.config)
    jobs = tuple(
        study.job("table1_event", seed, subfolder="relevance", changes={"beta": beta})
        for seed, beta in ((0, 0.0), (1, 0.5))
    )
    work = HeadJobs(manifest, jobs, study.workdir / KNOWLEDGE)
    assert train_jobs(work, {embedding_key(jobs[0].config): embeddings}) == 2
    alone = train_heads(jobs[1].config, embeddings, *rows, knowledge=knowledge)
    score = read_result(jobs[1])["best_score"]
    assert score == pytest.approx(alone.progress.best_score)


def test_jobs_leave_predictions_and_scores_and_are_not_repeated(
    study, manifest, embeddings
):
    jobs = tuple(study.job("table1_both", seed) for seed in (0, 1))
    work = HeadJobs(manifest, jobs, None)
    by_key = {embedding_key(jobs[0].config): embeddings}
    assert train_jobs(work, by_key) == 2
    assert train_jobs(work, by_key) == 0
    rows = [
        rows_of(manifest, embeddings, split)
        for split in ("training", "validation", "test")
    ]
    alone = train_heads(jobs[1].config, embeddings, *rows[:2])
    predictions = read_predictions(predictions_of(jobs[1]))
    assert predictions.stems == tuple(p.stem for p in manifest.pairs_of("test"))
    expected = alone.scene_probs(rows[2]).argmax(axis=1)
    np.testing.assert_array_equal(predictions.predicted, expected)
    result = read_result(jobs[1])
    assert result["best_score"] == pytest.approx(alone.progress.best_score)
    assert is_trained(jobs[1], manifest)
    assert not is_trained(study.job("table1_both", 2), manifest)
    other = study.job("table1_both", 1, changes={"learning_rate": 0.06})
    assert not is_trained(other, manifest)


def statistics(knowledge, pairs):
    """Posteriors and relevance vectors of training pairs, in NumPy."""
    logits = np.asarray(knowledge.targets_for(pairs)["teacher_logits"], np.float64)
    soft = knowledge.event_mask / (1 + np.exp(-logits))
    scenes = np.array([pair.scene for pair in pairs])
    groups = [soft[scenes == scene] for scene in labels.scenes()]
    directions = [np.linalg.svd(rows).Vh[0] for rows in groups]
    return (
        np.stack([rows.mean(axis=0) for rows in groups]),
        np.stack([direction * np.sign(direction.sum()) for direction in directions]),
    )


def test_a_fold_is_trained_with_the_knowledge_of_its_own_pairs(
    study, manifest, embeddings, knowledge, monkeypatch
):
    """Of its training pairs, not of those of the whole split."""
    fold = open_fold(study, manifest)
    share_knowledge(fold, knowledge)
    job = fold.study.job("table1_event", 0)
    work = HeadJobs(fold.manifest, (job,), fold.study.workdir / KNOWLEDGE)
    written, found = frozen_heads._write, []

    def recorded(job, manifest, model, rows):
        found.append(model.logits(manifest.positions("validation"))["scene_logits"])
        written(job, manifest, model, rows)

    monkeypatch.setattr(frozen_heads, "_write", recorded)
    assert train_jobs(work, {embedding_key(job.config): embeddings}) == 1
    assert not predictions_of(job).exists()
    rows = [rows_of(fold.manifest, embeddings, s) for s in ("training", "validation")]

    def alone(pairs):
        posteriors, relevance = statistics(knowledge, pairs)
        known = dataclasses.replace(
            knowledge, posteriors=posteriors, relevances={"gram": relevance}
        )
        return train_heads(job.config, embeddings, *rows, knowledge=known)

    own, whole = (
        alone(each.pairs_of("training")) for each in (fold.manifest, manifest)
    )
    assert read_result(job)["best_score"] == pytest.approx(own.progress.best_score)
    expected = own.logits(rows[1])["scene_logits"]
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-4)
    other = whole.logits(rows[1])["scene_logits"]
    assert np.abs(other - expected).max() > 1e-2


def open_fold(study, manifest):
    """A fold of the training split as a study."""
    return in_folder(study, "fold", {}, training_folds(manifest, 3)[0])


def test_frozen_towers_with_linear_heads_make_kl_and_sq_equal_to_l_s(
    study, manifest, embeddings, knowledge
):
    """The event head has no parameter in common with the scene head."""
    recipes = ("table1_both", "table1_kl_audiovisual")
    jobs = tuple(study.job(recipe, 0, subfolder="equal") for recipe in recipes)
    work = HeadJobs(manifest, jobs, study.workdir / KNOWLEDGE)
    train_jobs(work, {embedding_key(jobs[0].config): embeddings})
    tables = [read_table(predictions_of(job)).rows for job in jobs]
    for one, other in zip(*tables, strict=True):
        assert one.values["stem"] == other.values["stem"]
        probs = [[float(r.values[s]) for s in labels.scenes()] for r in (one, other)]
        np.testing.assert_allclose(*probs, rtol=0, atol=1e-5)


def test_a_process_that_was_killed_is_an_error_with_a_remedy(
    study, manifest, embeddings, monkeypatch
):
    works = [
        HeadJobs(manifest, (study.job("table1_both", 1, subfolder=name),), None)
        for name in ("killed", "waiting")
    ]

    class Pool:
        def __init__(self, *given):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return False

        def submit(self, *given):
            future = concurrent.futures.Future()
            future.set_exception(BrokenProcessPool("terminated abruptly"))
            return future

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Pool)
    by_key = {embedding_key(works[0].jobs[0].config): embeddings}
    with pytest.raises(ValueError, match="Lower `jobs` and run the same command"):
        run_head_jobs(works, by_key, parallel=2)


def test_processes_train_the_splits(study, manifest, embeddings):
    works = [
        HeadJobs(manifest, (study.job("table1_both", 0, subfolder=name),), None)
        for name in ("first", "second")
    ]
    by_key = {embedding_key(works[0].jobs[0].config): embeddings}
    run_head_jobs(works, by_key, parallel=2)
    first, second = (
        json.loads((work.jobs[0].workdir / RESULT).read_text()) for work in works
    )
    assert first == second
    assert first["epochs"] == 3
