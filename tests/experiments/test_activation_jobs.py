"""Jobs with partly frozen towers: their predictions, and several processes' data."""

import numpy as np
import pytest

from advance_tf import config as config_module
from advance_tf.data.manifest import make_manifest
from advance_tf.experiments.frozen_heads import (
    HeadJobs,
    load_all,
    train_jobs,
)
from advance_tf.experiments.head_results import is_trained, read_result
from advance_tf.experiments.reproduction import predictions_of
from advance_tf.metrics.comparison import read_predictions
from advance_tf.models.backbones.registry import FAMILIES
from advance_tf.training import embeddings
from advance_tf.training.frozen import frozen_recognizer, load_stored
from advance_tf.training.partly_frozen import train_rest
from tests.experiments.factories import open_small_study
from tests.models.backbones.tiny import TinyStaged


def test_jobs_on_activations_leave_the_predictions_of_the_trained_recognizer(
    tmp_path, fabricated_advance, monkeypatch
):
    monkeypatch.setitem(FAMILIES, "tiny", TinyStaged)
    monkeypatch.setattr(config_module, "STAGED", ("tiny",))
    study = open_small_study(
        tmp_path,
        fabricated_advance,
        image_backbone="tiny",
        audio_backbone="tiny",
        image_frozen_stages=4,
        audio_frozen_stages=4,
        normalize_embeddings=True,
        learning_rate=0.01,
    )
    manifest = make_manifest(study.config.data)
    jobs = tuple(study.job(recipe, 0) for recipe in ("table1_both", "table1_image"))
    assert all(job.frozen_towers for job in jobs)
    work = HeadJobs(manifest, jobs, None)
    pairs = sorted(manifest.pairs, key=lambda pair: pair.stem)
    files = load_all(jobs, pairs)
    # The jobs read what is stored.
    monkeypatch.setattr(embeddings, "make_dataset", only_constant(embeddings))
    assert train_jobs(work, files) == 2
    assert train_jobs(work, files) == 0
    job, splits = jobs[0], np.array(manifest.splits)
    recognizer = frozen_recognizer(job.config)
    stored = load_stored(recognizer, job.config, manifest.pairs, files_of(files).folder)
    training, validation, test = (
        np.flatnonzero(splits == name) for name in ("training", "validation", "test")
    )
    alone = train_rest(job.config, stored, training, validation, recognizer)
    assert read_result(job)["best_score"] == pytest.approx(alone.progress.best_score)
    assert is_trained(job, manifest)
    expected = alone.scene_probs(test).argmax(axis=1)
    predictions = read_predictions(predictions_of(job))
    assert predictions.stems == tuple(p.stem for p in manifest.pairs_of("test"))
    np.testing.assert_array_equal(predictions.predicted, expected)


def files_of(files):
    return next(iter(files.values()))


def only_constant(module):
    """`make_dataset` for the one pair whose unused input is replaced by zeros."""
    made = module.make_dataset

    def make(*args, rows, **kwargs):
        assert len(rows) == 1
        return made(*args, rows=rows, **kwargs)

    return make
