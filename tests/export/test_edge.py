"""The inputs of the edge recognizer equal those of advance_tf.features."""

import io
import wave

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image

from advance_tf.config import FeatureConfig
from advance_tf.config_variants import RESIZINGS
from advance_tf.features.frontend import fit_clip, waveform_from_bytes
from advance_tf.features.image import decode_image, resize_image
from advance_tf.features.resample import resample
from tests.export.edge_programs import edge_module
from tests.features.test_wav import wav

EDGE, FILES = edge_module("edge_inputs"), edge_module("edge_files")
CLIP_SAMPLES = 160_000


def noise(count, channels=None, seed=0):
    shape = count if channels is None else (count, channels)
    samples = np.random.default_rng(seed).uniform(-1, 1, shape)
    return samples.astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8000, 11127, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("seconds", [0.01, 1.3])
def test_resampling_is_that_of_training(rate_hz, seconds):
    samples = noise(round(rate_hz * seconds))
    expected = resample(tf.constant(samples), rate_hz).numpy()
    found = EDGE.resample(samples, rate_hz)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 7, 99_999, 159_999, 160_000, 160_001, 500_002])
def test_the_clip_is_that_of_training(count):
    samples = noise(count)
    expected = fit_clip(tf.constant(samples), CLIP_SAMPLES).numpy()
    np.testing.assert_array_equal(EDGE.fit_clip(samples, CLIP_SAMPLES), expected)


@pytest.mark.parametrize(
    "size",
    [(32, 32), (64, 64), (512, 512), (100, 41), (31, 33), (20, 30), (7, 1), (1, 500)],
)
@pytest.mark.parametrize("image_size", [32, 96, 256])
@pytest.mark.parametrize("method", RESIZINGS)
def test_resizing_gives_the_levels_of_training(size, image_size, method):
    levels = np.random.default_rng(size).integers(0, 256, (*size, 3), np.uint8)
    expected = resize_image(tf.constant(levels), image_size, method).numpy()
    found = EDGE.resize_image(levels, image_size, method)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def picture(mode, size=(75, 50)):
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (size[1] // 5, size[0] // 5, 4), np.uint8)
    large = Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC)
    return large if mode == "RGBA" else large.convert("RGB").convert(mode)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "L"),
        ("PNG", "LA"),
        ("PNG", "P"),
        ("BMP", "RGB"),
        ("WEBP", "RGB"),
    ],
)
def test_an_image_file_is_read_as_in_training(tmp_path, kind, mode):
    path = tmp_path / "a.file"
    # This orientation must not be applied.
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind != "BMP" else {}
    picture(mode).save(path, kind, **options)
    expected = decode_image(path.read_bytes(), 40).numpy()
    np.testing.assert_array_equal(EDGE.read_image(path, 40), expected)


def test_a_png_of_16_bits_is_read_as_in_training(tmp_path):
    levels = np.random.default_rng(0).integers(0, 2**16, (30, 30)).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    found = EDGE.read_image(tmp_path / "a.png", 30).astype(int)
    expected = decode_image((tmp_path / "a.png").read_bytes(), 30)
    assert np.abs(found - expected).max() <= 1


def test_the_limit_of_the_model_is_the_only_one_of_an_image(tmp_path):
    path = tmp_path / "a.png"
    # Pillow's own limit is 179 million pixels.
    Image.new("1", (20_000, 10_000)).save(path)
    with pytest.raises(ValueError, match="at most 199999999 pixels; has 20000 x 10000"):
        EDGE.read_image(path, 32, max_pixels=199_999_999)


@pytest.mark.parametrize(
    ("code", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)]
)
def test_a_sound_of_every_coding_is_read_as_in_training(tmp_path, code, bits):
    contents = wav(noise(30_001, 2).astype(np.float64), code, bits, rate_hz=44_100)
    (tmp_path / "a.wav").write_bytes(contents)
    expected = waveform_from_bytes(contents, FeatureConfig()).numpy()
    found = EDGE.read_sound(tmp_path / "a.wav", CLIP_SAMPLES)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100, 48_000, 11_127])
