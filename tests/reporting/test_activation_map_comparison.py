"""Selection of pairs, and activation maps of runs on the same pairs."""

import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from advance_tf import labels
from advance_tf.config_io import to_dict
from advance_tf.data.dataset import make_dataset
from advance_tf.data.manifest import Manifest
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.features.frontend import waveform_from_bytes
from advance_tf.features.log_mel import log_mel_db
from advance_tf.inference.evaluation import run_names
from advance_tf.inference.predictor import Predictor
from advance_tf.models.recognizer import build_recognizer
from advance_tf.reporting import activation_map_comparison as module
from advance_tf.reporting.activation_map_comparison import (
    explain,
    select_by_gain,
    select_by_stem,
)
from advance_tf.reporting.activation_maps import (
    compute_maps,
    display_frontend,
    read_display_image,
)
from advance_tf.reporting.canvas import probability
from advance_tf.runs.calibration import StoredCalibration
from advance_tf.runs.workdir import load_run, write_config
from tests.untrained_run import copy_run, with_limit


def fake_pairs(**counts):
    return [
        Pair(f"{scene}{n}", scene, scene, "", "")
        for scene, count in counts.items()
        for n in range(count)
    ]


def test_select_by_stem_keeps_the_order():
    every = fake_pairs(a=3)
    assert select_by_stem(every, ["a2", "a0"]) == [
        every[2],
        every[0],
    ]
    with pytest.raises(
        ValueError, match=r"received b7\. The manifest has, for example, a0, a1"
    ):
        select_by_stem(every, ["a1", "b7"])
    with pytest.raises(ValueError, match="received a1 more than once"):
        select_by_stem(every, ["a1", "a2", "a1"])


def test_select_by_gain_sorts_sites_by_gain():
    every = fake_pairs(a=2, b=1, c=1)
    selected = select_by_gain(every, [0.5, 0.1, 0.9, 0], [0.6, 0.9, 0.1, 0.3], 2)
    assert [pair.stem for pair in selected] == ["a1", "c0"]


def test_select_by_gain_leaves_out_losses():
    every = fake_pairs(a=2, b=1, c=1)
    selected = select_by_gain(every, [0.5, 0.5, 0.5, 0], [0.4, 0.6, 0.5, 0], 4)
    assert [pair.stem for pair in selected] == ["a1"]
    assert select_by_gain(every, [1, 1, 1, 1], [0, 0, 0, 0], 4) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_run(tmp_path_factory)


@pytest.fixture(scope="module")
def second(folder, tmp_path_factory):
    """A run of the same manifest with other features, without the image."""
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
    files = PairFiles(pairs, data_dir, run.config.features)
    inputs, _ = next(iter(make_dataset(files, 64)))
    logits = run.recognizer(inputs)["scene_logits"].numpy()
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def texts_of(run, name, pair, data_dir):
    """The texts above a run's maps of a pair."""
    (probs,) = model_probs(run, [pair], data_dir)
    true = probs[labels.scenes().index(pair.scene)]
    predicted = labels.scenes()[probs.argmax()]
    error = [] if predicted == pair.scene else [f"predicts {predicted}"]
    return [name, f"p({pair.scene}) = {probability(true)}", *error]


def test_figure_shows_the_probabilities_of_the_models(runs, workdirs, folder):
    figure = explain(workdirs, "test", pairs=3)
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


def test_gain_selects_by_the_probabilities(runs, workdirs, folder):
    figure = explain(workdirs, "test", pairs=2, choose="gain")
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
    note = " ".join(next(t for t in texts if "selected for the gain" in t).split())
    assert "not representative" in note
    assert f"the mean gain is {(last - first).mean():+.3f}" in note
    first_name, last_name = run_names(workdirs)
    assert note.startswith(
        f"Pairs of 'test' on which {last_name} gains most over {first_name} in the "
        "probability of the true scene: selected for the gain, one for each site"
    )
    with pytest.raises(ValueError, match="received one run"):
        explain(workdirs[:1], "test", choose="gain")


def test_gain_is_that_of_the_probabilities_in_the_figure(runs):
    # At this temperature every probability of the last run would be 1/13.
    calibration = StoredCalibration({"scene": 1e6})
    expected = written_texts(explain(runs, "test", pairs=2, choose="gain"))
    last = dataclasses.replace(runs[1], calibration=calibration)
    found = written_texts(explain([runs[0], last], "test", pairs=2, choose="gain"))
    assert found == expected


def test_gain_shows_no_losses(runs, workdirs, folder):
    with pytest.raises(ValueError, match=r"received none .*use `choose=\"spread\"`"):
        explain([folder, folder], "test", choose="gain")
    figure = explain(workdirs, "test", pairs=1000, choose="gain")
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


