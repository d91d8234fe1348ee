"""WAV bytes → clip: eager, compiled and inside a data set."""

import dataclasses
import struct

import numpy as np
import pytest
import soxr
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features.errors import MediaError
from advance_tf.features.waveform import (
    check_rate,
    clip_from_samples,
    fit_clip,
    is_longer_than_clip,
    mono_waveform,
    recording_from_bytes,
    waveform_from_bytes,
)

FEATURES = FeatureConfig(clip_seconds=0.5)


@pytest.mark.parametrize(
    ("count", "offset", "expected"),
    [
        (5, 0.5, [0, 1, 2, 3, 4]),
        (2, 0.5, [0, 1, 0, 1, 0]),
        (3, 0.9, [0, 1, 2, 0, 1]),
        (9, 0.0, [0, 1, 2, 3, 4]),
        (9, 0.5, [2, 3, 4, 5, 6]),
        (9, 1.0, [4, 5, 6, 7, 8]),
    ],
)
def test_fit_clip_repeats_short_and_cuts_long_waveforms(count, offset, expected):
    wave = tf.range(count, dtype=tf.float32)
    np.testing.assert_array_equal(fit_clip(wave, 5, offset), expected)
    traced = tf.function(lambda w, o: fit_clip(w, 5, o))
    np.testing.assert_array_equal(traced(wave, offset), expected)


def test_fit_clip_reaches_every_position_equally_often():
    wave = tf.range(8, dtype=tf.float32)
    starts = [int(fit_clip(wave, 5, o)[0]) for o in np.linspace(0, 0.999, 400)]
    assert np.bincount(starts).tolist() == [100] * 4


def pcm_bytes(samples, rate_hz):
    """A mono WAV file with 16 bits per sample."""
    body = np.round(samples * 2**15).astype("<i2").tobytes()
    fmt = struct.pack("<HHIIHH", 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    chunks = b"fmt " + struct.pack("<I", 16) + fmt
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def tones(count, rate_hz):
    """Tones below 3 kHz that fade in and out."""
    steps = np.arange(count) / rate_hz
    fade = np.sin(np.pi * np.arange(count) / count) ** 2
    total = sum(np.sin(2 * np.pi * hz * steps) for hz in (310, 997, 2_900))
    return 0.3 * fade * total


def run_eagerly(contents, offset=0.5):
    return waveform_from_bytes(tf.constant(contents), FEATURES, offset).numpy()


def run_compiled(contents, offset=0.5):
    traced = tf.function(lambda data, at: waveform_from_bytes(data, FEATURES, at))
    return traced(tf.constant(contents), tf.constant(offset)).numpy()


def run_in_dataset(contents, offset=0.5):
    dataset = tf.data.Dataset.from_tensors(contents).map(
        lambda data: waveform_from_bytes(data, FEATURES, offset), num_parallel_calls=2
    )
    return next(iter(dataset)).numpy()


RUNS = [run_eagerly, run_compiled, run_in_dataset]


@pytest.mark.parametrize("run", RUNS)
def test_short_sound_is_resampled_then_repeated(run):
    samples = tones(6_000, 22_050)
    once = soxr.resample(samples, 22_050, 16_000, quality="VHQ")
    found = run(pcm_bytes(samples, 22_050))
    assert found.shape == (8_000,)
    # ceil(6000 · 16000 / 22050) samples, then again from the start.
    assert len(once) in (4_353, 4_354)
    np.testing.assert_allclose(found[:4_300], once[:4_300], atol=1e-3)
    np.testing.assert_array_equal(found[4_354:], found[: 8_000 - 4_354])


@pytest.mark.parametrize("run", RUNS)
def test_long_sound_is_cut_at_the_offset(run):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 12_001)
    contents = pcm_bytes(samples, 16_000)
    quantized = np.round(samples * 2**15).astype(np.int16) / np.float32(2**15)
    for offset, start in ((0.0, 0), (0.5, 2_001), (0.999999, 4_001)):
        found = run(contents, offset)
        np.testing.assert_array_equal(found, quantized[start : start + 8_000])


