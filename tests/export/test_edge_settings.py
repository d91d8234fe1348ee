"""The edge recognizer uses the settings in the metadata of its model."""

import hashlib
import io
import json
import sys
import types
import zipfile

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image

from advance_tf.config import FeatureConfig
from advance_tf.features.frontend import fit_clip, waveform_from_bytes
from advance_tf.features.image import decode_image
from advance_tf.features.resample import resample
from advance_tf.features.wav_sizes import UNKNOWN_SIZES
from tests.export.edge_programs import CLIP_SAMPLES, IMAGE_SIZE, edge_module
from tests.export.edge_programs import expected_probs as small_model_probs

FILES, INPUTS = edge_module("edge_files"), edge_module("edge_inputs")
MODEL, PROGRAM = edge_module("edge_model"), edge_module("recognize")
MODEL_RATE_HZ = 8_000


@pytest.fixture
def with_metadata(edge_model, tmp_path):
    """A function that writes the small model with other entries of its metadata."""

    def write(**changes):
        contents = edge_model.read_bytes()
        archive = zipfile.ZipFile(io.BytesIO(contents))
        metadata = json.loads(archive.read("metadata.json")) | changes
        path = tmp_path / "changed.tflite"
        start = archive.getinfo("metadata.json").header_offset
        path.write_bytes(contents[:start])
        with zipfile.ZipFile(path, "a") as written:
            written.writestr("metadata.json", json.dumps(metadata))
        return path

    return write


def noise(count, channels=1):
    samples = np.random.default_rng(count).uniform(-0.9, 0.9, (count, channels))
    return samples.astype(np.float32)


@pytest.mark.parametrize("target_hz", [8_000, 22_050, 24_000, 48_000])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_resampling_to_another_rate_is_that_of_training(rate_hz, target_hz):
    samples = noise(round(1.3 * rate_hz))[:, 0]
    expected = resample(tf.constant(samples), rate_hz, target_hz).numpy()
    found = INPUTS.resample(samples, rate_hz, target_hz)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("target_hz", [8_000, 22_050, 32_000])
