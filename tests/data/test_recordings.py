"""Recordings are converted to mono 16-bit WAV exactly."""

import numpy as np
import pytest
import soundfile
import soxr

from advance_tf.data import recordings
from advance_tf.data.recordings import ClipRule

RATE_HZ = 22_050


def noise(seconds=3.0, channels=1, seed=0):
    size = (round(seconds * RATE_HZ), channels)
    samples = np.random.default_rng(seed).integers(-(2**15), 2**15, size)
    return samples.astype(np.int16)


def tone(seconds, hz=440.0, rate_hz=RATE_HZ):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def convert(source, tmp_path, **settings):
    path = tmp_path / "out" / "00001.wav"
    path.parent.mkdir(exist_ok=True)
    recordings.write_wav(source, path, ClipRule(**settings))
    header = soundfile.info(path)
    assert (header.format, header.subtype, header.channels) == ("WAV", "PCM_16", 1)
    return soundfile.read(path, dtype="int16")


@pytest.mark.parametrize("ending", ["flac", "wav", "aiff", "caf"])
def test_lossless_mono_is_preserved_exactly(tmp_path, ending):
    source = tmp_path / f"00001.{ending}"
    soundfile.write(source, noise(4), RATE_HZ, "PCM_16")
    samples, rate_hz = convert(source, tmp_path)
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(samples, noise(4)[:, 0])


@pytest.mark.parametrize("ending", ["mp3", "ogg"])
def test_lossy_recordings_equal_the_output_of_the_decoder(tmp_path, ending):
    """The recording spans several blocks: a seek would change its samples."""
    source = tmp_path / f"00001.{ending}"
    soundfile.write(source, tone(8), RATE_HZ)
    samples, rate_hz = convert(source, tmp_path)
    decoded, _ = soundfile.read(source, dtype="float64")
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(samples, 32768 * decoded, atol=1.0)
    # The codec preserves a tone, so the level must be right too.
    np.testing.assert_allclose(samples.std() / 32768, 0.5 / np.sqrt(2), rtol=0.02)


def test_channels_are_averaged(tmp_path):
    source = tmp_path / "00001.wav"
    soundfile.write(source, noise(3, channels=3), RATE_HZ, "PCM_16")
    samples, _ = convert(source, tmp_path)
    expected = np.rint(noise(3, channels=3).astype(np.float64).mean(1))
    np.testing.assert_allclose(samples, expected, atol=1)


def test_samples_beyond_full_scale_are_clipped(tmp_path):
    source = tmp_path / "00001.wav"
    soundfile.write(source, np.tile([1.5, -1.5, 1.0], 30_000), RATE_HZ, "FLOAT")
    samples, _ = convert(source, tmp_path)
    np.testing.assert_array_equal(samples[:3], [32767, -32768, 32767])


def test_resampling_in_blocks_equals_resampling_at_once(tmp_path):
    source = tmp_path / "00001.wav"
    waveform = tone(5, hz=1000.0) + tone(5, hz=150.0) * 0.5
    soundfile.write(source, waveform, RATE_HZ, "FLOAT")
    samples, rate_hz = convert(source, tmp_path, rate_hz=16_000)
    assert rate_hz == 16_000
    expected = 32768 * soxr.resample(waveform, RATE_HZ, 16_000)
    assert len(samples) == len(expected) == 80_000
    np.testing.assert_allclose(samples, expected, atol=1.0)


def test_short_recordings_are_dropped_by_default(tmp_path):
    source = tmp_path / "00001.wav"
    soundfile.write(source, tone(1.99), RATE_HZ)
    with pytest.raises(
        recordings.TooShortError, match=r"must last 2 s; it lasts 1\.99 s"
    ):
        convert(source, tmp_path)
    samples, _ = convert(source, tmp_path, min_seconds=0)
    assert len(samples) == round(1.99 * RATE_HZ)
    soundfile.write(source, tone(2), RATE_HZ)
    assert len(convert(source, tmp_path)[0]) == 2 * RATE_HZ


