"""The evidence of events, and the explanation of the most confident errors."""

import base64
import dataclasses
import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from advance_tf import labels
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.features.frontend import waveform_from_bytes
from advance_tf.features.log_mel import log_mel_db
from advance_tf.inference.evaluation import evaluate
from advance_tf.models.backbones.contract import CellCentres
from advance_tf.reporting import error_analysis, overlay
from advance_tf.reporting.activation_maps import (
    ActivationMaps,
    display_frontend,
    read_display_image,
)
from advance_tf.reporting.error_analysis import (
    find_evidence,
    find_misclassifications,
    most_confident_errors,
    weights_of_evidence,
)
from advance_tf.runs.workdir import load_run
from advance_tf.teacher.knowledge import EventKnowledge
from tests.untrained_run import copy_run, with_limit


def divergence(y, p):
    return y * np.log(y / p) + (1 - y) * np.log((1 - y) / (1 - p))


def test_weights_are_differences_of_divergences():
    y, p, q = np.random.default_rng(0).uniform(0.01, 0.99, (3, 50))
    expected = divergence(y, p) - divergence(y, q)
    np.testing.assert_allclose(weights_of_evidence(y, p, q), expected, atol=1e-12)
    np.testing.assert_allclose(weights_of_evidence(y, q, p), -expected, atol=1e-12)
    assert weights_of_evidence([0.9], [0.1], [0.8])[0] > 0
    assert np.isfinite(weights_of_evidence([0.5, 0.5], [0.0, 1.0], [1.0, 0.0])).all()


@pytest.fixture
def knowledge():
    rng = np.random.default_rng(1)
    mask = np.arange(527) != 3
    return EventKnowledge(
        keys=(("beach", "00001"), ("lake", "00002")),
        teacher_logits=rng.normal(size=(2, 527)).astype(np.float32),
        event_mask=mask,
        posteriors=np.where(mask, rng.uniform(0.01, 0.9, (13, 527)), 0).astype("f4"),
        relevances={},
        teacher="random",
        teacher_sha256="",
        manifest_sha256="",
    )


def test_evidence_has_covered_events_of_the_pair(knowledge):
    knowledge.teacher_logits[1, 3] = 9.0
    lake, beach = (labels.scenes().index(name) for name in ("lake", "beach"))
    evidence = find_evidence(knowledge, Pair("00002", "lake", "00002", "", ""), beach)
    y = 1 / (1 + np.exp(-knowledge.teacher_logits[1].astype(np.float64)))
    weights = weights_of_evidence(
        y, knowledge.posteriors[lake], knowledge.posteriors[beach]
    )
    weights[3] = 0
    y[3] = 0
    highest = np.argsort(-y)[:5]
    names = [labels.events()[place].name for place in highest]
    assert [event.name for event in evidence.highest_scored] == names
    first = evidence.highest_scored[0]
    assert first.score == pytest.approx(y[highest[0]], rel=1e-5)
    assert first.true_posterior == pytest.approx(knowledge.posteriors[lake, highest[0]])
    assert first.predicted_posterior == pytest.approx(
        knowledge.posteriors[beach, highest[0]]
    )
    assert first.weight == pytest.approx(weights[highest[0]], rel=1e-4)
    rest = [place for place in np.argsort(-np.abs(weights)) if place not in highest]
    assert [event.name for event in evidence.strongest] == [
        labels.events()[place].name for place in rest[:3]
    ]
    assert evidence.total == pytest.approx(weights.sum(), rel=1e-4)


