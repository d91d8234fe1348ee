"""Prediction at places and over a raster, with a model that answers from its inputs."""

import json

import numpy as np
import pytest
import rasterio
import soundfile

from advance_tf import labels
from advance_tf.geo.imagery import Imagery
from advance_tf.geo.places import (
    TileSettings,
    predict_places,
    predict_raster,
    summary,
    write_scene_raster,
)
from advance_tf.geo.recordings import Recording, Rejection
from advance_tf.inference.loading import model_sha256
from advance_tf.inference.model import Model, Scores
from tests.geo.factories import place, write_raster, write_recording

TILES = TileSettings(ground_metres=100, pixels=10)


class LevelModel(Model):
    """The scene is the level of the image; a sound doubles its probability."""

    modality = "both"
    batches = ()

    def _read(self, example):
        return {"image": example.image, "sound": example.sound}

    def _scores(self, rows):
        self.batches = (*self.batches, len(rows))
        probs = np.full((len(rows), 13), 0.04, np.float32)
        for row, given in enumerate(rows):
            scene = 0 if given["image"] is None else round(float(given["image"].mean()))
            probs[row, scene] = 0.25 if given["sound"] is None else 0.5
        return Scores(["ok"] * len(rows), probs, None)

    def _embed(self, row):
        raise NotImplementedError


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    """Scene 3 in the west, scene 7 in the east, no data in the north."""
    values = np.full((3, 60, 60), 3, np.uint8)
    values[:, :, 30:] = 7
    values[:, :20] = 255
    path = tmp_path_factory.mktemp("raster") / "a_20240501.tif"
    return write_raster(path, values, nodata=255)


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


def test_a_grid_over_a_raster(raster, tmp_path):
    sound = str(write_recording(tmp_path / "a.wav"))
    # Near the cells of the south-west only.
    recordings = [Recording("a", sound, *place(-250, -250))]
    with Imagery([raster]) as imagery:
        result = predict_raster(
            *(LevelModel(), imagery, 100, TILES),
            recordings=recordings,
            sound_metres=110,
        )
        bounds = imagery.rasters[0].dataset.bounds
    expected = np.full((6, 6), 4, np.uint8)  # scene 3 is class 4
    expected[:, 3:] = 8
    expected[:2] = 0
    # The image of a cell on the border of no data lacks pixels.
    np.testing.assert_array_equal(result.classes[3:], expected[3:])
    np.testing.assert_array_equal(result.classes[:2], 0)
    with_sound = result.confidence > 0.4
    assert np.argwhere(with_sound).tolist() == [[4, 0], [5, 0], [5, 1]]
    assert result.with_sound == 3
    path, beside = write_scene_raster(result, tmp_path / "s.tif", {"run": "r"})
    with rasterio.open(path) as written:
        assert written.bounds == pytest.approx(bounds, abs=1e-6)
        assert written.crs.to_epsg() == 32632
        np.testing.assert_array_equal(written.read(1), result.classes)
        assert written.nodata == 0
        assert written.colormap(1)[4] == (0x8A, 0x8A, 0x00, 255)
        assert written.tags()["class_4"] == labels.scenes()[3]
        assert written.tags()["run"] == "r"
        assert written.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    with rasterio.open(beside) as written:
        np.testing.assert_allclose(written.read(1), result.confidence)
    assert "36 cells" in summary(result)


def test_a_recording_that_cannot_be_read_is_left_out_of_a_grid(
    raster, tmp_path, caplog
):
    """The cells use the next one near by; other refusals are counted."""
    for name in ("a.flac", "b.wav"):
        (tmp_path / name).write_bytes(b"no sound")
    sound = str(write_recording(tmp_path / "d.wav"))
    recordings = [
        Recording("a", str(tmp_path / "a.flac"), *place(-250, -250)),
        Recording("b", str(tmp_path / "b.wav"), *place(-250, -249)),
        Recording("c", str(tmp_path / "gone.wav"), *place(-250, -248)),
        Recording("d", sound, *place(-250, -247)),
    ]
    with Imagery([raster]) as imagery:
        grid = (LevelModel(), imagery, 100, TILES)
        result = predict_raster(*grid, recordings=recordings, sound_metres=110)
        expected = predict_raster(*grid, recordings=recordings[3:], sound_metres=110)
    np.testing.assert_array_equal(result.confidence, expected.confidence)
    assert result.with_sound == expected.with_sound > 0
    for name in ("a.flac", "b.wav", "gone.wav"):
        assert f"{name} is left out" in caplog.text

    class RefusingModel(LevelModel):
        def _read(self, example):
            raise ValueError("it is refused")

    with Imagery([raster]) as imagery:
        result = predict_raster(RefusingModel(), imagery, 100, TILES)
    assert result.predicted == 0
    (count,) = result.refused.values()
    assert f"+ {36 - count} without data + {count} refused" in summary(result)


def test_models_without_the_image_have_no_raster(raster):
    class SoundModel(LevelModel):
        modality = "sound"

    with Imagery([raster]) as imagery:
        with pytest.raises(ValueError, match="needs a model that uses the image"):
            predict_raster(SoundModel(), imagery, 100)


def test_the_hash_of_a_run_is_that_of_its_weights(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({}))
    weights = tmp_path / "best.weights.h5"
    weights.write_bytes(b"weights")
    import hashlib

    assert model_sha256(tmp_path) == hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "log.csv").write_text("another file")
    assert model_sha256(tmp_path) == hashlib.sha256(b"weights").hexdigest()
