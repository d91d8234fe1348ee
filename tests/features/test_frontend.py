"""The front end: files, bytes and arrays give equal inputs; errors name the file."""

import dataclasses

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features import pipelines
from advance_tf.features.errors import MediaError, media_problem, names_its_file
from advance_tf.features.frontend import Frontend
from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import load_stats

FEATURES = FeatureConfig(image_size=32, clip_seconds=0.5)
FRONTEND = Frontend(FEATURES)
LEVELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
PNG = tf.io.encode_png(LEVELS).numpy()
SAMPLES = np.random.default_rng(1).integers(-(2**14), 2**14, 9_000)
SAMPLES = (SAMPLES / 2**15).astype(np.float32)
WAV = tf.audio.encode_wav(SAMPLES[:, None], 16_000).numpy()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "a.wav").write_bytes(WAV)
    (tmp_path / "cut.wav").write_bytes(WAV[:-8])
    (tmp_path / "text.png").write_bytes(b"text")
    return tmp_path


def test_many_files_are_read_by_graphs_with_equal_results(folder, monkeypatch):
    def read(frontend):
        messages = []
        for name, method in (
            ("cut.wav", frontend.read_waveform),
            ("text.png", frontend.read_image),
        ):
            with pytest.raises(MediaError) as caught:
                method(folder / name)
            messages.append(str(caught.value))
        clip = frontend.read_waveform(folder / "a.wav")
        image = frontend.read_image(folder / "a.png")
        return messages, (clip, image, frontend.encode_clip(clip))

    expected, arrays = read(Frontend(FEATURES))
    monkeypatch.setattr(pipelines, "_EAGER_CALLS", 0)
    messages, found = read(Frontend(FEATURES))
    assert messages == expected
    for one, other in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found[2], FRONTEND.encode_sound(found[0]))


def test_image_sources_give_equal_inputs(folder):
    expected = FRONTEND.decode_image(PNG)
    assert expected.shape == (32, 32, 3)
    for source in (folder / "a.png", str(folder / "a.png"), PNG, LEVELS):
        np.testing.assert_array_equal(FRONTEND.read_image(source), expected)


def test_sound_sources_give_equal_inputs(folder):
    expected = SAMPLES[500:8_500]
    for source in (folder / "a.wav", str(folder / "a.wav"), WAV, (SAMPLES, 16_000)):
        np.testing.assert_array_equal(FRONTEND.read_waveform(source), expected)
    stereo = np.stack([SAMPLES, SAMPLES], axis=1)
    np.testing.assert_array_equal(FRONTEND.read_waveform(stereo, 16_000), expected)


def test_log_mel_is_normalized_and_can_be_denormalized():
    waveform = FRONTEND.read_waveform(WAV)
    decibel = FRONTEND.log_mel_db(waveform)
    log_mel = FRONTEND.log_mel(waveform)
    assert log_mel.shape == (20, 64)
    stats = load_stats(FEATURES)
    expected = (decibel - stats.mean_db) / stats.std_db
    np.testing.assert_allclose(log_mel, expected, rtol=1e-5, atol=1e-5)
    restored = FRONTEND.denormalize(log_mel.numpy())
    np.testing.assert_allclose(restored, decibel, rtol=1e-5, atol=1e-4)


def test_batches_equal_single_files_and_report_problems():
    images, problems = FRONTEND.decode_images([PNG, b"text", PNG])
    expected = (
        b"the image must be a valid JPEG, PNG, BMP or WebP: it is in another format"
    )
    assert problems.numpy().tolist() == [b"", expected, b""]
    np.testing.assert_array_equal(images[0], FRONTEND.decode_image(PNG))
    np.testing.assert_array_equal(images[1], np.zeros((32, 32, 3)))
    sounds, problems = FRONTEND.decode_waveforms([b"", WAV])
    expected = b"the sound must be a valid WAV file: the file is empty"
    assert problems.numpy().tolist() == [expected, b""]
    np.testing.assert_array_equal(sounds[0], np.zeros(8_000))
    np.testing.assert_array_equal(sounds[1], FRONTEND.decode_waveform(WAV))


