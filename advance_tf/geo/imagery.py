"""Aerial imagery: square images around places, cut from rasters of any projection."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from advance_tf.extras import requires_extra
from advance_tf.geo.projection import (
    geographic_bounds,
    is_in_metres,
    local_crs,
    wrap_longitude,
)
from advance_tf.geo.raster import Raster, warped

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.io import DatasetReader


@dataclasses.dataclass(frozen=True, eq=False)
class Tile:
    """The image of a place, north up.

    Attributes:
        image: uint8 [S, S, 3], RGB; black where there is no data.
        missing: share of pixels without data, in [0, 1].
        cloud: share of pixels in the cloud masks, in [0, 1].
        source: names of the rasters, "; " between several.
        date: acquisition of the first raster, as YYYY-MM-DD, "" if unknown.
        resolution_metres: ground resolution of the first raster.
    """

    image: np.ndarray
    missing: float
    cloud: float
    source: str
    date: str
    resolution_metres: float


class Imagery:
    """Rasters from which square images are cut.

    A context manager: rasters are open inside the block.

    Args:
        paths: everything that rasterio opens: GeoTIFF, COG (also
            `https://….tif`), VRT, JPEG 2000, …, in any projection. Where the first
            raster has no data, the next one is used.
        bands: numbers of the bands of red, green and blue, from 1; empty: the bands
            whose colour interpretation is so, else the first three, or the first
            alone as grey.
        cloud_masks: rasters that are not 0 where there are clouds.

    Raises:
        ValueError: a raster cannot be opened, has no projection or too few bands, or
            its values are indices of a palette or amounts of ink.
        ImportError: the extra `geo` is not installed.

    Example:
        >>> import tempfile
        >>> import rasterio
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "a_20240501.tif")
        ...     profile = dict(
        ...         driver="GTiff", width=90, height=90, count=3, dtype="uint8",
        ...         crs="EPSG:32632", nodata=0,
        ...         transform=rasterio.transform.from_origin(536000, 5220900, 10, 10),
        ...     )
        ...     with rasterio.open(path, "w", **profile) as raster:
        ...         raster.write(np.full((3, 90, 90), 7, np.uint8))
        ...     with Imagery([path]) as imagery:
        ...         tile = imagery.tile(47.13517, 9.48067, 500, 64)
        >>> tile.image.shape, tile.missing, tile.date, round(tile.resolution_metres)
        ((64, 64, 3), 0.0, '2024-05-01', 10)
    """

    def __init__(
        self,
        paths: Sequence[str | pathlib.Path],
        *,
        bands: Sequence[int] = (),
        cloud_masks: Sequence[str | pathlib.Path] = (),
    ) -> None:
        if not paths:
            raise ValueError("raster must name at least one raster; received none.")
        self._stack = contextlib.ExitStack()
        self.rasters = [Raster(self._open(path), tuple(bands)) for path in paths]
        self.cloud_masks = [self._open(path) for path in cloud_masks]

    def __enter__(self) -> "Imagery":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, path: str | pathlib.Path) -> "DatasetReader":
        with requires_extra("geo"):
            import rasterio
            from rasterio.errors import RasterioError
        try:
            raster = self._stack.enter_context(rasterio.open(path))
        except RasterioError as error:
            raise ValueError(
                f"A raster must be a file that GDAL reads; {path}: {error}."
            ) from error
        if raster.crs is None:
            raise ValueError(
                f"A raster must have a coordinate system; {path} has none. Assign one "
                "with gdal_edit, or convert a plain image with `advance prepare`."
            )
        return raster

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north in degrees of all rasters.

        East is more than 180 where they are on both sides of the 180th meridian.
        """
        every = np.array([geographic_bounds(r.dataset) for r in self.rasters])
        # Whole turns bring the centres near that of the first raster.
        centres = every[:, [0, 2]].mean(axis=1, keepdims=True)
        every[:, [0, 2]] -= 360 * np.round((centres - centres[0]) / 360)
        west, south = every[:, :2].min(axis=0)
        east, north = every[:, 2:].max(axis=0)
        return float(west), float(south), float(east), float(north)

    def tile(
        self, latitude: float, longitude: float, ground_metres: float, pixels: int = 512
    ) -> Tile:
        """Cuts the square around a place.

        The projection of the image is azimuthal equidistant around the place, so that
        its sides are `ground_metres` in every raster's projection. Values are
        interpolated bilinearly; where a pixel is larger than those of the raster,
        over its area.

        Args:
            latitude: degrees north of the centre.
            longitude: degrees east.
            ground_metres: side of the square in metres.
            pixels: side S of the image.

        Returns:
            The image; without any data `source` is "".

        Raises:
            ValueError: a raster cannot be read there.
        """
        from rasterio.errors import RasterioError

        image = np.zeros((3, pixels, pixels), np.uint8)
        lacking = np.ones((pixels, pixels), bool)
        used: list[Raster] = []
        try:
            for raster in self.rasters:
                if not raster.touches(latitude, longitude, ground_metres):
                    continue
                grid = _grid(latitude, longitude, ground_metres, pixels)
                levels, valid = raster.read(*grid, pixels)
                if (lacking & valid).any():
                    used.append(raster)
                    image[:, lacking & valid] = levels[:, lacking & valid]
                    lacking &= ~valid
                if not lacking.any():
                    break
            cloud = self._cloud(latitude, longitude, ground_metres, pixels)
        except RasterioError as error:
            raise ValueError(
                f"The imagery at {latitude}, {longitude} must be readable; {error}."
            ) from error
        first = used[0] if used else None
        return Tile(
            image.transpose(1, 2, 0),
            float(lacking.mean()),
            cloud,
            "; ".join(raster.name for raster in used),
            first.date if first else "",
            first.resolution_at(latitude, longitude) if first else 0.0,
        )

    def _cloud(
        self, latitude: float, longitude: float, ground_metres: float, pixels: int
    ) -> float:
        from rasterio.enums import Resampling

        cloudy = np.zeros((pixels, pixels), bool)
        for mask in self.cloud_masks:
            grid = _grid(latitude, longitude, ground_metres, pixels)
            with warped(mask, *grid, pixels, Resampling.nearest) as image:
                cloudy |= image.read(1, masked=True).filled(0) != 0
        return float(cloudy.mean())

    def thumbnail(
        self, pixels: int = 1024
    ) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        """A reduced image of the first raster, in degrees.

        Args:
            pixels: longest side.

        Returns:
            uint8 [H, W, 4], RGB and opacity, and west, south, east and north; east is
            more than 180 for a raster across the 180th meridian.
        """
        from rasterio.enums import Resampling
        from rasterio.transform import from_bounds

        raster = self.rasters[0]
        west, south, east, north = geographic_bounds(raster.dataset)
        scale = pixels / max(east - west, north - south)
        width = max(round((east - west) * scale), 1)
        height = max(round((north - south) * scale), 1)
        transform = from_bounds(west, south, east, north, width, height)
        levels, valid = raster.read(
            "EPSG:4326", transform, (height, width), Resampling.average
        )
        opacity = np.where(valid, 255, 0).astype(np.uint8)
        picture = np.concatenate([levels, opacity[None]])  # [4, H, W]
        return picture.transpose(1, 2, 0), (west, south, east, north)


