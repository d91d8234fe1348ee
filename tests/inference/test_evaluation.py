"""Evaluation of a run against the outputs of its recognizer, in NumPy."""

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data.dataset import make_dataset
from advance_tf.inference.evaluation import evaluate, run_names
from advance_tf.runs.workdir import load_run
from tests.untrained_run import copy_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(copy_run(tmp_path_factory))


def test_the_knowledge_is_that_of_the_run(run):
    assert run.knowledge.teacher == "random"
    assert run.data_dir == run.workdir / "data"
    elsewhere = load_run(run.workdir, "elsewhere")
    assert str(elsewhere.data_dir) == "elsewhere"


def test_evaluation_equals_the_model(run):
    found = evaluate(run, "test", batch_size=3)
    pairs = run.pairs_of("test")
    assert found.stems == tuple(pair.stem for pair in pairs)
    batches = make_dataset(pairs, run.data_dir, run.config.features, 8)
    logits = np.concatenate(
        [run.recognizer(inputs)["scene_logits"].numpy() for inputs, _ in batches]
    )
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.scene_probs, probs, atol=1e-5)
    known = run.knowledge.event_mask
    compound = np.where(known, probs @ run.knowledge.posteriors, 0)
    np.testing.assert_allclose(found.event_probs, compound, atol=1e-5)
    true = np.array([labels.scenes().index(pair.scene) for pair in pairs])
    right = (probs.argmax(axis=1) == true).mean()
    assert found.weighted["accuracy"].value == pytest.approx(right)


def test_training_pairs_are_labelled(run):
    assert "measured on training pairs" not in evaluate(run, "test").label
    assert "measured on training pairs" in evaluate(run, "all").label


@pytest.mark.parametrize(
    ("workdirs", "names"),
    [
        (["/r/a", "/r/b"], ["a", "b"]),
        (["/r/event/0", "/r/none/0"], ["event/0", "none/0"]),
        (["/r/event/0"], ["event/0"]),
        (["/x/event/s", "/y/event/s"], ["x/event/s", "y/event/s"]),
        (["/r/a", "/r/a"], ["a", "a"]),
        (["/a/b", "/x/a/b"], ["/a/b", "x/a/b"]),
    ],
)
def test_names_of_runs_are_unique(workdirs, names):
    assert run_names(workdirs) == names
