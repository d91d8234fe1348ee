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
from advance_tf.studies import explained, looked
from advance_tf.studies.evaluated import run_names
from advance_tf.training.workdir import load_run, write_config
from advance_tf.visualization.cam import ActivationMaps
from advance_tf.visualization.number_text import probability
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
    return [load_run(folder), load_run(second)]


@pytest.fixture(scope="module")
def workdirs(folder, second):
    return [folder, second]


def model_probs(run, pairs, data_dir):
    inputs, _ = next(iter(make_dataset(pairs, data_dir, run.config.features, 64)))
    logits = run.recognizer(inputs)["scene_logits"].numpy()
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def texts_of(run, name, pair, data_dir):
    """What stands above a run's maps of a pair."""
    (probs,) = model_probs(run, [pair], data_dir)
    true = probs[labels.scenes().index(pair.scene)]
    predicted = labels.scenes()[probs.argmax()]
    says = [] if predicted == pair.scene else [f"predicts {predicted}"]
    return [name, f"p({pair.scene}) = {probability(true)}", *says]


def test_the_figure_shows_the_models_probabilities(runs, workdirs, folder):
    figure = explained.explain(workdirs, "test", pairs=3)
    texts = [text.get_text() for text in figure.texts]
    by_stem = {pair.stem: pair for pair in runs[0].pairs_of("test")}
    pairs = [by_stem[text] for text in texts if text in by_stem]
    assert len({pair.scene for pair in pairs}) == 3
    expected = []
    for pair in pairs:
        expected += [pair.scene, pair.stem]
        for run, name in zip(runs, run_names(workdirs), strict=True):
            expected += texts_of(run, name, pair, folder / "data")
    start = texts.index(pairs[0].scene)
    assert texts[start : start + len(expected)] == expected
    assert len(texts) == start + len(expected) + 1
    assert any("spread evenly over the scenes of 'test'" in text for text in texts)
    joined = " ".join(texts[0].split())
    assert "second label" in joined
    assert "synthetic data" in joined
    assert "training pairs" not in joined


def test_gain_chooses_by_the_probabilities(runs, workdirs, folder):
    figure = explained.explain(workdirs, "test", pairs=2, choose="gain")
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
    first_name, last_name = run_names(workdirs)
    assert note.startswith(
        f"Pairs of 'test' on which {last_name} gains most over {first_name} in the "
        "true scene's probability: chosen for the gain, one of each site"
    )
    with pytest.raises(ValueError, match="received one run"):
        explained.explain(workdirs[:1], "test", choose="gain")


def test_losses_are_never_shown_as_gains(runs, workdirs, folder):
    with pytest.raises(ValueError, match=r"received none .*use --choose=spread"):
        explained.explain([folder, folder], "test", choose="gain")
    figure = explained.explain(workdirs, "test", pairs=1000, choose="gain")
    texts = [text.get_text() for text in figure.texts]
    shown = [text.split("= ")[1] for text in texts if text.startswith("p(")]
    probs = [0 if text.startswith("<") else float(text) for text in shown]
    pairs = runs[0].pairs_of("test")
    true = [labels.scenes().index(pair.scene) for pair in pairs]
    first, last = (
        model_probs(run, pairs, folder / "data")[np.arange(len(pairs)), true]
        for run in runs
    )
    gaining = {pair.site for pair, up in zip(pairs, last > first, strict=True) if up}
    assert 0 < len(gaining) < len({pair.site for pair in pairs})
    assert len(probs) == 2 * len(gaining)
    assert all(
        after >= before for before, after in zip(probs[::2], probs[1::2], strict=True)
    )


def test_pairs_by_name_may_be_of_training_and_are_labelled(runs, workdirs):
    stem = runs[0].pairs_of("training")[0].stem
    figure = explained.explain(workdirs[:1], "test", stems=[stem])
    texts = [text.get_text() for text in figure.texts]
    assert stem in texts
    assert texts[0].startswith("shows training pairs")
    assert any("chosen by hand" in text for text in texts)


def test_the_maps_are_those_of_the_wanted_scenes(runs, folder):
    """Two scenes of each of eleven pairs: in batches, each its own."""
    pairs = runs[0].pairs_of("test")[:11]
    scenes = np.random.default_rng(0).permuted(np.tile(np.arange(13), (11, 1)), axis=1)
    found = looked.look(runs[0], pairs, folder / "data", scenes[:, :2]).maps
    dataset = make_dataset(pairs, folder / "data", runs[0].config.features, 11)
    inputs, _ = next(iter(dataset))
    activation = ActivationMaps(runs[0].recognizer)
    for column in (0, 1):
        expected = activation(inputs, scenes[:, column])
        for name in ("image", "log_mel"):
            wanted = getattr(expected, name)
            assert np.ptp(wanted) > 0
            received = getattr(found, name)[:, column]
            np.testing.assert_allclose(received, wanted, rtol=1e-4, atol=1e-6)
            other = getattr(found, name)[:, 1 - column]
            assert not np.allclose(other, wanted, rtol=1e-4, atol=1e-6)
    for name in ("image_logits", "sound_logits", "scene_probs", "bias"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-6
        )
    single = looked.look(runs[0], pairs, folder / "data", scenes[:, 1]).maps
    np.testing.assert_allclose(single.image, found.image[:, 1], rtol=1e-5)


def test_a_batch_holds_eight_pairs_at_most(runs, folder, monkeypatch):
    sizes = []

    def make(pairs, data_dir, features, batch_size):
        sizes.append(batch_size)
        return make_dataset(pairs, data_dir, features, batch_size)

    monkeypatch.setattr(looked, "make_dataset", make)
    pairs = runs[0].pairs_of("test")[:3]
    training = dataclasses.replace(runs[0].config.training, batch_size=2)
    config = dataclasses.replace(runs[0].config, training=training)
    for run in (runs[0], dataclasses.replace(runs[0], config=config)):
        seen = looked.look(run, pairs, folder / "data", [0, 1, 2])
        assert len(seen.log_mel_db) == len(seen.maps.image) == 3
    assert sizes == [8, 2]


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
    # Neither weights: what cannot be compared is refused before any is loaded.
    manifest.save(tmp_path / "manifest.csv")
    write_config(tmp_path, run.config, manifest)
    with pytest.raises(ValueError, match="on the same manifest") as caught:
        explained.explain([folder, tmp_path], "test")
    assert manifest.sha256[:12] in str(caught.value)
    with pytest.raises(ValueError, match="at least one run"):
        explained.explain([], "test")
    write_config(tmp_path, run.config, None)
    with pytest.raises(ValueError, match="it was converted without data"):
        explained.explain([tmp_path], "test")
