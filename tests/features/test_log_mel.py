"""Log-mels equal those of the authors' code on five signals."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features import log_mel
from tests.imports import ROOT

GOLDEN = ROOT / "tests/golden/log_mel.npz"
AUTHORS = ROOT / "tests/golden/authors_event_knowledge.npz"
FEATURES = FeatureConfig()
TIME_SECONDS = np.arange(160_000) / 16_000
NAMES = ("sine_440", "chirp_50_7900", "noise", "silence", "click")
# One bit of the chirp changes values at -80 dB, so the samples are stored.
with np.load(GOLDEN) as golden:
    SIGNALS = {name: golden[f"{name}_waveform"] for name in NAMES}
    EXPECTED_DB = {name: golden[f"{name}_log_mel_db"] for name in NAMES}


def run_eagerly(waveform):
    return log_mel.log_mel_db(tf.constant(waveform), FEATURES).numpy()


def run_compiled(waveform):
    traced = tf.function(lambda wave: log_mel.log_mel_db(wave, FEATURES))
    return traced(tf.constant(waveform)).numpy()


def run_in_dataset(waveform):
    dataset = tf.data.Dataset.from_tensors(waveform).map(
        lambda wave: log_mel.log_mel_db(wave, FEATURES), num_parallel_calls=2
    )
    return next(iter(dataset)).numpy()


@pytest.mark.parametrize("run", [run_eagerly, run_compiled, run_in_dataset])
@pytest.mark.parametrize("name", SIGNALS)
def test_equals_the_authors_code(name, run):
    found = run(SIGNALS[name])
    assert found.shape == (400, 64)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, EXPECTED_DB[name], rtol=0, atol=1e-3)


def numpy_log_mel(waveform):
    """The definition in float64, frame by frame."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    padded = np.pad(waveform.astype(np.float64), 512)
    frames = np.stack([padded[t * 400 : t * 400 + 1024] * window for t in range(400)])
    magnitude = np.abs(np.fft.rfft(frames, 4096))
    mel = magnitude @ log_mel.mel_matrix(FEATURES).astype(np.float64)
    decibel = 10 * np.log10(np.maximum(mel, 1e-10))
    return np.maximum(decibel, decibel.max() - 80)


def test_equals_the_definition_on_a_full_scale_clip():
    rng = np.random.default_rng(0)
    square = np.sign(np.sin(2 * np.pi * 997 * TIME_SECONDS))
    waveform = (square * rng.choice([1, 0.01], 160_000)).astype(np.float32)
    np.testing.assert_allclose(
        run_eagerly(waveform), numpy_log_mel(waveform), atol=1e-3
    )


def test_batch_equals_single_clips():
    batch = np.stack([SIGNALS["noise"], SIGNALS["click"]])
    found = log_mel.log_mel_db(tf.constant(batch), FEATURES).numpy()
    for row, waveform in zip(found, batch, strict=True):
        np.testing.assert_allclose(row, run_eagerly(waveform), atol=1e-4)


def test_float32_transform_is_off_in_bands_of_low_energy_next_to_a_tone():
    """The reason for `precise`, and a limit of the models for edge devices."""
    tone = tf.constant(SIGNALS["chirp_50_7900"])
    plain = log_mel.log_mel_db(tone, FEATURES, precise=False).numpy()
    assert np.abs(plain - run_eagerly(SIGNALS["chirp_50_7900"])).max() > 0.1
    noise = tf.constant(SIGNALS["noise"])
    plain = log_mel.log_mel_db(noise, FEATURES, precise=False).numpy()
    np.testing.assert_allclose(plain, run_eagerly(SIGNALS["noise"]), atol=1e-3)


def test_mel_filters_have_unit_area_and_slaney_edges():
    matrix = log_mel.mel_matrix(FEATURES)
    assert matrix.shape == (2049, 64)
    # Area in Hz; the width of a bin is 16000 / 4096 Hz.
    np.testing.assert_allclose(matrix.sum(0)[8:] * 16_000 / 4096, 1, rtol=0.02)
    np.testing.assert_allclose(log_mel.hz_to_mel([0, 1000, 6400]), [0, 15, 42])
    hz = np.array([0, 440, 1000, 3000, 8000])
    np.testing.assert_allclose(log_mel.mel_to_hz(log_mel.hz_to_mel(hz)), hz)