@pytest.mark.parametrize("seconds", [0.7, 13.7])
def test_a_file_is_read_at_the_rate_of_the_model(tmp_path, target_hz, seconds):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(round(44_100 * seconds), 2), 44_100)
    features = FeatureConfig(
        sample_rate_hz=target_hz, clip_seconds=2.5, mel_max_hz=3_000
    )
    expected = waveform_from_bytes(path.read_bytes(), features).numpy()
    found = INPUTS.read_sound(path, features.clip_samples, target_hz)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_model_reads_files_and_streams_at_its_rate(
    with_metadata, tmp_path, monkeypatch, capsys
):
    path = with_metadata(sample_rate_hz=MODEL_RATE_HZ)
    sound = tmp_path / "a.wav"
    seconds = CLIP_SAMPLES // MODEL_RATE_HZ
    samples = noise(16_000 * seconds)
    # Quarters of different power, so that a stretched clip has other probabilities.
    samples *= np.repeat([0.1, 0.9, 0.3, 0.6], len(samples) // 4)[:, None]
    soundfile.write(sound, samples, 16_000, subtype="PCM_16")
    pcm = soundfile.read(sound, dtype="int16")[0].astype("<i2")
    expected = resample(tf.constant(pcm / 32_768, tf.float32), 16_000, MODEL_RATE_HZ)
    expected = fit_clip(expected, CLIP_SAMPLES).numpy()
    found = MODEL.Model(str(path), 1).read(FILES.Example("a", sound=sound))
    np.testing.assert_allclose(found["waveform"][0], expected, rtol=0, atol=1e-5)
    stream = types.SimpleNamespace(buffer=io.BytesIO(pcm.tobytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    flags = [str(path), "--pcm", "16000", "--every", str(seconds), "--json"]
    assert PROGRAM.main([*flags, "--top", "13"]) == 0
    scenes = json.loads(capsys.readouterr().out)["scenes"]
    probs = small_model_probs(waveform=expected)["scene_probs"]
    np.testing.assert_allclose([p for _, p in scenes], np.sort(probs)[::-1], atol=1e-4)


def test_a_model_without_a_rate_is_refused(with_metadata):
    path = with_metadata()
    contents = path.read_bytes().replace(b'"sample_rate_hz"', b'"simple_rate_hz"')
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"metadata lack sample_rate_hz|Bad CRC"):
        MODEL.Model(str(path), 1)


@pytest.mark.parametrize(
    "size", [(32, 32), (63, 64), (64, 64), (100, 131), (257, 300), (601, 400)]
)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_scaled_jpeg_has_the_levels_of_training(tmp_path, size, subsampling):
    rng = np.random.default_rng(size)
    levels = rng.integers(0, 256, (9, 11, 3), np.uint8)
    picture = Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC)
    path = tmp_path / "a.jpg"
    picture.save(path, quality=90, subsampling=subsampling)
    contents = path.read_bytes()
    expected = decode_image(contents, IMAGE_SIZE, jpeg_scaling=True).numpy()
    found = INPUTS.read_image(path, IMAGE_SIZE, jpeg_scaling=True)
    np.testing.assert_array_equal(found, expected)
    plain = INPUTS.read_image(path, IMAGE_SIZE)
    assert (plain != found).any() == (min(size) >= 2 * IMAGE_SIZE)


def test_scaling_has_no_effect_on_a_png(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    found = INPUTS.read_image(path, IMAGE_SIZE, jpeg_scaling=True)
    np.testing.assert_array_equal(found, INPUTS.read_image(path, IMAGE_SIZE))


def test_the_metadata_scale_and_limit_images(with_metadata, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (100, 80, 3), np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(levels).save(path)
    example = FILES.Example("a", image=path)
    limits = {"jpeg_scaling": True, "max_image_pixels": 8_000}
    model = MODEL.Model(str(with_metadata(**limits)), 1)
    expected = decode_image(path.read_bytes(), IMAGE_SIZE, jpeg_scaling=True).numpy()
    np.testing.assert_array_equal(model.read(example)["image"][0], expected)
    model = MODEL.Model(str(with_metadata(max_image_pixels=7_999)), 1)
    with pytest.raises(ValueError, match=r"a\.jpg .* most 7999 pixels; has 80 x 100"):
        model.read(example)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_the_centre_of_an_mp3_is_that_of_the_whole_recording(tmp_path, rate_hz):
    """A seek in MP3 corrupts the samples that follow in libsndfile."""
    path = tmp_path / "a.mp3"
    soundfile.write(path, 0.5 * noise(31 * rate_hz), rate_hz, format="MP3")
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(1)
    features = FeatureConfig()
    expected = fit_clip(resample(tf.constant(whole), rate_hz), features.clip_samples)
    found = INPUTS.read_sound(path, features.clip_samples)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_changed_byte_of_the_model_is_refused(with_metadata, edge_model):
    contents = edge_model.read_bytes()
    archive = zipfile.ZipFile(io.BytesIO(contents))
    start = archive.getinfo("metadata.json").header_offset
    digest = hashlib.sha256(contents[:start]).hexdigest()
    path = with_metadata(sha256_flatbuffer=digest)
    assert MODEL.Model(str(path), 1).reads_sound
    changed = bytearray(path.read_bytes())
    changed[start // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(ValueError, match=r"changed\.tflite .* is damaged: the SHA-256"):
        MODEL.Model(str(path), 1)


@pytest.mark.parametrize(
    ("flag", "value", "rule"),
    [
        ("--top", "abc", "an integer of at least 1; received abc"),
        ("--top", "0", "an integer of at least 1; received 0"),
        ("--every", "soon", "a number of at least 0.1; received soon"),
        ("--pcm", "1.5", "an integer of at least 1; received 1.5"),
    ],
)
def test_a_wrong_value_of_an_option_has_its_rule(flag, value, rule, capsys):
    assert PROGRAM.main(["a.tflite", "--image", "a.jpg", flag, value]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: argument {flag}: must be {rule}; --help")


def test_unknown_sizes_are_those_of_the_library():
    assert INPUTS.UNKNOWN_SIZES == UNKNOWN_SIZES
