"""Evaluation of a run against the outputs of its recognizer, in NumPy."""

import shutil

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.checksums import file_sha256
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.inference.evaluation import evaluate, run_names
from advance_tf.inference.stored_outputs import _key
from advance_tf.runs import workdir as workdir_module
from advance_tf.runs.workdir import load_run
from advance_tf.training.callbacks import BEST_WEIGHTS
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
    batches = make_dataset(PairFiles(pairs, run.data_dir, run.config.features), 8)
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


def test_the_hash_is_that_of_the_loaded_weights(tmp_path_factory, monkeypatch):
    path = copy_run(tmp_path_factory) / BEST_WEIGHTS
    first = file_sha256(path)
    run = load_run(path.parent)
    better = path.with_name("better.weights.h5")
    head = run.recognizer.get_layer("scene_head")
    before = head.get_weights()
    head.set_weights([array + 1 for array in before])
    run.recognizer.save_weights(better)
    head.set_weights(before)
    own, loaded = workdir_module.load_keras_weights, []

    def replaced(recognizer, path):
        own(recognizer, path)
        if not loaded:
            # As a training that goes on.
            shutil.copy(better, path.with_name("a"))
            path.with_name("a").replace(path)
        loaded.append(path)

    monkeypatch.setattr(workdir_module, "load_keras_weights", replaced)
    again = load_run(path.parent)
    assert len(loaded) == 2
    found = again.recognizer.get_layer("scene_head").get_weights()
    np.testing.assert_array_equal(found[1], before[1] + 1)
    assert (run.weights_sha256, again.weights_sha256) == (first, file_sha256(better))
    # The weights of the first run are no longer on the disk.
    assert evaluate(run, "test").details["weights_sha256"] == first
    pairs = run.pairs_of("test")
    assert _key(run, pairs) != _key(again, pairs)
