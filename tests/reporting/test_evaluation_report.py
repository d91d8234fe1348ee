"""The scores of an evaluation, and its files."""

import csv
import hashlib
import json

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data.layout import join_labels
from advance_tf.metrics import bootstrap
from advance_tf.metrics.evaluation import evaluate_predictions
from advance_tf.metrics.scores import confusion_matrix, weighted_scores
from advance_tf.reporting import evaluation_report
from advance_tf.training.callbacks import BEST_WEIGHTS

_LEAKY = "leaky: places shared between training and test"


def _predictions(n=80, seed=0, **changes):
    """Predictions without samples of scene 12 and without predictions of scene 3."""
    rng = np.random.default_rng(seed)
    true = rng.integers(12, size=n)
    logits = rng.normal(size=(n, 13)) + 2 * np.eye(13)[true]
    logits[:, 3] = -20
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sites = [f"{site:05d}" for site in rng.integers(n // 3, size=n)]
    stems = [f"{site}_{k}" for k, site in enumerate(sites)]
    predictions = {
        "stems": stems,
        "sites": sites,
        "true": true,
        "scene_probs": probs.astype(np.float32),
    }
    return predictions | changes


def _read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_scores_and_intervals():
    arguments = _predictions()
    evaluation = evaluate_predictions(**arguments, seed=4, level=0.9, resamples=200)
    true, predicted = arguments["true"], arguments["scene_probs"].argmax(axis=1)
    expected = weighted_scores(confusion_matrix(true, predicted, 13))
    for name, estimate in evaluation.weighted.items():
        assert estimate.value == expected[name]
        ends = bootstrap.bootstrap_over_sites(
            true,
            predicted,
            arguments["sites"],
            lambda confusion, name=name: weighted_scores(confusion)[name],
            samples=200,
            seed=4,
            level=0.9,
            classes=13,
        )
        assert (estimate.low, estimate.high) == ends
        assert estimate.low < estimate.value < estimate.high
    largest = np.bincount(true).argmax()
    share = (true == largest).mean()
    assert evaluation.baseline_scene == labels.scenes()[largest]
    assert evaluation.baseline_f_score == pytest.approx(share * 2 * share / (1 + share))


def test_table_per_scene():
    arguments = _predictions()
    rows = evaluate_predictions(**arguments).per_scene
    true, predicted = arguments["true"], arguments["scene_probs"].argmax(axis=1)
    assert [row.scene for row in rows] == list(labels.scenes())
    assert rows[12].support == 0
    assert np.isnan(rows[12].recall.low)
    assert rows[3].predicted == 0
    assert np.isnan(rows[3].precision.low)
    sites = np.array(arguments["sites"])
    for k in (0, 5, 11):
        hits = (true == k) & (predicted == k)
        assert rows[k].recall.value == hits.sum() / (true == k).sum()
        assert rows[k].precision.value == hits.sum() / (predicted == k).sum()
        assert rows[k].sites == len(set(sites[true == k]))
        assert rows[k].f_score.low <= rows[k].f_score.value <= rows[k].f_score.high


def test_recall_ignores_resamples_without_the_scene():
    # Scene 1 has one site and is always correct; a third of the resamples lack it.
    probs = np.eye(13)[[0] * 9 + [1]]
    sites = [f"{k}" for k in range(10)]
    true = [0] * 9 + [1]
    row = evaluate_predictions(sites, sites, np.array(true), probs).per_scene[1]
    assert (row.recall.value, row.recall.low, row.recall.high) == (1, 1, 1)


def test_metrics_json(tmp_path):
    arguments = _predictions()
    evaluation = evaluate_predictions(
        **arguments, split="validation", details={"transfer": "event"}
    )
    evaluation_report.write_report(tmp_path / "evaluation", evaluation)
    stored = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert stored["split"] == "validation"
    assert stored["label"] == ""
    assert (stored["pairs"], stored["sites"]) == (80, len(set(arguments["sites"])))
    f_score = evaluation.weighted["f_score"]
    assert stored["weighted"]["f_score"] == {
        "value": f_score.value,
        "low": f_score.low,
        "high": f_score.high,
    }
    assert stored["per_scene"][12]["recall"]["low"] is None
    assert np.array_equal(stored["confusion"]["counts"], evaluation.confusion)
    assert stored["details"] == {"transfer": "event"}
    names = {path.name for path in (tmp_path / "evaluation").iterdir()}
    assert names == {
        "checksums.json",
        "metrics.json",
        "report.md",
        "scenes.csv",
        "confusion.csv",
        "predictions.csv",
    }


def test_csv_files(tmp_path):
    arguments = _predictions()
    evaluation = evaluate_predictions(**arguments)
    evaluation_report.write_report(tmp_path, evaluation)
    lines = _read(tmp_path / "predictions.csv")
    header = ["stem", "site", "scene", "predicted", *labels.scenes()]
    assert list(lines[0]) == header
    received = [[float(line[name]) for name in labels.scenes()] for line in lines]
    np.testing.assert_array_equal(np.float32(received), arguments["scene_probs"])
    assert [line["stem"] for line in lines] == arguments["stems"]
    assert [line["site"] for line in lines] == arguments["sites"]
    hits = [line["scene"] == line["predicted"] for line in lines]
    assert np.mean(hits) == evaluation.weighted["accuracy"].value
    counts = _read(tmp_path / "confusion.csv")
    assert [line["scene"] for line in counts] == list(labels.scenes())
    matrix = [[int(line[name]) for name in labels.scenes()] for line in counts]
    np.testing.assert_array_equal(matrix, evaluation.confusion)
    table = _read(tmp_path / "scenes.csv")
    assert table[12]["recall_low"] == ""
    assert table[12]["support"] == "0"
    assert float(table[0]["f_score"]) == pytest.approx(
        evaluation.per_scene[0].f_score.value, abs=1e-6
    )


def test_markdown(tmp_path):
    evaluation = evaluate_predictions(**_predictions())
    evaluation_report.write_report(tmp_path, evaluation, {"confusion.png": b"picture"})
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    f_score = evaluation.weighted["f_score"]
    cell = f"{100 * f_score.value:.2f} ({100 * f_score.low:.2f} to "
    assert f"| Weighted F | {cell}" in text
    absent = next(line for line in text.splitlines() if "train station | 0" in line)
    assert absent.startswith("| train station | 0 | 0 | ")
    assert absent.endswith(" | – | – |")
    assert "![confusion.png](confusion.png)" in text
    assert (tmp_path / "confusion.png").read_bytes() == b"picture"


def test_label_is_in_every_file(tmp_path):
    events = np.full((80, 527), 0.5)
    evaluation = evaluate_predictions(
        **_predictions(), label=_LEAKY, event_probs=events, event_source="event head"
    )
    evaluation_report.write_report(tmp_path, evaluation)
    assert json.loads((tmp_path / "metrics.json").read_text())["label"] == _LEAKY
    title = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    assert title[2] == f"> **{_LEAKY}**"
    for name in ("scenes.csv", "confusion.csv", "predictions.csv"):
        assert {line["label"] for line in _read(tmp_path / name)} == {_LEAKY}
    with np.load(tmp_path / "events.npz") as stored:
        assert str(stored["label"]) == _LEAKY
    assert evaluation_report.summary(evaluation).splitlines()[0] == f"*** {_LEAKY} ***"


def test_labels_are_joined_without_repetition():
    joined = join_labels("", "synthetic data", _LEAKY, "synthetic data", "")
    assert joined == f"synthetic data; {_LEAKY}"
    assert join_labels("", "") == ""


def test_event_file_and_its_removal(tmp_path):
    arguments = _predictions()
    events = np.random.default_rng(1).random((80, 527))
    evaluation_report.write_report(
        tmp_path,
        evaluate_predictions(
            **arguments, event_probs=events, event_source="event head"
        ),
    )
    with np.load(tmp_path / "events.npz") as stored:
        np.testing.assert_array_equal(stored["event_probs"], np.float32(events))
        assert list(stored["stems"]) == arguments["stems"]
        assert stored["scenes"][7] == labels.scenes()[arguments["true"][7]]
        assert stored["event_names"][0] == "Speech"
        assert str(stored["source"]) == "event head"
    (tmp_path / "notes.txt").write_text("own file")
    evaluation_report.write_report(tmp_path, evaluate_predictions(**arguments))
    assert not (tmp_path / "events.npz").exists()
    assert (tmp_path / "notes.txt").read_text() == "own file"


def test_failed_write_leaves_no_metrics(tmp_path, monkeypatch):
    evaluation_report.write_report(tmp_path, evaluate_predictions(**_predictions()))
    # A folder in place of a file makes the second write fail.
    (tmp_path / "scenes.csv").unlink()
    (tmp_path / "scenes.csv").mkdir()
    with pytest.raises(OSError):
        evaluation_report.write_report(
            tmp_path, evaluate_predictions(**_predictions(seed=1))
        )
    assert not (tmp_path / "metrics.json").exists()
    assert not list(tmp_path.glob("*partial*"))


def test_summary():
    evaluation = evaluate_predictions(**_predictions())
    lines = evaluation_report.summary(evaluation).splitlines()
    assert lines[0].startswith("Split 'test': 80 pairs of ")
    f_score = evaluation.weighted["f_score"]
    assert lines[3].split()[:3] == ["Weighted", "F", f"{100 * f_score.value:.2f}"]
    assert evaluation.baseline_scene in lines[5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scene_probs": np.ones((80, 13))}, "sum to 1; received a sum of 13"),
        ({"scene_probs": np.full((80, 13), np.nan)}, "received nan in row 0, 80 rows"),
        ({"scene_probs": np.ones((79, 13)) / 13}, r"received \(79, 13\)"),
        ({"true": np.full(80, 13)}, r"true must be in \[0, 13\)"),
        ({"true": np.zeros(79, int)}, "same samples; received 79 and 80"),
        ({"sites": ["a"] * 79}, "same samples; received 80, 80 and 79"),
        ({"event_probs": np.full((80, 527), 1.5)}, "event_probs must be probabilities"),
        ({"event_probs": np.zeros((80, 521))}, r"\[samples, 527\].*received \(80, 521"),
    ],
)
def test_rejects_invalid_predictions(changes, message):
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(**_predictions(**changes))


def test_an_evaluation_of_other_weights_is_refused(tmp_path):
    check = evaluation_report.check_evaluated_weights
    check(tmp_path, "test")
    weights = tmp_path / BEST_WEIGHTS
    weights.write_bytes(b"trained")
    details = {"weights_sha256": hashlib.sha256(b"trained").hexdigest()}
    for given in ({}, details):
        evaluation = evaluate_predictions(**_predictions(), details=given)
        evaluation_report.write_report(tmp_path / "evaluation" / "test", evaluation)
        check(tmp_path, "test")
    weights.write_bytes(b"trained on")
    with pytest.raises(ValueError, match="one of other weights, .* evaluate` again"):
        check(tmp_path, "test")
