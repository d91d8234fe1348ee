"""Pipelines of Beam give the answers of one process; run by `make beam`."""

import json

import keras
import numpy as np
import pyarrow.parquet
import pytest

from advance_tf import labels
from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.data.layout import scan
from advance_tf.inference.beam_pipelines import Job, run_pipeline
from advance_tf.inference.examples import find_examples
from advance_tf.inference.loading import load_model
from advance_tf.models.recognizer import build_audio_tagger
from advance_tf.models.weights import TowerMetadata, save_tower
from advance_tf.teacher.loading import load_teacher
from advance_tf.teacher.soft_labels import compute_soft_labels
from tests.untrained_run import write_run

PROCESSES = ["--runner=DirectRunner", "--direct_num_workers=2"]
PROCESSES += ["--direct_running_mode=multi_processing"]
# Sums of float32 depend on the number of rows in a batch and on the processor.
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir = write_run(tmp_path_factory.mktemp("run"))
    (workdir / "data/sound/lake/y.wav").write_bytes(b"broken")
    (workdir / "data/vision/lake/z.tif").write_bytes(b"II*\0")
    return workdir


def rows(folder, prefix):
    """The rows of the Parquet files of a prefix, by name."""
    tables = [
        pyarrow.parquet.read_table(path).to_pylist()
        for path in folder.glob(f"{prefix}-*-of-*.parquet")
    ]
    return {row["name"]: row for table in tables for row in table}


def test_predictions_of_two_processes_are_those_of_one(workdir, tmp_path):
    data = workdir / "data"
    job = Job(str(workdir), str(data), str(tmp_path), batch_size=8)
    run_pipeline(job, PROCESSES)
    found, dead = rows(tmp_path, "predictions"), rows(tmp_path, "dead_letters")
    examples, failures = find_examples(data)
    answers = load_model(workdir).predict_batch(examples, batch_size=8)
    expected = {answer.name: answer for answer in answers}
    assert set(dead) == {"lake/y", failures[0].name}
    assert set(found) == {name for name, one in expected.items() if one.ok}
    for name, row in found.items():
        one = expected[name]
        assert row["scene"] == one.scene
        assert row["confidence"] == pytest.approx(one.confidence, abs=ROUNDING)
        for scene in labels.scenes():
            column = f"prob_{scene.replace(' ', '_')}"
            assert row[column] == pytest.approx(one.scene_probs[scene], abs=ROUNDING)
        events = json.loads(row["events"])
        assert [event["probability"] for event in events] == pytest.approx(
            [probability for _, probability in one.events[:5]], abs=ROUNDING
        )


def test_embeddings_are_those_of_the_model(workdir, tmp_path):
    job = Job(str(workdir), str(workdir / "data"), str(tmp_path), "embeddings")
    run_pipeline(job)
    found, model = rows(tmp_path, "embeddings"), load_model(workdir)
    for one in find_examples(workdir / "data")[0][:3]:
        expected = model.embed(one.image, one.sound)
        np.testing.assert_allclose(
            found[one.name]["image"], expected.image, rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(
            found[one.name]["sound"], expected.sound, rtol=1e-4, atol=1e-6
        )


def test_soft_labels_are_those_of_the_teacher(workdir, tmp_path):
    keras.utils.set_random_seed(1)
    features = FeatureConfig(clip_seconds=1.0)
    tagger = build_audio_tagger(ModelConfig(audio_depth=10, audio_width=4), features)
    teacher = tmp_path / "tower.npz"
    save_tower(
        teacher,
        tagger.get_layer("audio_tower"),
        TowerMetadata("audio", 10, 4),
        tagger.get_layer("audio_event_head"),
    )
    data = workdir / "data"
    job = Job(
        *(str(teacher), str(data), str(tmp_path), "soft_labels"), features=features
    )
    run_pipeline(job)
    found, pairs = rows(tmp_path, "soft_labels"), scan(data, allow_missing=True).pairs
    assert set(found) == {f"{pair.scene}/{pair.stem}" for pair in pairs}
    assert set(rows(tmp_path, "dead_letters")) == {"lake/y", "lake/z"}
    expected = compute_soft_labels(
        load_teacher(teacher, features), pairs, data, features
    )
    received = [found[f"{p.scene}/{p.stem}"]["teacher_logits"] for p in pairs]
    np.testing.assert_allclose(received, expected, atol=1e-5)
