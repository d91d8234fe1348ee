"""Prediction over a raster, with a model that answers from its inputs."""

import numpy as np
import pytest
import rasterio

from advance_tf import labels
from advance_tf.geo.imagery import Imagery
from advance_tf.geo.places import TileSettings
from advance_tf.geo.recordings import Recording
from advance_tf.geo.scene_raster import predict_raster, summary, write_scene_raster
from tests.geo.factories import LevelModel, place, write_recording

TILES = TileSettings(ground_metres=100, pixels=10)


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