def test_training_pairs_are_labelled(runs, workdirs):
    stem = runs[0].pairs_of("training")[0].stem
    figure = explain(workdirs[:1], "test", stems=[stem])
    texts = [text.get_text() for text in figure.texts]
    assert stem in texts
    assert texts[0].startswith("shows training pairs")
    assert any("selected by name" in text for text in texts)


def test_each_run_computes_its_own_log_mel(runs, folder):
    pairs = runs[1].pairs_of("test")[:2]
    pair_maps = compute_maps(runs[1], pairs, folder / "data", [0, 1])
    features = runs[1].config.features
    assert pair_maps.log_mel_db.shape == (2, 20, 64)
    assert pair_maps.maps.image is None
    contents = (folder / "data" / pairs[1].sound).read_bytes()
    expected = log_mel_db(waveform_from_bytes(contents, features), features).numpy()
    np.testing.assert_allclose(pair_maps.log_mel_db[1], expected, atol=1e-3)
    path = folder / "data" / pairs[0].image
    image = read_display_image(display_frontend(64), path).astype(int)
    with Image.open(path) as opened:
        expected = opened.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
    assert np.abs(image - np.asarray(expected)).mean() < 2


def test_the_probabilities_of_the_figure_are_those_of_the_evaluation(folder, runs):
    for run in runs:
        pairs = run.pairs_of("test")[:3]
        maps = compute_maps(run, pairs, folder / "data", [0, 1, 2]).maps
        expected = Predictor.from_run(run).predict_pairs(
            pairs, folder / "data", batch_size=3
        )
        np.testing.assert_allclose(maps.scene_probs, expected.scene_probs, atol=1e-6)


def test_images_are_displayed_up_to_the_largest_limit_of_the_runs(runs, display_limits):
    limits = display_limits(module)
    explain([with_limit(runs[0], 70_000_000), runs[1]], "test", pairs=1)
    assert limits == [{"max_image_pixels": 70_000_000}]
    image = np.zeros((30, 30, 3), np.uint8)
    png = tf.io.encode_png(image).numpy()
    assert display_frontend(32, 900).read_image(png).shape == (32, 32, 3)
    with pytest.raises(ValueError, match="at most 899 pixels"):
        display_frontend(32, 899).read_image(png)


def test_rejects_runs_of_different_manifests(folder, tmp_path):
    run = load_run(folder)
    manifest = Manifest(
        run.manifest.pairs,
        run.manifest.splits[::-1],
        run.manifest.protocol,
        run.manifest.split_seed,
    )
    # The folder has no weights: the error comes before any model is loaded.
    manifest.save(tmp_path / "manifest.csv")
    write_config(tmp_path, run.config, manifest)
    with pytest.raises(ValueError, match="must have the same manifest") as caught:
        explain([folder, tmp_path], "test")
    assert manifest.sha256[:12] in str(caught.value)
    with pytest.raises(ValueError, match="at least one run"):
        explain([], "test")
    write_config(tmp_path, run.config, None)
    with pytest.raises(
        ValueError, match="received a run that was converted without data"
    ):
        explain([tmp_path], "test")


def written_texts(figure):
    return [text.get_text() for text in figure.texts]


def test_accepts_loaded_runs_and_folders(runs, workdirs):
    expected = written_texts(explain(workdirs, "test", pairs=1))
    assert written_texts(explain(runs, "test", pairs=1)) == expected
    assert written_texts(explain([runs[0], str(workdirs[1])], pairs=1)) == expected
    alone = written_texts(explain(workdirs[:1], "test", pairs=1))
    for run in (runs[0], workdirs[0], str(workdirs[0])):
        assert written_texts(explain(run, "test", pairs=1)) == alone


def test_data_dir_replaces_that_of_the_run(runs, workdirs, folder, tmp_path):
    elsewhere = tmp_path / "moved"
    shutil.copytree(folder / "data", elsewhere)
    (elsewhere / "NOTICE.txt").write_text("another notice\n")
    for run in (runs[0], workdirs[0]):
        texts = written_texts(explain(run, "test", pairs=1, data_dir=elsewhere))
        assert "another notice" in " ".join(texts[0].split())
    assert runs[0].data_dir == folder / "data"


def test_rejects_an_unknown_selection(workdirs):
    with pytest.raises(ValueError, match="choose must be one of spread, gain; rec"):
        explain(workdirs, "test", choose="best")


def test_loaded_runs_must_have_a_manifest(runs):
    converted = dataclasses.replace(runs[0], manifest=None)
    with pytest.raises(ValueError, match="converted without data"):
        explain(converted)
    with pytest.raises(ValueError, match=r"must have the same manifest.*none"):
        explain([runs[0], converted])
