"""Teachers: YAMNet, on a LiteRT file with its interface, and an audio tower."""

import os
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize
from advance_tf.models.recognizer import build_audio_tagger
from advance_tf.teacher.loading import load_teacher
from advance_tf.teacher.models import (
    HOP_SAMPLES,
    WINDOW_SAMPLES,
    TowerTeacher,
    Yamnet,
    frame_windows,
    score_logits,
    teacher_features,
)

# The original YAMNet file is not part of the repository. If this variable names it, one
# more test is defined.
YAMNET = os.environ.get("ADVANCE_TF_YAMNET")
RNG = np.random.default_rng(2)
# The fabricated file covers these events, in this order.
COVERED = RNG.permutation(527)[:521]
GAINS = RNG.normal(size=521).astype(np.float32)
FEATURES = FeatureConfig(clip_seconds=1.0)


def write_tflite(path, names, samples=WINDOW_SAMPLES):
    """Writes a LiteRT file whose scores are σ(gain · 10 · mean square), with labels."""

    @tf.function(input_signature=[tf.TensorSpec([samples], tf.float32)])
    def scores(waveform):
        power = tf.reduce_mean(tf.square(waveform))
        return tf.sigmoid(10.0 * power * tf.constant(GAINS))[tf.newaxis]

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [scores.get_concrete_function()], None
    )
    path.write_bytes(converter.convert())
    if names is not None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("labels.txt", "\n".join(names))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    names = [labels.events()[index].name for index in COVERED]
    return write_tflite(tmp_path_factory.mktemp("teacher") / "yamnet.tflite", names)


def test_windows_cover_the_clip_every_hop():
    wave = np.arange(1, 160_001, dtype=np.float32)[None]
    windows = frame_windows(wave)
    assert windows.shape == (1, 20, WINDOW_SAMPLES)
    for index in range(20):
        samples = wave[0, index * HOP_SAMPLES :][:WINDOW_SAMPLES]
        np.testing.assert_array_equal(windows[0, index, : len(samples)], samples)
        assert not windows[0, index, len(samples) :].any()
    assert windows[0].max() == 160_000


@pytest.mark.parametrize(
    ("samples", "count"),
    [(1, 1), (15_600, 1), (15_601, 2), (15_600 + 7_680, 2), (160_000, 20)],
)
def test_number_of_windows(samples, count):
    assert frame_windows(np.ones((2, samples))).shape == (2, count, WINDOW_SAMPLES)


def test_logits_of_scores_are_bounded():
    received = score_logits([0.0, 5e-5, 1e-4, 0.25, 0.5, 1.0])
    low = np.log(1e-4 / (1 - 1e-4))
    expected = [low, low, low, np.log(1 / 3), 0, -low]
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-7)
    assert received.dtype == np.float32


def test_clip_scores_are_means_over_windows(path):
    teacher = Yamnet(path, threads=3)
    waves = np.float32(RNG.normal(size=(7, 40_000)) * RNG.random((7, 1)))
    power = np.square(np.float64(frame_windows(waves))).mean(axis=2)
    scores = (1 / (1 + np.exp(-10 * power[..., None] * GAINS))).mean(axis=1)
    received = teacher.logits(waves)
    assert received.shape == (7, 527)
    np.testing.assert_allclose(
        received[:, COVERED], score_logits(scores), rtol=1e-4, atol=1e-4
    )
    uncovered = np.setdiff1d(np.arange(527), COVERED)
    assert (received[:, uncovered] == score_logits(0.0)).all()
    np.testing.assert_array_equal(np.flatnonzero(~teacher.event_mask), uncovered)


def test_threads_do_not_affect_the_logits(path):
    waves = np.float32(RNG.normal(size=(9, 20_000)))
    one, four = (Yamnet(path, threads=n).logits(waves) for n in (1, 4))
    np.testing.assert_array_equal(one, four)


def test_the_file_scores_clips_at_16_khz_in_runs_of_every_rate(path):
    features = FeatureConfig(clip_seconds=1.0, sample_rate_hz=48_000, mel_max_hz=2e4)
    teacher = load_teacher(path, features)
    assert isinstance(teacher, Yamnet)
    own = teacher_features(teacher, features)
    assert (own.sample_rate_hz, own.clip_samples) == (16_000, 16_000)
    waves = np.float32(RNG.normal(size=(2, own.clip_samples)))
    np.testing.assert_array_equal(teacher.logits(waves), Yamnet(path).logits(waves))


