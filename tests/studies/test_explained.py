"""Runs side by side: the same pairs, the same probabilities as the models'."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from advance_tf import labels
from advance_tf.config import to_dict
from advance_tf.data.dataset import make_dataset
from advance_tf.data.manifest import Manifest
from advance_tf.features.log_mel import log_mel_db
from advance_tf.features.sound import waveform_from_bytes
from advance_tf.studies import evaluated, explained, looked
from advance_tf.training.workdir import load_run, write_config
from tests.untrained_run import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(folder, tmp_path_factory):
    """A run of the same manifest with other features and without image."""
    from advance_tf.models.recognizer import build_recognizer

    other = tmp_path_factory.mktemp("second")
    run = load_run(folder)
    config = dataclasses.replace(
        run.config,
        features=dataclasses.replace(run.config.features, hop_samples=800),
        model=dataclasses.replace(run.config.model, modality="sound"),
    )
    build_recognizer(config.model, config.features, "event").save_weights(
        other / "best.weights.h5"
    )
    shutil.copy(folder / "manifest.csv", other)
    write_config(other, config, run.manifest, label="second label")
    assert to_dict(config) != to_dict(run.config)
    return other


@pytest.fixture(scope="module")
def runs(folder, second):
    return explained.load_runs([folder, second])


def model_probs(run, pairs, data_dir):
    inputs, _ = next(iter(make_dataset(pairs, data_dir, run.config.features, 64)))
    logits = run.recognizer(inputs)["scene_logits"].numpy()
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_figure_shows_the_models_probabilities(runs, folder):
    figure = explained.explain(runs, "test", pairs=3)
    pairs = [runs[0].pairs_of("test")[place] for place in (5, 13, 21)]
    texts = [text.get_text() for text in figure.texts]
    stems = {pair.stem for pair in runs[0].pairs_of("all")}
    shown = [text for text in texts if text in stems]
    by_stem = {pair.stem: pair for pair in runs[0].pairs_of("test")}
    pairs = [by_stem[stem] for stem in shown]
    assert len({pair.scene for pair in pairs}) == 3
    for run in runs:
        probs = model_probs(run, pairs, folder / "data")
        for row, pair in enumerate(pairs):
            true = labels.scenes().index(pair.scene)
            assert f"p({pair.scene}) = {probs[row, true]:.2f}" in texts
            predicted = labels.scenes()[probs[row].argmax()]
            assert predicted == pair.scene or f"predicts {predicted}" in texts
    assert any("spread evenly over the scenes of 'test'" in text for text in texts)
    joined = " ".join(texts[0].split())
    assert "second label" in joined
    assert "synthetic data" in joined
    assert "training pairs" not in joined


def test_gain_chooses_by_the_probabilities(runs, folder):
    figure = explained.explain(runs, "test", pairs=2, choose="gain")
    pairs = runs[0].pairs_of("test")
    true = [labels.scenes().index(pair.scene) for pair in pairs]
    first, last = (
        model_probs(run, pairs, folder / "data")[np.arange(len(pairs)), true]
        for run in runs
    )
    order = np.argsort(first - last, kind="stable")
    best = []
    for place in order:
        if pairs[place].site not in {pairs[other].site for other in best}:
            best.append(place)
    texts = [text.get_text() for text in figure.texts]
    shown = [text for text in texts if text in {pair.stem for pair in pairs}]
    assert shown == [pairs[place].stem for place in best[:2]]
    note = " ".join(next(t for t in texts if "chosen for the gain" in t).split())
    assert "not representative" in note
    assert f"the mean gain is {(last - first).mean():+.3f}" in note
    with pytest.raises(ValueError, match="received one run"):
        explained.explain(runs[:1], "test", choose="gain")


def test_pairs_by_name_may_be_of_training_and_are_labelled(runs):
    stem = runs[0].pairs_of("training")[0].stem
    figure = explained.explain(runs[:1], "test", stems=[stem])
    texts = [text.get_text() for text in figure.texts]
    assert stem in texts
    assert texts[0].startswith("shows training pairs")
    assert any("chosen by hand" in text for text in texts)


def test_a_run_reads_its_own_log_mel(runs, folder):
    pairs = runs[1].pairs_of("test")[:2]
    seen = looked.look(runs[1], pairs, folder / "data", [0, 1])
    features = runs[1].config.features
    assert seen.log_mel_db.shape == (2, 20, 64)
    assert seen.maps.image is None
    contents = (folder / "data" / pairs[1].sound).read_bytes()
    expected = log_mel_db(waveform_from_bytes(contents, features), features).numpy()
    np.testing.assert_allclose(seen.log_mel_db[1], expected, atol=1e-3)
    path = folder / "data" / pairs[0].image
    shown = looked.shown_image(path, 64).astype(int)
    with Image.open(path) as opened:
        expected = opened.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
    assert np.abs(shown - np.asarray(expected)).mean() < 2


def test_all_runs_must_be_of_one_manifest(folder, tmp_path):
    run = load_run(folder)
    manifest = Manifest(
        run.manifest.pairs,
        run.manifest.splits[::-1],
        run.manifest.protocol,
        run.manifest.split_seed,
    )
    shutil.copy(folder / "best.weights.h5", tmp_path)
    manifest.save(tmp_path / "manifest.csv")
    write_config(tmp_path, run.config, manifest)
    with pytest.raises(ValueError, match="on the same manifest") as caught:
        explained.load_runs([folder, tmp_path])
    assert manifest.sha256[:12] in str(caught.value)
    with pytest.raises(ValueError, match="at least one run"):
        explained.load_runs([])


@pytest.mark.parametrize(
    ("workdirs", "names"),
    [
        (["/r/a", "/r/b"], ["a", "b"]),
        (["/r/event/0", "/r/none/0"], ["event/0", "none/0"]),
        (["/r/event/0"], ["event/0"]),
        (["/x/event/s", "/y/event/s"], ["x/event/s", "y/event/s"]),
        (["/r/a", "/r/a"], ["a", "a"]),
    ],
)
def test_names_tell_runs_apart(workdirs, names):
    assert evaluated.run_names(workdirs) == names
