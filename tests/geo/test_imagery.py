"""Square images: corners in several projections, bands, 16 bits, no data, clouds."""

import subprocess
import sys

import numpy as np
import pyproj
import pytest
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from advance_tf.geo.imagery import Imagery, grid_of_places
from advance_tf.geo.projection import local_crs
from tests.geo.factories import LATITUDE, LONGITUDE, place, write_raster

FLAT = np.full((3, 100, 100), 90, np.uint8)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:2056", "EPSG:3857", "EPSG:4326"])
def test_corners_are_those_of_pyproj(tmp_path, crs):
    """Each pixel of the raster holds twice its column and row."""
    metres = 1e-4 if crs == "EPSG:4326" else 10.0
    grid = 2 * np.mgrid[0:120, 0:120].astype(np.uint8)[::-1]  # columns, rows
    values = np.concatenate([grid, np.ones_like(grid[:1])])
    path = write_raster(tmp_path / "a.tif", values, crs=crs, metres=metres)
    with Imagery([path]) as imagery:
        tile = imagery.tile(LATITUDE, LONGITUDE, 800, 100)  # 8 m a pixel
        transform = imagery.rasters[0].dataset.transform
    assert tile.missing == 0
    to_raster = pyproj.Transformer.from_crs(
        local_crs(LATITUDE, LONGITUDE), crs, always_xy=True
    )
    for row, column in ((0, 0), (0, 99), (99, 0), (99, 99)):
        # Centre of the corner pixel in metres from the place.
        east, north = -400 + 8 * (column + 0.5), 400 - 8 * (row + 0.5)
        x, y = ~transform * to_raster.transform(east, north)
        expected = np.array([x - 0.5, y - 0.5])
        received = tile.image[row, column, :2] / 2.0
        # Half a pixel of the image, 4 m of 10 m, less the rounding to whole levels.
        np.testing.assert_allclose(received, expected, atol=0.4)


def test_16_bits_are_scaled_once_for_the_raster(tmp_path):
    ramp = np.arange(100, dtype=np.uint16) * 100
    values = np.broadcast_to(ramp, (3, 100, 100)).copy()
    path = write_raster(tmp_path / "a.tif", values)
    low, high = np.percentile(values, (2, 98))
    with Imagery([path]) as imagery:
        for east in (-200, 150):
            tile = imagery.tile(*place(east, 0), 100, 10)
            column = 49.5 + east / 10
            expected = 255 * (100 * column - low) / (high - low)
            assert tile.image.mean() == pytest.approx(expected, abs=1.5)


def test_pixels_without_data_come_from_the_next_raster(tmp_path):
    half = FLAT.copy()
    half[:, :, 50:] = 0
    first = write_raster(tmp_path / "first_2023-07-01.tif", half, nodata=0)
    other = write_raster(tmp_path / "other_20190101.tif", FLAT + 10)
    with Imagery([first]) as imagery:
        tile = imagery.tile(LATITUDE, LONGITUDE, 400, 40)
        assert tile.missing == pytest.approx(0.5, abs=0.04)
        assert imagery.tile(*place(5000, 0), 400, 40).source == ""
        assert imagery.tile(*place(-500, 0), 400, 40).missing == pytest.approx(
            0.5, abs=0.04
        )
    with Imagery([first, other]) as imagery:
        tile = imagery.tile(LATITUDE, LONGITUDE, 400, 40)
    assert tile.missing == 0
    assert (tile.image[20, 5, 0], tile.image[20, 35, 0]) == (90, 100)
    assert tile.source == "first_2023-07-01.tif; other_20190101.tif"
    assert tile.date == "2023-07-01"
    assert tile.resolution_metres == pytest.approx(10, rel=2e-3)


def test_clouds_of_a_mask_in_another_projection(tmp_path):
    mask = np.zeros((1, 100, 100), np.uint8)
    mask[:, :, 50:] = 3
    path = write_raster(tmp_path / "a.tif", FLAT)
    clouds = write_raster(tmp_path / "c.tif", mask, crs="EPSG:2056")
    with Imagery([path], cloud_masks=[clouds]) as imagery:
        cloud = imagery.tile(LATITUDE, LONGITUDE, 400, 40).cloud
    assert cloud == pytest.approx(0.5, abs=0.04)