def contents(uri):
    return io.BytesIO(base64.b64decode(uri.split("base64,", 1)[1]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(copy_run(tmp_path_factory))


@pytest.fixture(scope="module")
def evaluation(run):
    return evaluate(run, "test")


def test_selects_the_most_confident_errors_of_each_site(evaluation):
    found = most_confident_errors(evaluation, 5)
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
    assert most_confident_errors(right, 5) == []


def test_margins_add_up_to_the_log_odds(run, evaluation):
    (error,) = find_misclassifications(run, evaluation, 1)
    place = most_confident_errors(evaluation, 1)[0]
    probs = evaluation.scene_probs[place]
    names = labels.scenes()
    assert error.stem == evaluation.stems[place]
    assert error.predicted == names[probs.argmax()]
    assert error.scene == names[evaluation.true[place]]
    assert error.ranking[0] == (error.predicted, pytest.approx(probs.max()))
    assert dict(error.ranking)[error.scene] == pytest.approx(
        probs[evaluation.true[place]]
    )
    pair = run.pairs_of("test")[place]
    features = run.config.features
    inputs, _ = next(iter(make_dataset(PairFiles([pair], run.data_dir, features), 1)))
    logits = run.recognizer(inputs)["scene_logits"].numpy()[0]
    odds = logits[probs.argmax()] - logits[evaluation.true[place]]
    assert sum(error.margins.values()) == pytest.approx(odds, rel=1e-4)
    assert len(error.evidence.highest_scored) == 5


def test_pictures_and_sound_are_of_the_pair(run, evaluation):
    (error,) = find_misclassifications(run, evaluation, 1)
    root = run.data_dir
    with Image.open(root / "vision" / error.scene / f"{error.stem}.jpg") as image:
        original = np.asarray(image.convert("RGB").resize((320, 320)), float)
    picture = np.asarray(Image.open(contents(error.image)), float)
    assert np.abs(picture - original).mean() < 6
    for pictures in (error.for_predicted, error.for_true):
        assert Image.open(contents(pictures.image)).size == (320, 320)
        assert Image.open(contents(pictures.log_mel)).size == (320, 160)
    decoded, rate_hz = soundfile.read(contents(error.sound))
    assert rate_hz == 16_000
    assert len(decoded) == pytest.approx(16_000, abs=1200)
    path = root / "sound" / error.scene / f"{error.stem}.wav"
    original = waveform_from_bytes(path.read_bytes(), run.config.features)
    correlation = np.correlate(decoded, original.numpy(), "full").max()
    assert correlation > 0.9 * np.linalg.norm(decoded) * np.linalg.norm(original)


def balanced(run):
    """The run with a head that gives both towers equal influence."""
    run = dataclasses.replace(run, recognizer=load_run(run.workdir).recognizer)
    pairs = run.pairs_of("test")[:8]
    files = PairFiles(pairs, run.data_dir, run.config.features)
    inputs, _ = next(iter(make_dataset(files, 8)))
    inputs_of = {
        "image_tower": inputs["image"],
        "audio_tower": inputs["log_mel"][..., None],
    }
    embeddings = [
        run.recognizer.get_layer(name)(x).numpy() for name, x in inputs_of.items()
    ]
    sizes = np.concatenate([np.full(e.shape[1], np.abs(e).mean()) for e in embeddings])
    kernel = run.recognizer.get_layer("scene_head").kernel
    drawn = np.random.default_rng(0).normal(size=kernel.shape)
    kernel.assign(drawn / sizes[:, None])
    return run


def test_overlays_are_of_their_scenes(run):
    run = balanced(run)
    evaluation = evaluate(run, "test")
    (error,) = find_misclassifications(run, evaluation, 1)
    place = most_confident_errors(evaluation, 1)[0]
    root = run.data_dir
    features, pair = run.config.features, run.pairs_of("test")[place]
    inputs, _ = next(iter(make_dataset(PairFiles([pair], root, features), 1)))
    activation = ActivationMaps(run.recognizer)
    scenes = [evaluation.predicted[place], evaluation.true[place]]
    maps = [activation(inputs, [scene]) for scene in scenes]
    scale = max(np.abs(m).max() for own in maps for m in (own.image, own.log_mel))
    image = read_display_image(display_frontend(), root / pair.image)
    waveform = waveform_from_bytes((root / pair.sound).read_bytes(), features)
    decibel = log_mel_db(waveform, features).numpy()
    expected = [
        (
            overlay.image_overlay(image, own.image[0], features.image_size, scale),
            overlay.log_mel_overlay(
                decibel, own.log_mel[0], (160, 320), scale, (CellCentres(16, 0),) * 2
            ),
        )
        for own in maps
    ]
    for kind in (0, 1):
        difference = np.abs(expected[0][kind].astype(int) - expected[1][kind]).mean()
        assert difference > 5
        for pictures, own in zip(
            (error.for_predicted, error.for_true), expected, strict=True
        ):
            uri = (pictures.image, pictures.log_mel)[kind]
            decoded = np.asarray(Image.open(contents(uri)), int)
            assert np.abs(decoded - own[kind]).mean() < 3
    names = labels.scenes()
    assert error.for_predicted.scene == names[scenes[0]]
    assert error.for_true.scene == names[scenes[1]]


def test_no_evidence_without_knowledge(run, evaluation):
    alone = dataclasses.replace(run, knowledge=None)
    (error,) = find_misclassifications(alone, evaluation, 1)
    assert error.evidence is None


def test_images_are_displayed_up_to_the_limit_of_the_run(
    run, evaluation, display_limits
):
    limits = display_limits(error_analysis)
    find_misclassifications(with_limit(run, 70_000_000), evaluation, 1)
    assert limits == [{"max_image_pixels": 70_000_000}]


def test_accepts_the_folder_of_a_run(run, evaluation):
    (expected,) = find_misclassifications(run, evaluation, 1)
    (error,) = find_misclassifications(str(run.workdir), evaluation, 1)
    assert (error.stem, error.ranking) == (expected.stem, expected.ranking)
    assert error.evidence == expected.evidence
