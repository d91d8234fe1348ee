"""Prediction at places, with a model that answers from its inputs."""

import json

import numpy as np
import pytest
import rasterio
import soundfile

from advance_tf import labels
from advance_tf.geo.imagery import Imagery
from advance_tf.geo.places import TileSettings, predict_places
from advance_tf.geo.recordings import Recording, Rejection
from advance_tf.inference.loading import model_sha256
from tests.geo.factories import LevelModel, place, write_recording

TILES = TileSettings(ground_metres=100, pixels=10)


def test_in_is_answered_and_rejected(raster, tmp_path):
    sound = str(write_recording(tmp_path / "a.wav"))
    soundfile.write(tmp_path / "b.flac", np.zeros((800, 2)), 8000)
    recordings = [
        Recording("west", sound, *place(-150, -50)),
        Recording("east", str(tmp_path / "b.flac"), *place(150, -50)),
        Recording("north", sound, *place(0, 250)),
        Recording("outside", sound, *place(5000, 0)),
        Recording("gone", str(tmp_path / "gone.flac"), *place(-150, -50)),
        Recording("image only", "", *place(-150, -100)),
    ]
    rejections = [Rejection("zero", "recording", "the coordinates are (0, 0)")]
    model = LevelModel()
    with Imagery([raster]) as imagery:
        results = list(
            predict_places(
                *(model, recordings, imagery, TILES),
                rejections=rejections,
                batch_size=2,
                tile_dir=tmp_path / "tiles",
                sha256="ab",
            )
        )
    scenes = labels.scenes()
    assert [(one.name, one.scene) for one in results] == [
        *(("west", scenes[3]), ("east", scenes[7]), ("north", ""), ("outside", "")),
        *(("gone", ""), ("image only", scenes[3]), ("zero", "")),
    ]
    assert [one.confidence for one in results if one.ok] == pytest.approx(
        [0.5, 0.5, 0.25]
    )
    assert results[2].status == "no raster covers the place"
    assert results[3].status == "no raster covers the place"
    assert "gone.flac" in results[4].status
    assert results[6].status == "the coordinates are (0, 0)"
    assert results[0].image_source == "a_20240501.tif"
    assert set(results[0].probabilities) == set(scenes)
    assert {one.model_sha256 for one in results} == {"ab"}
    with rasterio.open(results[1].image) as tile:
        assert tile.read().shape == (3, 10, 10)
        assert abs(tile.read().mean() - 7) < 1
    assert model.batches == (2, 1)


def test_an_image_of_the_table_replaces_the_raster(tmp_path):
    image = str(tmp_path / "a.jpg")
    given = []

    class PathModel(LevelModel):
        def _read(self, example):
            given.append(example.image)
            return {"image": np.zeros(1), "sound": None}

    recordings = [Recording("a", "", 47.0, 9.5, image=image)]
    (result,) = predict_places(PathModel(), recordings)
    assert (given, result.image, result.ok) == ([image], image, True)


def test_the_hash_of_a_run_is_that_of_its_weights(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({}))
    weights = tmp_path / "best.weights.h5"
    weights.write_bytes(b"weights")
    import hashlib

    assert model_sha256(tmp_path) == hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "log.csv").write_text("another file")
    assert model_sha256(tmp_path) == hashlib.sha256(b"weights").hexdigest()
