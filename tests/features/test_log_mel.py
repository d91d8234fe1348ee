"""Log-mels equal those of the authors' code on five signals."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features import log_mel, mel
from tests.imports import ROOT

GOLDEN = ROOT / "tests/golden/log_mel.npz"
AUTHORS = ROOT / "tests/golden/authors_event_knowledge.npz"
FEATURES = FeatureConfig(log_mel_precision="float64")
FLOAT32 = FeatureConfig(log_mel_precision="float32")
TIME_SECONDS = np.arange(160_000) / 16_000
NAMES = ("sine_440", "chirp_50_7900", "noise", "silence", "click")
# One bit of the chirp changes values at -80 dB, so the samples are stored.
with np.load(GOLDEN) as golden:
    SIGNALS = {name: golden[f"{name}_waveform"] for name in NAMES}
    EXPECTED_DB = {name: golden[f"{name}_log_mel_db"] for name in NAMES}


def run_eagerly(waveform):
    return log_mel.log_mel_db(tf.constant(waveform), FEATURES).numpy()


@tf.function(input_signature=[tf.TensorSpec([160_000], tf.float32)])
def compiled_log_mel_db(waveform):
    return log_mel.log_mel_db(waveform, FEATURES)


def run_compiled(waveform):
    return compiled_log_mel_db(waveform).numpy()


@functools.cache
def dataset_of_signals():
    dataset = tf.data.Dataset.from_tensor_slices(list(SIGNALS.values())).map(
        lambda wave: log_mel.log_mel_db(wave, FEATURES), num_parallel_calls=2
    )
    return list(dataset)


def run_in_dataset(waveform):
    place = [signal is waveform for signal in SIGNALS.values()].index(True)
    return dataset_of_signals()[place].numpy()


@pytest.mark.parametrize("run", [run_eagerly, run_compiled, run_in_dataset])
@pytest.mark.parametrize("name", SIGNALS)
def test_equals_the_authors_code(name, run):
    found = run(SIGNALS[name])
    assert found.shape == (400, 64)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, EXPECTED_DB[name], rtol=0, atol=1e-3)


def numpy_log_mel(waveform, features=FEATURES):
    """The definition in float64, frame by frame."""
    samples, hop = features.window_samples, features.hop_samples
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)
    padded = np.pad(waveform.astype(np.float64), [samples // 2, samples + hop])
    starts = np.arange(features.frames) * hop
    frames = np.stack([padded[t : t + samples] * window for t in starts])
    magnitude = np.abs(np.fft.rfft(frames, features.fft_length))
    product = magnitude @ mel.mel_matrix(features).astype(np.float64)
    decibel = 10 * np.log10(np.maximum(product, 1e-10))
    return np.maximum(decibel, decibel.max() - 80)


def test_equals_the_definition_on_a_full_scale_clip():
    rng = np.random.default_rng(0)
    square = np.sign(np.sin(2 * np.pi * 997 * TIME_SECONDS))
    waveform = (square * rng.choice([1, 0.01], 160_000)).astype(np.float32)
    np.testing.assert_allclose(
        run_eagerly(waveform), numpy_log_mel(waveform), atol=1e-3
    )


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(
    "settings",
    [
        # 101 frames, which no size of a block divides.
        {"clip_seconds": 2.525},
        {"clip_seconds": 1.0, "hop_samples": 160, "window_samples": 400},
        {"clip_seconds": 1.0, "hop_samples": 700, "window_samples": 401},
        {"clip_seconds": 1.0, "mel_bins": 40, "fft_length": 2048, "mel_min_hz": 60.0},
    ],
)
def test_equals_the_definition_with_other_settings(settings, precision):
    features = FeatureConfig(log_mel_precision=precision, **settings)
    rng = np.random.default_rng(1)
    waveform = rng.normal(0, 0.1, features.clip_samples).astype(np.float32)
    found = log_mel.log_mel_db(waveform, features).numpy()
    expected = numpy_log_mel(waveform, features)
    assert found.shape == (features.frames, features.mel_bins)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_batches_equal_single_clips():
    features = dataclasses.replace(FEATURES, clip_seconds=1.0)
    batch = np.random.default_rng(0).normal(size=(2, 16_000)).astype(np.float32)
    nested = np.stack([batch, batch[::-1]])
    compiled = tf.function(
        lambda clips: log_mel.log_mel_db(clips, features),
        [tf.TensorSpec([None, None, 16_000], tf.float32)],
    )
    found = compiled(nested).numpy()
    assert found.shape == (2, 2, 40, 64)
    np.testing.assert_allclose(found[1], found[0, ::-1], rtol=0, atol=1e-5)
    eager = log_mel.log_mel_db(batch, features)
    np.testing.assert_allclose(eager, found[0], atol=1e-5)
    for row, waveform in zip(found[0], batch, strict=True):
        for single in (waveform, waveform[None]):
            expected = log_mel.log_mel_db(single, features).numpy()
            assert expected.shape == (*single.shape[:-1], 40, 64)
            np.testing.assert_allclose(row, expected.reshape(40, 64), atol=1e-5)
    assert compiled(nested[:0]).shape == (0, 2, 40, 64)


def test_blocks_are_small_and_computed_one_after_the_other():
    graph = compiled_log_mel_db.get_concrete_function().graph
    operations = graph.get_operations()
    outputs = [output for operation in operations for output in operation.outputs]
    sizes = [output.shape.num_elements() * output.dtype.size for output in outputs]
    # The spectrum of all frames has 13 MB.
    assert max(sizes) < 1.1 * 2**20
    before = {}
    for operation in operations:
        sources = [tensor.op for tensor in operation.inputs]
        sources += operation.control_inputs
        before[operation.name] = {source.name for source in sources}.union(
            *(before[source.name] for source in sources)
        )
    transforms = [
        operation.name for operation in operations if operation.type == "RFFT"
    ]
    assert len(transforms) == 13
    for earlier, later in itertools.pairwise(transforms):
        assert earlier in before[later]


def test_float32_is_off_in_bands_of_low_energy_next_to_a_tone():
    """The reason for `log_mel_precision`, and a limit of LiteRT models."""
    tone, noise = SIGNALS["chirp_50_7900"], SIGNALS["noise"]
    for litert in (False, True):
        plain = log_mel.log_mel_db(tone, FLOAT32, litert=litert).numpy()
        assert np.abs(plain - run_eagerly(tone)).max() > 0.1
        plain = log_mel.log_mel_db(noise, FLOAT32, litert=litert).numpy()
        np.testing.assert_allclose(plain, run_eagerly(noise), atol=1e-3)


def test_float32_equals_float64_on_a_16_bit_recording():
    """The noise of 16 bits lies above the rounding of float32."""
    rng = np.random.default_rng(2)
    tone = 0.5 * np.sin(2 * np.pi * 440 * TIME_SECONDS)
    samples = np.round(32_768 * (tone + rng.normal(0, 1e-3, 160_000)))
    waveform = (samples / 32_768).astype(np.float32)
    found = log_mel.log_mel_db(waveform, FLOAT32).numpy()
    np.testing.assert_allclose(found, run_eagerly(waveform), atol=0.02)


def test_litert_has_one_answer_whatever_the_precision():
    clip = SIGNALS["chirp_50_7900"]
    found = [log_mel.log_mel_db(clip, f, litert=True) for f in (FEATURES, FLOAT32)]
    np.testing.assert_array_equal(*found)


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


STATS = "\n".join(["mel_bin,mean_db,std_db", *(f"{n},{n},1" for n in range(64)), ""])


def test_statistics_are_ordered_by_band(tmp_path):
    path = tmp_path / "stats.csv"
    header, *rows = STATS.splitlines()
    path.write_text("\n".join([header, *rows[32:], *rows[:32]]))
    stats = log_mel.load_stats(dataclasses.replace(FEATURES, log_mel_stats=str(path)))
    np.testing.assert_array_equal(stats.mean_db, np.arange(64))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "^log_mel_stats must be 'authors' or an existing CSV"),
        ("band,mean\n0,1\n", "must have the columns"),
        ("mean_db,std_db\n1,1\n", "the entry 'mel_bin' is missing"),
        ("mel_bin,mean_db,std_db\n0,1,1\n", "received 1 rows"),
        (STATS.replace("\n63,", "\n62,"), "64 rows with 63 bands"),
        (STATS.replace("\n63,", "\n64,"), "mel_bin 0 to 63 once each"),
        (STATS.replace("\n63,", "\n63.5,"), "must have the columns"),
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
        lambda clip: log_mel.log_mel_db(clip, FEATURES, litert=True), [spec]
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
