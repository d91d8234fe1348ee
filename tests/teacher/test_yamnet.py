"""YAMNet: windows, scores and labels, on a LiteRT file with its interface."""

import os
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from advance_tf import labels
from advance_tf.teacher.yamnet import (
    HOP_SAMPLES,
    WINDOW_SAMPLES,
    Yamnet,
    frame_windows,
    score_logits,
)

# YAMNet's own file is not part of the repository. Where this variable names it, one
# more test is defined.
REAL = os.environ.get("ADVANCE_TF_YAMNET")
RNG = np.random.default_rng(2)
# The made file covers these events, in this order.
KNOWN = RNG.permutation(527)[:521]
GAINS = RNG.normal(size=521).astype(np.float32)


def write_tflite(path, names, samples=WINDOW_SAMPLES):
    """A LiteRT file whose scores are σ(gain · 10 · mean square), with labels."""

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
    names = [labels.events()[index].name for index in KNOWN]
    return write_tflite(tmp_path_factory.mktemp("made") / "made.tflite", names)


def test_windows_cover_the_clip_every_hop():
    wave = np.arange(1, 160_001, dtype=np.float32)[None]
    windows = frame_windows(wave)
    assert windows.shape == (1, 20, WINDOW_SAMPLES)
    for index in range(20):
        own = wave[0, index * HOP_SAMPLES :][:WINDOW_SAMPLES]
        np.testing.assert_array_equal(windows[0, index, : len(own)], own)
        assert not windows[0, index, len(own) :].any()
    assert windows[0].max() == 160_000


@pytest.mark.parametrize(
    ("samples", "count"),
    [(1, 1), (15_600, 1), (15_601, 2), (15_600 + 7_680, 2), (160_000, 20)],
)
def test_as_many_windows_as_it_takes(samples, count):
    assert frame_windows(np.ones((2, samples))).shape == (2, count, WINDOW_SAMPLES)


def test_logits_of_scores_are_bounded():
    received = score_logits([0.0, 5e-5, 1e-4, 0.25, 0.5, 1.0])
    low = np.log(1e-4 / (1 - 1e-4))
    expected = [low, low, low, np.log(1 / 3), 0, -low]
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-7)
    assert received.dtype == np.float32


def test_a_clip_has_the_mean_score_of_its_windows(path):
    teacher = Yamnet(path, threads=3)
    waves = np.float32(RNG.normal(size=(7, 40_000)) * RNG.random((7, 1)))
    power = np.square(np.float64(frame_windows(waves))).mean(axis=2)
    scores = (1 / (1 + np.exp(-10 * power[..., None] * GAINS))).mean(axis=1)
    received = teacher.logits(waves)
    assert received.shape == (7, 527)
    np.testing.assert_allclose(
        received[:, KNOWN], score_logits(scores), rtol=1e-4, atol=1e-4
    )
    lacking = np.setdiff1d(np.arange(527), KNOWN)
    assert (received[:, lacking] == score_logits(0.0)).all()
    np.testing.assert_array_equal(np.flatnonzero(~teacher.event_mask), lacking)


def test_threads_change_nothing(path):
    waves = np.float32(RNG.normal(size=(9, 20_000)))
    one, four = (Yamnet(path, threads=n).logits(waves) for n in (1, 4))
    np.testing.assert_array_equal(one, four)


def test_other_files_and_rates_are_refused(path, tmp_path):
    with pytest.raises(ValueError, match="16000 Hz; received --sample_rate_hz=22050"):
        Yamnet(path, 22_050)
    with pytest.raises(ValueError, match="with its label list inside"):
        Yamnet(write_tflite(tmp_path / "bare.tflite", None))
    names = [labels.events()[index].name for index in KNOWN]
    for changed, message in (
        (["Sound of silence", *names[1:]], "unknown: Sound of silence"),
        ([names[1], *names[1:]], "521 labels, 520 different"),
        (names[:-1], "received 520 labels"),
    ):
        with pytest.raises(ValueError, match=message):
            Yamnet(write_tflite(tmp_path / "other.tflite", changed))
    with pytest.raises(ValueError, match=r"turns \[8000\] into \[1, 521\]"):
        Yamnet(write_tflite(tmp_path / "short.tflite", names, samples=8000))


if REAL:

    def test_yamnet_itself_covers_all_but_six_events_and_recognises_a_tone():
        teacher = Yamnet(REAL)
        lacking = [
            event.name
            for event in labels.events()
            if not teacher.event_mask[event.index]
        ]
        assert lacking == [
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
        found = [labels.events()[row.argmax()].name for row in logits]
        assert found[0] == "Silence"
        assert found[1] in ("Sine wave", "Beep, bleep", "Busy signal", "Dial tone")
        assert found[2] in (
            "White noise",
            "Static",
            "Noise",
            "Waterfall",
            "Spray",
            "Rain",
        )