def test_bands_are_found_by_colour_and_given_by_number(tmp_path):
    import rasterio

    values = np.stack([np.full((50, 50), n, np.uint8) for n in (10, 20, 30, 40)])
    path = write_raster(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = (
            *(ColorInterp.undefined, ColorInterp.blue, ColorInterp.green),
            ColorInterp.red,
        )
    with Imagery([path]) as imagery:
        assert imagery.tile(LATITUDE, LONGITUDE, 50, 4).image[0, 0].tolist() == [
            *(40, 30, 20),
        ]
    with Imagery([path], bands=(1, 2, 3)) as imagery:
        assert imagery.tile(LATITUDE, LONGITUDE, 50, 4).image[0, 0].tolist() == [
            *(10, 20, 30),
        ]
    with pytest.raises(ValueError, match="three numbers from 1 to 4"):
        Imagery([path], bands=(1, 2, 9))


def test_a_grid_has_its_places_at_the_centres(tmp_path):
    path = write_raster(tmp_path / "a.tif", FLAT)
    with Imagery([path]) as imagery:
        crs, transform, places = grid_of_places(imagery, 300)
        bounds = imagery.rasters[0].dataset.bounds
    assert places.shape == (3, 3, 2)
    to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(bounds.left + 750, bounds.top - 450)
    np.testing.assert_allclose(places[1, 2], (latitude, longitude), atol=1e-9)
    assert transform * (1, 1) == pytest.approx((bounds.left + 300, bounds.top - 300))
    # A raster in degrees gets a grid in metres.
    degrees = write_raster(tmp_path / "b.tif", FLAT, crs="EPSG:4326", metres=1e-4)
    with Imagery([degrees]) as imagery:
        assert grid_of_places(imagery, 250)[0] == "EPSG:32632"
        with pytest.raises(ValueError, match="stride_metres must be at most"):
            grid_of_places(imagery, 5000)
    # So does one in Web Mercator, whose metre is 0.68 m on the ground here.
    mercator = write_raster(tmp_path / "c.tif", FLAT, crs="EPSG:3857")
    with Imagery([mercator]) as imagery:
        assert grid_of_places(imagery, 250)[0] == "EPSG:32632"


def test_what_is_no_raster_is_an_error(tmp_path):
    (tmp_path / "a.tif").write_text("text")
    with pytest.raises(ValueError, match="file that GDAL reads"):
        Imagery([tmp_path / "a.tif"])
    import rasterio

    plain = tmp_path / "b.tif"
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 3, "dtype": "uint8"}
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        rasterio.open(plain, "w", **profile).close()
    with pytest.raises(ValueError, match="coordinate system"):
        Imagery([plain])
    with pytest.raises(ValueError, match="at least one raster"):
        Imagery([])


def test_a_raster_is_read_over_http(tmp_path, monkeypatch):
    """GDAL holds Python's lock while it waits: the server is another process."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write_raster(tmp_path / "a.tif", FLAT, driver="COG")
    command = [sys.executable, "-m", "tests.geo.range_server", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().strip()
            with Imagery([f"http://127.0.0.1:{port}/a.tif"]) as imagery:
                tile = imagery.tile(LATITUDE, LONGITUDE, 100, 8)
        finally:
            server.kill()
    assert (tile.image == 90).all()
    assert tile.source == "a.tif"


def test_places_on_the_other_side_of_the_earth_have_no_image(tmp_path):
    path = write_raster(tmp_path / "a.tif", FLAT)
    with Imagery([path]) as imagery:
        for latitude, longitude in ((-33.9, 151.2), (-LATITUDE, LONGITUDE - 180)):
            assert imagery.tile(latitude, longitude, 256, 8).missing == 1


def halves(path, crs, x, y, metres, shape=(64, 64)):
    """A raster around a point: 90 in its west, 200 in its east."""
    values = np.full((3, *shape), 90, np.uint8)
    values[:, :, shape[1] // 2 :] = 200
    left, top = x - metres * shape[1] / 2, y + metres * shape[0] / 2
    transform = from_origin(left, top, metres, metres)
    return write_raster(path, values, crs=crs, transform=transform)


@pytest.mark.parametrize(
    ("crs", "grid"), [("EPSG:32760", "EPSG:32760"), ("EPSG:3857", "EPSG:32701")]
)
def test_a_raster_across_the_180th_meridian(tmp_path, crs, grid):
    forward = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    x, y = forward.transform(180.0, -17.0)
    with Imagery([halves(tmp_path / "a.tif", crs, abs(x) + 20, y, 10)]) as imagery:
        found, _, places = grid_of_places(imagery, 150)
        bounds = imagery.bounds
        shown, also = imagery.thumbnail(64)
    assert found == grid
    longitudes = places[0, :, 1]
    assert (np.abs(longitudes) > 179.99).all()
    assert longitudes[0] > 0 > longitudes[-1]
    # 320 m, less or more the 20 m of its centre, at 106.4 km a degree; in Web
    # Mercator a metre is 0.956 m on the ground.
    scale = 0.956 if crs == "EPSG:3857" else 1.0
    degrees = scale * np.array([-300, 340]) / 106_450
    assert bounds[::2] == pytest.approx(180 + degrees, abs=1e-4)
    assert also == bounds
    assert shown.shape[1] == 64
    assert shown.shape[0] == pytest.approx(62, abs=2)
    if crs == "EPSG:32760":
        assert (shown[30, [4, -4], 0] == (90, 200)).all()


def test_a_square_across_the_180th_meridian_is_cut_from_degrees(tmp_path):
    """The raster ends at the meridian: half of the square has data."""
    path = halves(tmp_path / "a.tif", "EPSG:4326", 179.5, 0, 0.01, (100, 100))
    with Imagery([path]) as imagery:
        for longitude in (180.0, -180.0):
            tile = imagery.tile(0, longitude, 20_000, 8)
            assert tile.image[4, :, 0].tolist() == [200] * 4 + [0] * 4
            assert tile.missing == 0.5


def test_rasters_without_colours_are_refused(tmp_path):
    import rasterio

    path = write_raster(tmp_path / "p.tif", FLAT[:1])
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {90: (10, 20, 30, 255)})
    with pytest.raises(ValueError, match=r"indices of a palette.*gdal_translate"):
        Imagery([path])
    # Asked for by number.
    with Imagery([path], bands=(1, 1, 1)) as imagery:
        assert imagery.tile(LATITUDE, LONGITUDE, 50, 4).image[0, 0].tolist() == [90] * 3
    ink = np.full((4, 100, 100), 9000, np.uint16)
    path = write_raster(tmp_path / "k.tif", ink, photometric="CMYK")
    with pytest.raises(ValueError, match=r"amounts of ink \(CMYK\).*RGB"):
        Imagery([path])