def test_a_long_recording_is_cut_at_random_by_seed(tmp_path):
    source = tmp_path / "00001.wav"
    soundfile.write(source, noise(8), RATE_HZ, "PCM_16")
    starts = []
    for seed in (0, 0, 1):
        samples, _ = convert(source, tmp_path, clip_seconds=3.0, seed=seed)
        assert len(samples) == 3 * RATE_HZ
        windows = np.lib.stride_tricks.sliding_window_view(noise(8)[:, 0], 64)
        (start,) = np.flatnonzero((windows == samples[:64]).all(1))
        np.testing.assert_array_equal(samples, noise(8)[start:, 0][: len(samples)])
        starts.append(start)
    assert starts[0] == starts[1] != starts[2]


@pytest.mark.parametrize("ending", ["mp3", "ogg"])
def test_a_cut_of_a_lossy_recording_is_part_of_it(tmp_path, ending):
    source = tmp_path / f"00001.{ending}"
    soundfile.write(source, noise(12) / 2**17, RATE_HZ)
    samples, _ = convert(source, tmp_path, clip_seconds=3.0)
    complete, _ = convert(source, tmp_path)
    windows = np.lib.stride_tricks.sliding_window_view(complete, 64)
    (start,) = np.flatnonzero((windows == samples[:64]).all(1))
    np.testing.assert_array_equal(samples, complete[start : start + 3 * RATE_HZ])


def test_a_short_recording_is_repeated_and_cut(tmp_path):
    source = tmp_path / "00001.wav"
    once = noise(3)[:, 0]
    soundfile.write(source, once, RATE_HZ, "PCM_16")
    samples, _ = convert(source, tmp_path, clip_seconds=10.0)
    assert len(samples) == 10 * RATE_HZ
    start = np.flatnonzero(
        (
            np.lib.stride_tricks.sliding_window_view(np.tile(once, 2), 64)
            == samples[:64]
        ).all(1)
    )[0]
    np.testing.assert_array_equal(samples, np.tile(once, 5)[start:][: len(samples)])


def test_a_cut_has_its_length_after_resampling(tmp_path):
    source = tmp_path / "00001.wav"
    soundfile.write(source, tone(12, rate_hz=44_100), 44_100)
    samples, rate_hz = convert(source, tmp_path, clip_seconds=10.0, rate_hz=RATE_HZ)
    assert (len(samples), rate_hz) == (10 * RATE_HZ, RATE_HZ)


def test_a_truncated_recording_is_an_error(tmp_path):
    source = tmp_path / "00001.mp3"
    soundfile.write(source, tone(5), RATE_HZ)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(ValueError, match="as many samples as its header states"):
        convert(source, tmp_path)


def test_an_mp3_without_its_exact_length_is_read_to_the_end(tmp_path):
    source = tmp_path / "00001.mp3"
    constant = {"bitrate_mode": "CONSTANT", "compression_level": 0.3}
    soundfile.write(source, noise(5), RATE_HZ, **constant)
    contents = source.read_bytes()
    second_frame = contents.find(contents[:2], 4)
    source.write_bytes(contents[second_frame:])
    decoded, _ = soundfile.read(source)
    assert soundfile.info(source).frames > len(decoded)
    assert len(convert(source, tmp_path)[0]) == len(decoded)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e20])
def test_samples_must_be_finite(tmp_path, value):
    source = tmp_path / "00001.wav"
    soundfile.write(source, np.r_[tone(3), value], RATE_HZ, "FLOAT")
    with pytest.raises(ValueError, match="finite samples"):
        convert(source, tmp_path)


def test_a_rate_out_of_range_needs_resampling(tmp_path):
    source = tmp_path / "00001.wav"
    soundfile.write(source, tone(3, rate_hz=4_000), 4_000)
    with pytest.raises(ValueError, match=r"it is 4000 Hz\. Resample it"):
        convert(source, tmp_path)
    assert len(convert(source, tmp_path, rate_hz=16_000)[0]) == 48_000


def test_a_recording_without_samples_is_an_error(tmp_path):
    source = tmp_path / "00001.wav"
    soundfile.write(source, np.zeros(0), RATE_HZ)
    with pytest.raises(ValueError, match="must contain samples"):
        convert(source, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate_hz": 4_000}, "^rate_hz must be 0 or from 8000 to 192000"),
        ({"min_seconds": -1.0}, "^min_seconds must be finite"),
        ({"clip_seconds": float("nan")}, "^clip_seconds must be finite"),
    ],
)
def test_a_rule_out_of_range_is_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        ClipRule(**settings)