@pytest.mark.parametrize("seconds", [1.1, 9.99, 10.01, 31.7])
def test_the_centre_of_a_long_recording_is_that_of_training(tmp_path, rate_hz, seconds):
    """Only the part that the clip depends on is read."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(round(rate_hz * seconds), 2), rate_hz)
    expected = waveform_from_bytes(path.read_bytes(), FeatureConfig()).numpy()
    found = EDGE.read_sound(path, CLIP_SAMPLES)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_only_the_clip_of_an_hour_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 8000 * 3600))
    read = soundfile.SoundFile.read
    counts = []
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames, **options: (
            counts.append(frames) or read(self, frames, **options)
        ),
    )
    EDGE.read_sound(path, CLIP_SAMPLES)
    assert 80_000 <= counts[0] < 81_000


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (wav(noise(300))[:-100], "truncated"),
        (wav(noise(300), rate_hz=4_000), "rate"),
        (wav(noise(300, 9)), "channels"),
        (wav(noise(0)), "no sample"),
    ],
)
def test_a_sound_that_training_refuses_is_refused(tmp_path, contents, message):
    (tmp_path / "a.wav").write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        EDGE.read_sound(tmp_path / "a.wav", CLIP_SAMPLES)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        waveform_from_bytes(contents, FeatureConfig())


def test_a_sound_of_unknown_size(tmp_path):
    samples = noise(300).astype(np.float64)
    contents = wav(samples, 3, 32, rate_hz=16_000, size=0xFFFFFFFF)
    (tmp_path / "a.wav").write_bytes(contents)
    found = EDGE.read_sound(tmp_path / "a.wav", CLIP_SAMPLES)
    expected = waveform_from_bytes(contents, FeatureConfig()).numpy()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e20])
@pytest.mark.parametrize("place", [0, 200_000])
def test_samples_beyond_float32_are_refused_anywhere(tmp_path, value, place):
    samples = noise(320_000).astype(np.float64)
    samples[place] = value
    (tmp_path / "a.wav").write_bytes(wav(samples, 3, 32, rate_hz=16_000))
    with pytest.raises(ValueError, match="NaN, infinite or beyond ±65536"):
        EDGE.read_sound(tmp_path / "a.wav", CLIP_SAMPLES)


def stream_windows(count, channels=1, every=8000, kept=20_000):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (count, channels))
    raw = samples.astype("<i2").tobytes() + b"\1"
    found = list(EDGE.windows(io.BytesIO(raw), 8000, channels, every, kept))
    return samples.astype(np.float32) / 2**15, found


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("every", [3000, 8000, 12_345])
def test_a_stream_is_windowed_at_every_step(channels, every):
    samples, found = stream_windows(50_000, channels, every)
    assert [count for count, _ in found] == list(range(every, 50_001, every))
    for count, frames in found:
        expected = samples[max(0, count - 20_000) : count]
        np.testing.assert_array_equal(frames, expected)


def test_a_stream_shorter_than_a_window_gives_one_window():
    samples, found = stream_windows(500)
    assert [count for count, _ in found] == [500]
    np.testing.assert_array_equal(found[0][1], samples)
    assert stream_windows(0)[1] == []


def test_files_are_paired_by_name(tmp_path):
    for name in ("vision/lake/1.jpg", "vision/lake/2.JPG", "sound/lake/1.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "vision" / ".hidden.jpg").touch()
    examples, problems = FILES.pair([tmp_path / "vision"], [tmp_path / "sound"])
    image, sound = tmp_path / "vision" / "lake", tmp_path / "sound" / "lake"
    assert problems == []
    assert examples == [
        ("lake/1", image / "1.jpg", sound / "1.wav"),
        ("lake/2", image / "2.JPG", None),
    ]
    assert FILES.pair([tmp_path], [tmp_path])[0] == examples


def test_two_files_are_one_place_and_duplicates_are_refused(tmp_path):
    one, two, other = (tmp_path / name for name in ("a.jpg", "b.wav", "c/a.jpg"))
    assert FILES.pair([one], [two]) == ([("a", one, two)], [])
    examples, problems = FILES.pair([one, other], [two])
    assert examples == [("b", None, two)]
    assert str(one) in problems[0]
    assert str(other) in problems[0]