def test_too_many_pixels_are_a_problem_of_single_files_and_batches():
    frontend = Frontend(dataclasses.replace(FEATURES, max_image_pixels=1_999))
    with pytest.raises(MediaError, match="at most 1999 pixels; received 50 x 40"):
        frontend.read_image(PNG)
    images, problems = frontend.decode_images([PNG])
    assert problems.numpy().tolist() == [b"the image must have at most 1999 pixels"]
    np.testing.assert_array_equal(images, np.zeros((1, 32, 32, 3)))


def test_jpeg_scaling_is_the_same_in_single_files_and_batches():
    contents = tf.io.encode_jpeg(
        np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    ).numpy()
    frontend = Frontend(dataclasses.replace(FEATURES, jpeg_scaling=True))
    expected = decode_image(tf.constant(contents), 32, jpeg_scaling=True)
    np.testing.assert_array_equal(frontend.read_image(contents), expected)
    np.testing.assert_array_equal(frontend.decode_images([contents])[0][0], expected)
    assert np.abs(expected - FRONTEND.read_image(contents)).max() > 0


@pytest.mark.parametrize("kind", ["images", "waveforms"])
def test_batches_may_be_empty_or_invalid_throughout(kind):
    decode = getattr(FRONTEND, f"decode_{kind}")
    assert len(decode(tf.constant([], tf.string))[0]) == 0
    values, problems = decode([b"x", b"y"])
    assert len(values) == 2
    assert all(problems.numpy().tolist())


@pytest.mark.parametrize(
    ("read", "source", "message"),
    [
        ("image", "text.png", "text.png must be a valid JPEG, PNG, BMP or WebP"),
        ("image", LEVELS[..., :2], r"must be uint8 \[H, W, 3\].*received uint8 \[40"),
        ("image", LEVELS.astype("f"), "received float32"),
        ("image", LEVELS[:0], "at least one pixel"),
        ("image", 3, "must be a path, bytes or an array; received int"),
        ("waveform", "cut.wav", "cut.wav must be a valid WAV file; it is truncated"),
        ("waveform", SAMPLES, "`rate_hz` of a sound array"),
        ("waveform", b"", r"\(bytes\) must be a valid WAV file; the file is empty"),
    ],
)
def test_invalid_sources_raise(folder, read, source, message):
    if isinstance(source, str):
        source = folder / source
    with pytest.raises(MediaError, match=message):
        getattr(FRONTEND, f"read_{read}")(source)


def test_missing_file_raises_os_error(folder):
    with pytest.raises(FileNotFoundError):
        FRONTEND.read_image(folder / "none.png")


def test_problem_is_extracted_from_the_errors_of_a_data_set(folder):
    def read(path):
        return FRONTEND.decode_waveform(tf.io.read_file(path), name=path)

    for name, named, message in (
        ("cut.wav", True, "must be a valid WAV file; it is truncated"),
        ("none.wav", False, "does not exist. Give the folder of the data set with"),
    ):
        path = str(folder / name)
        with pytest.raises(tf.errors.OpError) as raised:
            list(tf.data.Dataset.from_tensors(path).map(read))
        problem = media_problem(raised.value)
        assert path in problem
        assert message in problem
        assert names_its_file(raised.value) == named


@pytest.mark.parametrize("rate_hz", [8_000, 11_127, 16_000, 22_050])
def test_a_clip_is_the_same_to_the_last_bit_with_and_without_a_graph(tmp_path, rate_hz):
    noise = np.random.default_rng(rate_hz).normal(0, 0.1, 2 * rate_hz)
    soundfile.write(tmp_path / "a.wav", noise, rate_hz)
    contents = (tmp_path / "a.wav").read_bytes()
    dataset = tf.data.Dataset.from_tensors(contents).map(FRONTEND.decode_waveform)
    found = FRONTEND.read_waveform(contents)
    np.testing.assert_array_equal(found, dataset.get_single_element())
