"""Settings of a run that a LiteRT file keeps: rate, decoding and size of images."""

import json
import zipfile

import numpy as np
import pytest
import soundfile
from PIL import Image

from advance_tf.config import FeatureConfig
from advance_tf.inference.backends import RunModel
from advance_tf.inference.examples import Example
from advance_tf.inference.loading import load_model
from advance_tf.inference.predictor import Predictor
from advance_tf.serving.export import export_litert
from tests.export.edge_programs import edge_module
from tests.serving import factories

FEATURES = FeatureConfig(
    image_size=32,
    clip_seconds=1.0,
    sample_rate_hz=24_000,
    jpeg_scaling=True,
    max_image_pixels=300 * 300,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The model of a run, its LiteRT file, and the latter on the edge recognizer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factories, "FEATURES", FEATURES)
        run = factories.create_run(tmp_path_factory.mktemp("run"))
    path = export_litert(run, tmp_path_factory.mktemp("edge")).path
    edge = edge_module("edge_model").Model(str(path), 1)
    return RunModel(Predictor.from_run(run)), load_model(path), edge


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A JPEG above twice the image size, and a sound at another rate."""
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (12, 14, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    Image.fromarray(levels).save(folder / "a.jpg", quality=90)
    samples = rng.uniform(-0.5, 0.5, 3 * 44_100) * np.linspace(0, 1, 3 * 44_100)
    soundfile.write(folder / "a.wav", samples, 44_100)
    Image.new("RGB", (301, 300), "green").save(folder / "large.jpg")
    return folder


def test_the_metadata_have_the_settings(models):
    _, lite, _ = models
    with zipfile.ZipFile(lite.path) as archive:
        metadata = json.loads(archive.read("metadata.json"))
    names = ("sample_rate_hz", "image_size", "jpeg_scaling", "max_image_pixels")
    for name in names:
        assert metadata[name] == getattr(FEATURES, name)


def test_image_and_sound_are_read_as_by_the_run(models, place):
    run, lite, edge = models
    image, sound = place / "a.jpg", place / "a.wav"
    expected = run.predictor.frontend.read_image(image)
    waveform = run.predictor.frontend.read_waveform(sound)
    inputs = lite._read(Example("a", image, sound))
    np.testing.assert_array_equal(inputs["image"][0], expected)
    np.testing.assert_array_equal(inputs["waveform"][0], waveform)
    found = edge.read(edge_module("edge_files").Example("a", image, sound))
    np.testing.assert_array_equal(found["image"][0], expected)
    np.testing.assert_allclose(found["waveform"][0], waveform, rtol=0, atol=1e-5)
    probs = run.predict(image, sound).scene_probs
    assert lite.predict(image, sound).scene_probs == pytest.approx(probs, abs=1e-4)
    scenes = zip(edge.metadata["scenes"], edge.probs(found)["scene_probs"], strict=True)
    assert dict(scenes) == pytest.approx(probs, abs=1e-4)


def test_an_image_above_the_limit_is_refused(models, place):
    run, lite, edge = models
    for model in (run, lite):
        assert "at most 90000 pixels; received 301 x 300" in (
            model.predict(place / "large.jpg").status
        )
    example = edge_module("edge_files").Example("large", place / "large.jpg")
    with pytest.raises(ValueError, match="most 90000 pixels; has 301 x 300"):
        edge.read(example)