@pytest.mark.parametrize("rate_hz", [8_001, 22_050, 44_100])
@pytest.mark.parametrize("seconds", [0.3, 0.5, 4.2])
def test_clip_is_that_of_the_complete_recording(rate_hz, seconds):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(rate_hz * seconds))
    contents = tf.constant(pcm_bytes(samples, rate_hz))
    recording = recording_from_bytes(contents, FEATURES)
    for offset in (0.0, 0.37, 0.5, 0.9999):
        expected = fit_clip(recording, FEATURES.clip_samples, offset)
        found = waveform_from_bytes(contents, FEATURES, offset)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert bool(is_longer_than_clip(contents, FEATURES)) == (seconds > 0.5)


def test_only_the_inputs_of_a_clip_are_read():
    """Of an hour at 48 kHz, the part begins at a whole second before the clip."""
    ranges = []

    def read(first, count):
        ranges.append((int(first), int(count)))
        return tf.zeros([int(count)])

    hour = tf.constant(3_600 * 48_000, tf.int64)
    assert clip_from_samples(read, hour, 48_000, FEATURES).shape == (8_000,)
    assert ranges == [(1_799 * 48_000, 48_000 + 12_000 - 12_000 + 12_000 + 194)]


def test_recording_keeps_its_length():
    contents = pcm_bytes(tones(30_000, 48_000), 48_000)
    assert len(recording_from_bytes(tf.constant(contents), FEATURES)) == 10_000


def test_recording_has_the_rate_of_the_features():
    features = dataclasses.replace(FEATURES, sample_rate_hz=8_000, mel_max_hz=4_000.0)
    contents = pcm_bytes(tones(30_000, 48_000), 48_000)
    assert len(recording_from_bytes(tf.constant(contents), features)) == 5_000


@pytest.mark.parametrize("run", RUNS)
def test_damaged_sound_raises(run):
    complete = pcm_bytes(tones(100, 16_000), 16_000)
    for contents in (b"", complete[:-3]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="valid WAV file"):
            run(contents)


def test_damaged_sound_in_a_parallel_map_names_its_file(tmp_path):
    paths = [str(tmp_path / f"{number}.wav") for number in range(4)]
    for number, path in enumerate(paths):
        complete = pcm_bytes(tones(100, 16_000), 16_000)
        with open(path, "wb") as file:
            file.write(complete[:-1] if number == 2 else complete)
    dataset = tf.data.Dataset.from_tensor_slices(paths).map(
        lambda path: waveform_from_bytes(tf.io.read_file(path), FEATURES, name=path),
        num_parallel_calls=2,
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        list(dataset)
    assert paths[2] in raised.value.message
    assert "truncated" in raised.value.message


def test_mono_waveform_averages_channels():
    stereo = np.array([[0.5, -0.5], [1.0, 0.0]], np.float64)
    found = mono_waveform(stereo)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [0.0, 0.5])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(3, np.int16), r"received int16 \[3\]. Divide int16"),
        (np.zeros((3, 9)), r"received float64 \[3, 9\]"),
        (np.zeros(0), "at least one sample"),
        (np.array([0.0, np.nan]), "must be finite"),
        (np.array([0.0, np.inf], np.float16), "must be finite"),
        (np.array([[0.0], [1e20]]), "must be finite and within ±65536; received NaN"),
    ],
)
def test_mono_waveform_raises_for_invalid_arrays(samples, message):
    with pytest.raises(MediaError, match=message):
        mono_waveform(samples)


@pytest.mark.parametrize("rate_hz", [22_050, 22_050.0, np.int64(22_050)])
def test_an_integral_rate_is_an_int(rate_hz):
    found = check_rate(rate_hz)
    assert (found, type(found)) == (22_050, int)


@pytest.mark.parametrize(
    ("rate_hz", "message"),
    [
        (None, "`rate_hz` of a sound array must be 8000 to 192000 Hz"),
        (7_999, "received 7999"),
        (22_050.5, "an integral number; received 22050.5"),
        ("22050", "received '22050'"),
        (np.nan, "received nan"),
    ],
)
def test_another_rate_is_refused(rate_hz, message):
    with pytest.raises(MediaError, match=message):
        check_rate(rate_hz)
