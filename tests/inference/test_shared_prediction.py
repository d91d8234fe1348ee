"""Predictions of several processes are those of one."""

import dataclasses
import json

import pytest

from advance_tf.inference import shared_prediction
from advance_tf.inference.examples import find_examples
from advance_tf.inference.loading import load_model
from advance_tf.inference.shared_prediction import RESULTS, predict_shard
from advance_tf.parts import MANIFEST, Shard
from tests.untrained_run import copy_run

# Batches of other rows round differently on some processors.
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return copy_run(tmp_path_factory)


def assert_same_answer(found, expected):
    """Equality in which probabilities may differ by the rounding of float32."""
    for kind in ("scenes", "events"):
        probs = [
            {one["name"]: one["probability"] for one in answer.pop(kind)}
            for answer in (found, expected)
        ]
        assert probs[0] == pytest.approx(probs[1], abs=ROUNDING)
    confidence = expected.pop("confidence")
    assert found.pop("confidence") == pytest.approx(confidence, abs=ROUNDING)
    assert found == expected


def test_answers_are_those_of_one_process(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_prediction, "_PART_ROWS", 10)
    model = load_model(workdir)
    (workdir / "data/vision/lake/zz.tif").write_bytes(b"II*\0")
    (workdir / "data/sound/lake/y.wav").write_bytes(b"broken")
    examples, failures = find_examples(workdir / "data")
    expected = [p.to_json(3) for p in model.predict_batch(examples, batch_size=8)]
    expected += [failure.to_json(3) for failure in failures]
    assert len(failures) == 1
    assert sum('"status": "ok"' in line for line in expected) == len(expected) - 2

    def predict(shard, top=3):
        return predict_shard(
            *(model, examples, failures, tmp_path, Shard.of(shard)),
            **{"model_sha256": "a", "batch_size": 8, "top": top},
        )

    # An interrupted process: its first part of 16 rows is done, the second not.
    running = predict("0/3")
    for _ in range(20):
        next(running)
    running.close()
    assert sorted(p.name for p in tmp_path.glob("*.jsonl")) == ["00000000.jsonl"]
    computed = [len(list(predict(shard))) for shard in ("0/2", "1/2")]
    assert sum(computed) == len(expected) - 16
    for line, own in zip(
        (tmp_path / RESULTS).read_text().splitlines(), expected, strict=True
    ):
        assert_same_answer(json.loads(line), json.loads(own))
    assert '"done"' in (tmp_path / MANIFEST).read_text()
    with pytest.raises(ValueError, match="top 3 instead of 4"):
        list(predict("0/2", top=4))
    other = [dataclasses.replace(examples[0], name="x"), *examples[1:]]
    with pytest.raises(ValueError, match="examples_sha256"):
        list(
            predict_shard(
                *(model, other, failures, tmp_path, Shard()),
                **{"model_sha256": "a", "batch_size": 8, "top": 3},
            )
        )
