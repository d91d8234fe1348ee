"""Resampling: pass-band, stop-band, length and equality with soxr at any rate."""

import numpy as np
import pytest
import soxr
import tensorflow as tf

from advance_tf.features.resample import input_span, resample

RESAMPLE = tf.function(
    resample,
    input_signature=[tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32)],
)
RATES_HZ = [8_000, 11_025, 22_050, 32_000, 44_100, 44_099, 48_000, 96_000]


def tone(frequency_hz, rate_hz, seconds=1.0):
    steps = np.arange(round(rate_hz * seconds))
    return np.sin(2 * np.pi * frequency_hz * steps / rate_hz)


def inner(values):
    """The samples far from the ends, where the tone starts and stops."""
    return np.asarray(values)[1500:-1500]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_pass_band_is_flat_up_to_nine_tenths(rate_hz):
    lower_nyquist_hz = min(rate_hz, 16_000) / 2
    for share in (0.05, 0.5, 0.89):
        wave = tone(share * lower_nyquist_hz, rate_hz)
        found = RESAMPLE(wave.astype(np.float32), rate_hz).numpy()
        expected = tone(share * lower_nyquist_hz, 16_000)
        # 0.01 dB is a factor of 1.00115.
        np.testing.assert_allclose(inner(found), inner(expected), atol=1.15e-3)


@pytest.mark.parametrize("rate_hz", [rate for rate in RATES_HZ if rate > 16_000])
def test_stop_band_is_below_minus_90_db(rate_hz):
    for frequency_hz in (8_010, 0.49 * rate_hz):
        wave = tone(frequency_hz, rate_hz).astype(np.float32)
        leaked = np.abs(inner(RESAMPLE(wave, rate_hz))).max()
        assert 20 * np.log10(leaked) < -90


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_equals_soxr_on_band_limited_noise(rate_hz):
    """Both filters pass frequencies below 0.85 of the lower Nyquist frequency."""
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.normal(0, 0.2, rate_hz))
    spectrum[round(0.85 * min(rate_hz, 16_000) / 2) :] = 0
    wave = np.fft.irfft(spectrum, rate_hz)
    found = RESAMPLE(wave.astype(np.float32), rate_hz).numpy()
    expected = soxr.resample(wave, rate_hz, 16_000, quality="VHQ")
    count = min(len(found), len(expected))
    np.testing.assert_allclose(inner(found[:count]), inner(expected[:count]), atol=5e-4)


@pytest.mark.parametrize("rate_hz", [*RATES_HZ, 16_001, 15_999])
@pytest.mark.parametrize("count", [1, 7, 1000, 9999])
def test_length_is_that_of_the_ratio(rate_hz, count):
    found = RESAMPLE(np.ones(count, np.float32), rate_hz)
    assert len(found) == -(-count * 16_000 // rate_hz)


def test_target_rate_returns_the_waveform():
    wave = np.random.default_rng(0).normal(size=500).astype(np.float32)
    np.testing.assert_array_equal(RESAMPLE(wave, 16_000), wave)


@pytest.mark.parametrize("rate_hz", [22_050, 44_099])
def test_eager_equals_compiled(rate_hz):
    wave = np.random.default_rng(0).normal(size=5_000).astype(np.float32)
    compiled = RESAMPLE(wave, rate_hz)
    np.testing.assert_allclose(resample(wave, rate_hz), compiled, atol=1e-6)


def test_ten_second_clip_of_advance_has_160000_samples():
    assert len(RESAMPLE(np.zeros(220_500, np.float32), 22_050)) == 160_000


def test_data_set_with_several_rates_equals_single_waveforms():
    rates_hz = [22_050, 16_000, 44_099]
    dataset = tf.data.Dataset.from_tensor_slices(rates_hz).map(
        lambda rate_hz: resample(tf.ones([4000]), rate_hz), num_parallel_calls=2
    )
    for rate_hz, found in zip(rates_hz, dataset, strict=True):
        eager = RESAMPLE(tf.ones([4000]), rate_hz)
        np.testing.assert_allclose(found, eager, atol=1e-6)


def direct(wave, rate_hz, outputs):
    """Evaluates the sum over all inputs in float64."""
    ratio = min(1, 16_000 / rate_hz)
    positions = np.asarray(outputs) * rate_hz / 16_000
    scaled = (positions[:, None] - np.arange(len(wave))) * ratio
    window = np.i0(9.5 * np.sqrt(np.clip(1 - (scaled / 64) ** 2, 0, 1))) / np.i0(9.5)
    window[np.abs(scaled) >= 64] = 0
    return (0.9525 * ratio * np.sinc(0.9525 * scaled) * window) @ wave


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_equals_the_sum_in_float64(rate_hz):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 6_000)
    found = RESAMPLE(wave.astype(np.float32), rate_hz).numpy()
    outputs = np.random.default_rng(1).integers(0, len(found), 200)
    np.testing.assert_allclose(
        found[outputs], direct(wave, rate_hz, outputs), atol=2e-6
    )


@pytest.mark.parametrize("rate_hz", [8_001, 16_000, 22_050, 48_000])
@pytest.mark.parametrize("start", [0, 15_990, 16_100, 40_000])
def test_span_has_all_inputs_of_a_range(rate_hz, start):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * rate_hz).astype(np.float32)
    first, count, skip = map(int, input_span(start, 7_000, rate_hz, 16_000))
    assert count < 7_000 * rate_hz / 16_000 + rate_hz + 2_000
    part = RESAMPLE(wave[first : first + count], rate_hz)[skip : skip + 7_000]
    expected = RESAMPLE(wave, rate_hz)[start : start + 7_000]
    np.testing.assert_allclose(part, expected, atol=1e-6)
