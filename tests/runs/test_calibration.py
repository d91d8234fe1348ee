"""The calibration of a run: fitted on validation pairs, stored, and refused."""

import dataclasses

import numpy as np
import pytest

from advance_tf import config as config_module
from advance_tf.config_io import replace_fields
from advance_tf.metrics.calibration import fit_temperature
from advance_tf.metrics.probabilities import softmax
from advance_tf.models.backbones.registry import FAMILIES
from advance_tf.models.embedding_distance import fit_distance
from advance_tf.models.heads import heads_model
from advance_tf.models.recognizer import build_recognizer
from advance_tf.runs import calibration as calibration_module
from advance_tf.runs.calibration import (
    StoredCalibration,
    fit_calibration,
    read_calibration,
    uncalibrated,
)
from advance_tf.runs.workdir import load_run
from advance_tf.training.embedding_store import ActivationStore
from advance_tf.training.embeddings import compute_embeddings
from tests.models.backbones.tiny import TinyStaged
from tests.untrained_run import with_validation, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run, a third of whose test pairs are for validation."""
    return with_validation(load_run(write_run(tmp_path_factory.mktemp("run"))))


def test_few_validation_pairs_are_refused(run):
    stored = fit_calibration(run.recognizer, run.config, run.manifest, run.workdir)
    assert set(stored.temperatures.values()) == {1.0}
    assert "at least 50 validation pairs" in stored.summary()
    assert not stored.distances


def test_temperature_and_threshold_are_those_of_validation(run, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration_module, "MIN_SAMPLES", 2)
    monkeypatch.setattr("advance_tf.metrics.calibration.MIN_SAMPLES", 2)
    stored = fit_calibration(run.recognizer, run.config, run.manifest, run.workdir)
    splits = np.array(run.manifest.splits)
    found = compute_embeddings(
        run.recognizer, run.config, run.manifest.pairs, tmp_path, progress=False
    )
    rows = np.flatnonzero(splits == "validation")
    logits = heads_model(run.recognizer)(found.rows(rows))["scene_logits"]
    fit = fit_temperature(softmax(np.asarray(logits)), found.scenes[rows])
    assert stored.temperatures["both"] == pytest.approx(fit.temperature, rel=1e-3)
    assert stored.pairs == len(rows)
    training = splits == "training"
    expected = fit_distance(found.image[training], found.scenes[training])
    distances = expected(found.image[rows]).numpy()
    assert stored.distances["image"].threshold == pytest.approx(distances.max(), 1e-3)
    assert stored.distances.keys() == {"image", "sound"}


def test_towers_that_run_in_every_epoch_leave_no_activations(run, monkeypatch):
    monkeypatch.setattr(calibration_module, "MIN_SAMPLES", 2)
    monkeypatch.setattr("advance_tf.metrics.calibration.MIN_SAMPLES", 2)
    monkeypatch.setitem(FAMILIES, "tiny", TinyStaged)
    monkeypatch.setattr(config_module, "STAGED", ("tiny",))

    def refused(*given):
        raise AssertionError("activations are stored")

    monkeypatch.setattr(ActivationStore, "write", refused)
    towers = {f"{tower}_backbone": "tiny" for tower in ("image", "audio")}
    stages = {f"{tower}_frozen_stages": 4 for tower in ("image", "audio")}
    config = replace_fields(run.config, {**towers, **stages, "cached_views": 0})
    recognizer = build_recognizer(config.model, config.features, "event")
    stored = fit_calibration(recognizer, config, run.manifest, run.workdir)
    assert stored.distances.keys() == {"image", "sound"}
    with pytest.raises(AssertionError, match="activations are stored"):
        views = replace_fields(config, {"cached_views": 2})
        fit_calibration(recognizer, views, run.manifest, run.workdir / "new")


def test_it_is_stored_and_a_damaged_file_is_refused(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 4))
    distance = dataclasses.replace(fit_distance(values, np.zeros(20)), threshold=2.5)
    temperatures = {"both": 1.5, "image": 2.0, "sound": 0.5}
    StoredCalibration(temperatures, {"both": ""}, {"sound": distance}, 70).save(
        tmp_path
    )
    found = read_calibration(tmp_path)
    assert (found.temperatures, found.pairs) == (temperatures, 70)
    np.testing.assert_array_equal(
        found.distances["sound"](values.astype(np.float32)),
        distance(values.astype(np.float32)),
    )
    assert found.distances["sound"].threshold == 2.5
    with pytest.raises(ValueError, match="the calibration is damaged"):
        StoredCalibration.from_bytes(uncalibrated().to_bytes()[:100])
    assert read_calibration(tmp_path / "nowhere") is None
