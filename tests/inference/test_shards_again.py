"""Processes that resume a folder of parts: failures, changed files, other models."""

import hashlib
import os
import types

import numpy as np
import pytest

from advance_tf.cli.prediction_parts import check_parts
from advance_tf.inference import loading, shared_prediction
from advance_tf.inference.examples import Example
from advance_tf.inference.loading import model_sha256
from advance_tf.inference.model import Model, Scores
from advance_tf.inference.prediction import Prediction
from advance_tf.inference.shared_prediction import predict_shard
from advance_tf.parts import Shard


class BytesModel(Model):
    """Its probabilities do not depend on the contents of a file."""

    label = "invented"

    def _read(self, example):
        with open(example.image, "rb") as file:
            return {"image": file.read()}

    def _scores(self, rows):
        probs = np.full((len(rows), 13), 1 / 13, np.float32)
        return Scores(["ok"] * len(rows), probs, None)

    def _embed(self, row):
        return {}


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """Ten examples in parts of four, of which the first and the last are missing."""
    monkeypatch.setattr(shared_prediction, "_PART_ROWS", 4)
    paths = [tmp_path / f"{number}.jpg" for number in range(10)]
    for path in paths[1:-1]:
        path.write_bytes(b"image")
    return [Example(path.stem, path) for path in paths]


def predict(examples, folder, shard, **given):
    failures = [Prediction("z", status="z.tif must be another file")]
    given = {"model_sha256": "a", "batch_size": 2} | given
    return list(
        predict_shard(
            *(BytesModel(), examples, failures, folder, Shard.of(shard)), **given
        )
    )


def test_a_resumed_process_reports_the_failures_of_its_parts(examples, tmp_path):
    folder = tmp_path / "parts"
    first = predict(examples, folder, "0/2")
    assert [one.name for one in first if not one.ok] == ["0", "9", "z"]
    assert len(first) == 7
    again = predict(examples, folder, "0/2")
    assert again == [one for one in first if not one.ok]
    assert again[0].image == str(tmp_path / "0.jpg")
    assert again[0].label == "invented"
    assert [one.ok for one in predict(examples, folder, "1/2")] == [True] * 4
    assert predict(examples, folder, "1/2") == []


@pytest.mark.parametrize("change", ["contents", "time", "removed"])
def test_parts_of_changed_files_are_not_joined(examples, tmp_path, change):
    folder, path = tmp_path / "parts", tmp_path / "5.jpg"
    predict(examples, folder, "0/2")
    if change == "contents":
        status = path.stat()
        path.write_bytes(b"another image")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "time":
        os.utime(path, (1e9, 1e9))
    else:
        path.unlink()
    with pytest.raises(ValueError, match="examples_sha256"):
        predict(examples, folder, "1/2")


def test_calibration_and_knowledge_change_the_hash_of_a_run(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "best.weights.h5").write_bytes(b"weights")
    hashes = [model_sha256(tmp_path)]
    (tmp_path / "event_knowledge").mkdir()
    for name in ("calibration.npz", "event_knowledge/posteriors.npz"):
        for contents in (b"one", b"two"):
            (tmp_path / name).write_bytes(contents)
            hashes.append(model_sha256(tmp_path))
    assert len(set(hashes)) == 5
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "posteriors.npz").write_bytes(b"three")
    (tmp_path / "config.json").write_text(f'{{"knowledge_dir": "{other}"}}')
    assert model_sha256(tmp_path) not in hashes


def test_parts_dir_needs_a_shard():
    def flags(**given):
        empty = dict.fromkeys(("shard", "data_dir", "parts_dir"))
        return types.SimpleNamespace(**(empty | given))

    with pytest.raises(
        ValueError, match="--parts_dir must be used with --shard; rec.*"
    ):
        check_parts(flags(data_dir="a", parts_dir="out"))
    check_parts(flags(data_dir="a"))
    check_parts(flags(data_dir="a", parts_dir="out", shard="0/2"))


def test_a_model_is_identified_by_the_files_that_are_loaded(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "best.weights.h5"
    weights.write_bytes(b"first")
    loaded = []

    def load(path, min_confidence):
        loaded.append(weights.read_bytes())
        # As a training that goes on.
        weights.write_bytes(b"second")
        return loaded[-1]

    monkeypatch.setattr(loading, "load_model", load)
    found = loading.load_identified(tmp_path)
    assert found == (b"second", hashlib.sha256(b"second").hexdigest())
    assert loaded == [b"first", b"second"]