def _grid(
    latitude: float, longitude: float, metres: float, pixels: int
) -> tuple[str, "Affine"]:
    """Projection and transformation of the square of a place."""
    from rasterio.transform import from_origin

    step = metres / pixels
    return local_crs(latitude, longitude), from_origin(
        -metres / 2, metres / 2, step, step
    )


def grid_of_places(
    imagery: Imagery, stride_metres: float
) -> tuple[Any, "Affine", np.ndarray]:
    """Places in a regular grid over the first raster.

    Args:
        imagery: the rasters.
        stride_metres: distance of neighbouring places.

    Returns:
        The coordinate system of the grid (that of the raster if its unit is a metre on
        the ground, else the UTM zone of its centre); the transformation of a raster
        whose pixels are the cells; and latitude and longitude of their centres,
        float64 [rows, columns, 2].

    Raises:
        ValueError: the raster is smaller than one cell.
    """
    import pyproj
    from rasterio.transform import from_origin
    from rasterio.warp import transform_bounds

    dataset = imagery.rasters[0].dataset
    crs = dataset.crs
    west, south, east, north = geographic_bounds(dataset)
    longitude, latitude = wrap_longitude((west + east) / 2), (south + north) / 2
    if not is_in_metres(crs, latitude, longitude):
        zone = int((longitude + 180) // 6) + 1
        crs = f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"
    left, bottom, right, top = transform_bounds(dataset.crs, crs, *dataset.bounds)
    columns = int((right - left) // stride_metres)
    rows = int((top - bottom) // stride_metres)
    if not (rows and columns):
        raise ValueError(
            "stride_metres must be at most the side of the raster, "
            f"{right - left:.0f} m × {top - bottom:.0f} m; received {stride_metres:g}."
        )
    transform = from_origin(left, top, stride_metres, stride_metres)
    x = left + (np.arange(columns) + 0.5) * stride_metres
    y = top - (np.arange(rows) + 0.5) * stride_metres
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    longitudes, latitudes = to_degrees.transform(*np.meshgrid(x, y))
    return crs, transform, np.stack([latitudes, longitudes], axis=-1)
