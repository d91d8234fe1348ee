"""Bytes of a sound → clip, the same eagerly, compiled and in a dataset."""

import dataclasses
import struct

import numpy as np
import pytest
import soxr
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features.sound import recording_from_bytes, waveform_from_bytes

FEATURES = FeatureConfig(clip_seconds=0.5)


def pcm_bytes(samples, rate_hz):
    """A mono WAV file of 16 bits."""
    body = np.round(samples * 2**15).astype("<i2").tobytes()
    fmt = struct.pack("<HHIIHH", 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    chunks = b"fmt " + struct.pack("<I", 16) + fmt
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def smooth(count, rate_hz):
    """Tones below 3 kHz that fade in and out."""
    steps = np.arange(count) / rate_hz
    fade = np.sin(np.pi * np.arange(count) / count) ** 2
    tones = sum(np.sin(2 * np.pi * hz * steps) for hz in (310, 997, 2_900))
    return 0.3 * fade * tones


def eager(contents, offset=0.5):
    return waveform_from_bytes(tf.constant(contents), FEATURES, offset).numpy()


def compiled(contents, offset=0.5):
    traced = tf.function(lambda data, at: waveform_from_bytes(data, FEATURES, at))
    return traced(tf.constant(contents), tf.constant(offset)).numpy()


def in_dataset(contents, offset=0.5):
    dataset = tf.data.Dataset.from_tensors(contents).map(
        lambda data: waveform_from_bytes(data, FEATURES, offset), num_parallel_calls=2
    )
    return next(iter(dataset)).numpy()


RUNS = [eager, compiled, in_dataset]


@pytest.mark.parametrize("run", RUNS)
def test_a_short_sound_is_resampled_then_repeated(run):
    samples = smooth(6_000, 22_050)
    once = soxr.resample(samples, 22_050, 16_000, quality="VHQ")
    found = run(pcm_bytes(samples, 22_050))
    assert found.shape == (8_000,)
    # ceil(6000 · 16000 / 22050) samples, then from the beginning.
    assert len(once) in (4_353, 4_354)
    np.testing.assert_allclose(found[:4_300], once[:4_300], atol=1e-3)
    np.testing.assert_array_equal(found[4_354:], found[: 8_000 - 4_354])


@pytest.mark.parametrize("run", RUNS)
def test_a_longer_sound_is_cut_in_its_middle_or_where_told(run):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 12_001)
    contents = pcm_bytes(samples, 16_000)
    whole = np.round(samples * 2**15).astype(np.int16) / np.float32(2**15)
    for offset, start in ((0.0, 0), (0.5, 2_001), (0.999999, 4_001)):
        found = run(contents, offset)
        np.testing.assert_array_equal(found, whole[start : start + 8_000])


def test_the_whole_recording_is_not_cut():
    contents = pcm_bytes(smooth(30_000, 48_000), 48_000)
    assert len(recording_from_bytes(tf.constant(contents), FEATURES)) == 10_000


def test_the_rate_is_that_of_the_features():
    features = dataclasses.replace(FEATURES, sample_rate_hz=8_000, mel_max_hz=4_000.0)
    contents = pcm_bytes(smooth(30_000, 48_000), 48_000)
    assert len(recording_from_bytes(tf.constant(contents), features)) == 5_000


@pytest.mark.parametrize("run", RUNS)
def test_a_broken_sound_is_refused(run):
    whole = pcm_bytes(smooth(100, 16_000), 16_000)
    for contents in (b"", whole[:-3]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="whole WAV file"):
            run(contents)


def test_a_broken_sound_in_a_parallel_map_names_its_file(tmp_path):
    paths = [str(tmp_path / f"{number}.wav") for number in range(4)]
    for number, path in enumerate(paths):
        whole = pcm_bytes(smooth(100, 16_000), 16_000)
        with open(path, "wb") as file:
            file.write(whole[:-1] if number == 2 else whole)
    dataset = tf.data.Dataset.from_tensor_slices(paths).map(
        lambda path: waveform_from_bytes(tf.io.read_file(path), FEATURES, name=path),
        num_parallel_calls=2,
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        list(dataset)
    assert paths[2] in raised.value.message
    assert "truncated" in raised.value.message
