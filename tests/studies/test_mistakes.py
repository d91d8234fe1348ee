"""The most confident mistakes, and that what explains them adds up."""

import base64
import dataclasses
import io

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image

from advance_tf import labels
from advance_tf.data.dataset import make_dataset
from advance_tf.features.log_mel import log_mel_db
from advance_tf.features.sound import waveform_from_bytes
from advance_tf.studies.embedded import jpeg_uri, sound_uri
from advance_tf.studies.evaluated import evaluate_run
from advance_tf.studies.looked import shown_image
from advance_tf.studies.mistakes import find_mistakes, most_confident
from advance_tf.studies.taught import load_taught_run
from advance_tf.training.workdir import load_run
from advance_tf.visualization import overlay
from advance_tf.visualization.cam import ActivationMaps
from tests.untrained_run import write_run


def contents(uri):
    return io.BytesIO(base64.b64decode(uri.split("base64,", 1)[1]))


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return load_taught_run(write_run(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def evaluation(taught):
    return evaluate_run(taught, "test")


def test_mistakes_are_the_most_confident_of_each_site(evaluation):
    found = most_confident(evaluation, 5)
    confidence = evaluation.scene_probs.max(axis=1)
    wrong = set(np.flatnonzero(evaluation.predicted != evaluation.true))
    assert set(found) <= wrong
    assert list(confidence[found]) == sorted(confidence[found], reverse=True)
    sites = [evaluation.sites[place] for place in found]
    assert len(set(sites)) == 5
    for place in wrong - set(found):
        if evaluation.sites[place] not in sites:
            assert confidence[place] <= confidence[found[-1]]
        else:
            same = found[sites.index(evaluation.sites[place])]
            assert confidence[place] <= confidence[same]
    right = dataclasses.replace(evaluation, predicted=evaluation.true)
    assert most_confident(right, 5) == []


def test_a_mistake_adds_up(taught, evaluation):
    (mistake,) = find_mistakes(taught, evaluation, 1)
    place = most_confident(evaluation, 1)[0]
    probs = evaluation.scene_probs[place]
    names = labels.scenes()
    assert mistake.stem == evaluation.stems[place]
    assert mistake.predicted == names[probs.argmax()]
    assert mistake.scene == names[evaluation.true[place]]
    assert mistake.ranking[0] == (mistake.predicted, pytest.approx(probs.max()))
    assert dict(mistake.ranking)[mistake.scene] == pytest.approx(
        probs[evaluation.true[place]]
    )
    run = taught.run
    pair = run.pairs_of("test")[place]
    features = run.config.features
    inputs, _ = next(iter(make_dataset([pair], taught.data_dir, features, 1)))
    logits = run.recognizer(inputs)["scene_logits"].numpy()[0]
    odds = logits[probs.argmax()] - logits[evaluation.true[place]]
    assert sum(mistake.margins.values()) == pytest.approx(odds, rel=1e-4)
    assert len(mistake.evidence.heard) == 5


def test_pictures_and_sound_are_those_of_the_pair(taught, evaluation):
    (mistake,) = find_mistakes(taught, evaluation, 1)
    root = taught.data_dir
    with Image.open(root / "vision" / mistake.scene / f"{mistake.stem}.jpg") as image:
        original = np.asarray(image.convert("RGB").resize((320, 320)), float)
    shown = np.asarray(Image.open(contents(mistake.image)), float)
    assert np.abs(shown - original).mean() < 6
    for pictures in (mistake.for_predicted, mistake.for_true):
        assert Image.open(contents(pictures.image)).size == (320, 320)
        assert Image.open(contents(pictures.log_mel)).size == (320, 160)
    decoded, rate_hz = soundfile.read(contents(mistake.sound))
    assert rate_hz == 16_000
    assert len(decoded) == pytest.approx(16_000, abs=1200)
    path = root / "sound" / mistake.scene / f"{mistake.stem}.wav"
    original = waveform_from_bytes(path.read_bytes(), taught.run.config.features)
    correlation = np.correlate(decoded, original.numpy(), "full").max()
    assert correlation > 0.9 * np.linalg.norm(decoded) * np.linalg.norm(original)


def balanced(taught):
    """The run with a head to which both towers matter alike, maps of both signs."""
    run = dataclasses.replace(
        taught.run, recognizer=load_run(taught.run.workdir).recognizer
    )
    pairs = run.pairs_of("test")[:8]
    inputs, _ = next(iter(make_dataset(pairs, taught.data_dir, run.config.features, 8)))
    given = {
        "image_tower": inputs["image"],
        "audio_tower": inputs["log_mel"][..., None],
    }
    found = [run.recognizer.get_layer(name)(x).numpy() for name, x in given.items()]
    sizes = np.concatenate([np.full(e.shape[1], np.abs(e).mean()) for e in found])
    kernel = run.recognizer.get_layer("scene_head").kernel
    kernel.assign(kernel.numpy() / sizes[:, None])
    return dataclasses.replace(taught, run=run)


def test_the_overlays_are_of_their_scenes(taught):
    taught = balanced(taught)
    evaluation = evaluate_run(taught, "test")
    (mistake,) = find_mistakes(taught, evaluation, 1)
    place = most_confident(evaluation, 1)[0]
    run, root = taught.run, taught.data_dir
    features, pair = run.config.features, run.pairs_of("test")[place]
    inputs, _ = next(iter(make_dataset([pair], root, features, 1)))
    activation = ActivationMaps(run.recognizer)
    scenes = [evaluation.predicted[place], evaluation.true[place]]
    maps = [activation(inputs, [scene]) for scene in scenes]
    scale = max(np.abs(m).max() for own in maps for m in (own.image, own.log_mel))
    image = shown_image(root / pair.image)
    waveform = waveform_from_bytes((root / pair.sound).read_bytes(), features)
    decibel = log_mel_db(waveform, features).numpy()
    expected = [
        (
            overlay.image_overlay(image, own.image[0], features.image_size, scale),
            overlay.log_mel_overlay(decibel, own.log_mel[0], (160, 320), scale),
        )
        for own in maps
    ]
    for kind in (0, 1):
        apart = np.abs(expected[0][kind].astype(int) - expected[1][kind]).mean()
        assert apart > 5
        for pictures, own in zip(
            (mistake.for_predicted, mistake.for_true), expected, strict=True
        ):
            uri = (pictures.image, pictures.log_mel)[kind]
            decoded = np.asarray(Image.open(contents(uri)), int)
            assert np.abs(decoded - own[kind]).mean() < 3
    names = labels.scenes()
    assert mistake.for_predicted.scene == names[scenes[0]]
    assert mistake.for_true.scene == names[scenes[1]]


def test_without_knowledge_there_is_no_evidence(taught, evaluation):
    alone = dataclasses.replace(taught, knowledge=None)
    (mistake,) = find_mistakes(alone, evaluation, 1)
    assert mistake.evidence is None


def test_a_rate_that_mp3_has_not_becomes_a_wav():
    wave = 2 * np.sin(np.arange(4410) / 20)
    assert sound_uri(wave, 16_000).startswith("data:audio/mpeg;base64,")
    uri = sound_uri(wave, 14_700)
    assert uri.startswith("data:audio/wav;base64,")
    decoded, rate_hz = soundfile.read(contents(uri))
    assert rate_hz == 14_700
    np.testing.assert_allclose(decoded, np.clip(wave, -1, 1), atol=1e-4)


def test_a_jpeg_is_small_and_true():
    picture = np.tile(np.arange(0, 256, 4, np.uint8)[:, None, None], (1, 64, 3))
    uri = jpeg_uri(tf.constant(picture))
    assert len(uri) < 2000
    decoded = np.asarray(Image.open(contents(uri)), int)
    assert np.abs(decoded - picture).max() < 8
