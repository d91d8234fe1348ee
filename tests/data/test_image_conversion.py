"""TIFF, GeoTIFF, JPEG 2000 and GIF become PNG."""

import warnings

import numpy as np
import pytest
import rasterio
import tensorflow as tf
from rasterio.errors import NotGeoreferencedWarning

from advance_tf.data.image_conversion import convert_image


def write_raster(path, values, driver="GTiff", palette=None, **options):
    count, height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver=driver,
            width=width,
            height=height,
            count=count,
            dtype=values.dtype,
            **options,
        ) as raster:
            raster.write(values)
            if palette:
                raster.write_colormap(1, palette)


def levels(path):
    return tf.io.decode_png(tf.io.read_file(str(path)), channels=3).numpy()


def random_levels(bands):
    return np.random.default_rng(0).integers(0, 256, (bands, 20, 30), np.uint8)


@pytest.mark.parametrize(
    ("name", "driver", "options"),
    [
        ("a.tif", "GTiff", {}),
        ("a.tiff", "GTiff", {"compress": "deflate"}),
        ("a.jp2", "JP2OpenJPEG", {"QUALITY": "100", "REVERSIBLE": "YES"}),
    ],
)
def test_levels_of_8_bits_are_kept(tmp_path, name, driver, options):
    values = random_levels(4)
    write_raster(tmp_path / name, values, driver, **options)
    convert_image(tmp_path / name, tmp_path / "a.png")
    np.testing.assert_array_equal(
        levels(tmp_path / "a.png"), values[:3].transpose(1, 2, 0)
    )
    assert sorted(p.name for p in tmp_path.iterdir() if "aux" in p.name) == []


def test_one_band_becomes_grey_and_a_palette_is_applied(tmp_path):
    values = random_levels(1) % 2
    write_raster(tmp_path / "grey.tif", values * 200)
    convert_image(tmp_path / "grey.tif", tmp_path / "grey.png")
    np.testing.assert_array_equal(
        levels(tmp_path / "grey.png"), np.repeat(values[0, ..., None] * 200, 3, -1)
    )
    write_raster(tmp_path / "a.gif", values, "GIF")
    palette = {0: (10, 20, 30, 255), 1: (200, 100, 0, 255)}
    write_raster(tmp_path / "palette.tif", values, palette=palette)
    convert_image(tmp_path / "palette.tif", tmp_path / "palette.png")
    colours = np.array([[10, 20, 30], [200, 100, 0]], np.uint8)
    np.testing.assert_array_equal(levels(tmp_path / "palette.png"), colours[values[0]])


def test_16_bits_are_stretched_between_percentiles_without_missing_data(tmp_path):
    values = np.random.default_rng(0).integers(200, 4000, (3, 20, 30), np.uint16)
    values[:, 0, :5] = 0
    write_raster(tmp_path / "a.tif", values, nodata=0)
    convert_image(tmp_path / "a.tif", tmp_path / "a.png")
    valid = values[values > 0].astype(float)
    low, high = np.percentile(valid, [2, 98])
    expected = np.rint(np.clip((values - low) / (high - low) * 255, 0, 255))
    expected[values == 0] = 0
    np.testing.assert_array_equal(
        levels(tmp_path / "a.png"), expected.transpose(1, 2, 0)
    )


@pytest.mark.parametrize("contents", [b"", b"II*\x00 cut off", b"GIF89a"])
def test_a_damaged_file_is_an_error(tmp_path, contents):
    path = tmp_path / "a.tif"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="cannot be read"):
        convert_image(path, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_a_raster_without_data_is_an_error(tmp_path):
    write_raster(tmp_path / "a.tif", np.zeros((3, 4, 4), np.uint16), nodata=0)
    with pytest.raises(ValueError, match="pixels with data; it has none"):
        convert_image(tmp_path / "a.tif", tmp_path / "a.png")


def test_a_palette_of_16_bits_is_applied(tmp_path):
    values = random_levels(1).astype(np.uint16) % 2 + 299
    palette = {299: (10, 20, 30, 255), 300: (200, 100, 0, 255)}
    options = {"palette": palette, "photometric": "palette"}
    write_raster(tmp_path / "a.tif", values, **options)
    convert_image(tmp_path / "a.tif", tmp_path / "a.png")
    colours = np.array([[10, 20, 30], [200, 100, 0]], np.uint8)
    expected = colours[values[0] - 299]
    np.testing.assert_array_equal(levels(tmp_path / "a.png"), expected)


def test_ink_becomes_rgb_or_is_refused(tmp_path):
    ink = np.array([10, 60, 110, 40], np.uint8)[:, None, None]
    write_raster(tmp_path / "a.tif", np.tile(ink, (1, 20, 30)), photometric="CMYK")
    convert_image(tmp_path / "a.tif", tmp_path / "a.png")
    expected = (255.0 - ink[:3, 0, 0]) * (255 - 40) / 255  # 206.6, 164.4, 122.3
    np.testing.assert_allclose(levels(tmp_path / "a.png")[4, 4], expected, atol=1)
    values = np.tile(ink.astype(np.uint16) * 257, (1, 20, 30))
    write_raster(tmp_path / "b.tif", values, photometric="CMYK")
    with pytest.raises(ValueError, match=r"it is CMYK of type uint16\. Convert it"):
        convert_image(tmp_path / "b.tif", tmp_path / "b.png")