def test_normalization_with_saved_statistics(tmp_path):
    stats = log_mel.LogMelStats(np.linspace(-9, 3, 64), np.linspace(1, 10, 64))
    log_mel.save_stats(tmp_path / "stats.csv", stats)
    features = dataclasses.replace(FEATURES, log_mel_stats=str(tmp_path / "stats.csv"))
    read = log_mel.load_stats(features)
    values = np.random.default_rng(0).normal(size=(2, 5, 64)).astype(np.float32)
    found = log_mel.normalize(tf.constant(values), read).numpy()
    expected = (values - stats.mean_db) / stats.std_db
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_default_statistics_are_those_of_the_authors():
    stats = log_mel.load_stats(FEATURES)
    with np.load(AUTHORS) as authors:
        np.testing.assert_allclose(stats.mean_db, authors["log_mel_mean"], atol=1e-6)
        np.testing.assert_allclose(stats.std_db, authors["log_mel_std"], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "^log_mel_stats must be 'authors' or an existing CSV"),
        ("band,mean\n0,1\n", "must have the columns"),
        ("mel_bin,mean_db,std_db\n0,1,1\n", "received 1 rows"),
    ],
)
def test_invalid_statistics_raise(tmp_path, text, named):
    path = tmp_path / "stats.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=named):
        log_mel.load_stats(dataclasses.replace(FEATURES, log_mel_stats=str(path)))


@pytest.mark.parametrize("kind", ["full scale", "silence", "low level"])
def test_float16_neither_overflows_nor_underflows(kind):
    """Mobile GPUs compute in float16, which cannot represent the power of the clip."""
    time = np.arange(160_000) / 16_000
    amplitude = {"full scale": 1.0, "silence": 0.0, "low level": 1e-4}[kind]
    waveform = (amplitude * np.sign(np.sin(2 * np.pi * 440 * time))).astype(np.float32)
    padded = np.pad(waveform, 512)
    frames = np.stack([padded[400 * i : 400 * i + 1024] for i in range(400)])
    spectrum = np.fft.rfft(frames * np.hanning(1025)[:-1], 4096)
    if kind == "full scale":
        assert np.square(np.abs(spectrum)).max() > np.finfo(np.float16).max
    halves = (tf.cast(part, tf.float16) for part in (spectrum.real, spectrum.imag))
    magnitude = log_mel.scaled_magnitude(*halves)
    found = log_mel.mel_decibel(magnitude, FEATURES).numpy()
    assert found.dtype == np.float16
    assert np.isfinite(found).all()
    expected = log_mel.log_mel_db(waveform, FEATURES).numpy()
    upper = expected > expected.max() - 30
    np.testing.assert_allclose(found[upper], expected[upper], atol=0.2)


def test_scaled_magnitude_equals_the_magnitude():
    rng = np.random.default_rng(0)
    z = rng.normal(size=200) + 1j * rng.normal(size=200)
    z[:3] = 0, 1, 1j
    found = log_mel.scaled_magnitude(tf.constant(z.real), tf.constant(z.imag))
    np.testing.assert_allclose(found, np.abs(z), rtol=1e-12)


def test_every_tensor_of_the_float32_transform_is_in_the_range_of_float16():
    spec = tf.TensorSpec([160_000], tf.float32)
    graph = tf.compat.v1.wrap_function(
        lambda clip: log_mel.log_mel_db(clip, FEATURES, precise=False), [spec]
    )
    tensors = [
        tensor
        for operation in graph.graph.get_operations()
        for tensor in operation.outputs
        if tensor.dtype == tf.float32
    ]
    time = np.arange(160_000) / 16_000
    full_scale = np.sign(np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    values = graph.prune(graph.inputs, tensors)(tf.constant(full_scale))
    assert len(values) > 20
    for tensor, value in zip(tensors, values, strict=True):
        assert np.abs(value).max() < np.finfo(np.float16).max, tensor.name