def test_other_files_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="with an embedded label list"):
        Yamnet(write_tflite(tmp_path / "bare.tflite", None))
    names = [labels.events()[index].name for index in COVERED]
    for changed, message in (
        (["Sound of silence", *names[1:]], "unknown: Sound of silence"),
        ([names[1], *names[1:]], "521 labels, 520 different"),
        (names[:-1], "received 520 labels"),
    ):
        with pytest.raises(ValueError, match=message):
            Yamnet(write_tflite(tmp_path / "other.tflite", changed))
    with pytest.raises(ValueError, match=r"maps \[8000\] to \[1, 521\]"):
        Yamnet(write_tflite(tmp_path / "short.tflite", names, samples=8000))


@pytest.fixture(scope="module")
def tagger():
    keras.utils.set_random_seed(0)
    return build_audio_tagger(ModelConfig(audio_depth=10, audio_width=4), FEATURES)


def test_tower_logits_are_those_of_the_tagger_on_the_log_mel(tagger):
    teacher = TowerTeacher(tagger, FEATURES, "e" * 64)
    waves = np.float32(np.random.default_rng(0).normal(0, 0.1, (3, 16_000)))
    before = [variable.numpy() for variable in tagger.variables]
    received = teacher.logits(waves)
    log_mel = normalize(log_mel_db(waves, FEATURES), load_stats(FEATURES))
    expected = tagger({"log_mel": log_mel}, training=False)["event_logits"]
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)
    assert received.shape == (3, 527)
    assert np.ptp(received, axis=0).max() > 1e-3
    for variable, previous in zip(tagger.variables, before, strict=True):
        np.testing.assert_array_equal(variable, previous)
    assert teacher.event_mask.shape == (527,)
    assert teacher.event_mask.all()


def test_the_hash_changes_with_weights_and_front_end_only(tagger, tmp_path):
    def sha256(weights="e" * 64, **settings):
        features = FeatureConfig(clip_seconds=1.0, **settings)
        return TowerTeacher(tagger, features, weights).sha256

    stats = tmp_path / "stats.csv"
    rows = [f"{index},{-10 - index},{8}" for index in range(64)]
    stats.write_text("\n".join(["mel_bin,mean_db,std_db", *rows]) + "\n")
    hashes = [
        sha256(),
        sha256("f" * 64),
        sha256(window_samples=800),
        sha256(mel_max_hz=7600.0),
        sha256(log_mel_stats=str(stats)),
        sha256(log_mel_precision="float64"),
    ]
    copy = tmp_path / "copy.csv"
    copy.write_bytes(stats.read_bytes())
    stats.write_text(stats.read_text().replace(",8", ",9"))
    hashes.append(sha256(log_mel_stats=str(stats)))
    assert len(set(hashes)) == 7
    assert sha256(log_mel_stats=str(copy)) == hashes[4]
    assert sha256(image_size=64, image_resize="nearest") == sha256()
    assert sha256(jpeg_scaling=True, max_image_pixels=100) == sha256()
    # The hash of version 0.1.0, which had no `log_mel_precision`.
    assert hashes[5].startswith("b10d625b2dc03589")


if YAMNET:

    def test_the_original_yamnet_covers_all_but_six_events_and_detects_a_tone():
        teacher = Yamnet(YAMNET)
        uncovered = [
            event.name
            for event in labels.events()
            if not teacher.event_mask[event.index]
        ]
        assert uncovered == [
            "Male speech, man speaking",
            "Female speech, woman speaking",
            "Battle cry",
            "Male singing",
            "Female singing",
            "Funny music",
        ]
        time_seconds = np.arange(160_000) / 16_000
        tone = 0.3 * np.sin(2 * np.pi * 1000 * time_seconds)
        noise = np.random.default_rng(0).normal(0, 0.1, 160_000)
        logits = teacher.logits(np.float32([np.zeros(160_000), tone, noise]))
        predicted = [labels.events()[row.argmax()].name for row in logits]
        assert predicted[0] == "Silence"
        assert predicted[1] in ("Sine wave", "Beep, bleep", "Busy signal", "Dial tone")
        assert predicted[2] in (
            "White noise",
            "Static",
            "Noise",
            "Waterfall",
            "Spray",
            "Rain",
        )
