"""An open raster: its bands, its levels, its date and its resolution."""

import pathlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from advance_tf.data.image_conversion import stretch, stretch_limits
from advance_tf.geo.projection import local_crs

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.io import DatasetReader
    from rasterio.vrt import WarpedVRT

# Side of the reduced raster whose percentiles scale values of more than 8 bits.
_OVERVIEW_PIXELS = 1024
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_:]?([01]\d)[-_:]?([0-3]\d)(?!\d)")
_DATE_TAGS = ("ACQUISITIONDATETIME", "TIFFTAG_DATETIME", "DATETIME", "DATE")


class Raster:
    """An open raster with its bands, its scaling and its date.

    Args:
        dataset: an open raster with a coordinate system.
        bands: numbers of the bands of red, green and blue, from 1; empty: the bands
            whose colour interpretation is so, else the first three, or the first
            alone as grey.

    Raises:
        ValueError: it has no such bands; or `bands` is empty and its values are
            indices of a palette or amounts of ink.
    """

    def __init__(self, dataset: "DatasetReader", bands: tuple[int, ...]) -> None:
        self.dataset = dataset
        self.name = pathlib.PurePath(dataset.name).name
        self.bands = bands or _colour_bands(dataset)
        if len(self.bands) != 3 or not all(
            1 <= band <= dataset.count for band in self.bands
        ):
            raise ValueError(
                f"bands must be three numbers from 1 to {dataset.count}; received "
                f"{', '.join(map(str, self.bands))} for {self.name}."
            )
        self.date = _date(dataset, self.name)
        if bands:
            # A data set that was built with other bands is built again.
            self.name += f" (bands {', '.join(map(str, bands))})"
        self._limits: tuple[float, float] | None = None

    def touches(self, latitude: float, longitude: float, metres: float) -> bool:
        """Whether the raster's bounds are near the square of a place."""
        from rasterio.warp import transform_bounds

        half = 0.51 * metres
        left, bottom, right, top = transform_bounds(
            local_crs(latitude, longitude),
            self.dataset.crs,
            *(-half, -half, half, half),
        )
        bounds = self.dataset.bounds
        south, north = sorted((bounds.bottom, bounds.top))
        turns: tuple[int, ...] = (0,)
        if self.dataset.crs.is_geographic:
            # Degrees of a square or a raster across the 180th meridian.
            right += 360 * (right < left)
            turns = (-360, 0, 360)
        return (
            bottom <= north
            and top >= south
            and any(
                left + turn <= bounds.right and right + turn >= bounds.left
                for turn in turns
            )
        )

    def read(
        self,
        crs: str,
        transform: "Affine",
        shape: int | tuple[int, int],
        resampling: Any = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Levels uint8 [3, H, W], and where they are valid, bool [H, W]."""
        from rasterio.enums import Resampling

        method = resampling or Resampling.bilinear
        with warped(self.dataset, crs, transform, shape, method) as image:
            values = image.read(list(self.bands), masked=True)
            valid = image.dataset_mask() > 0
        if values.dtype == np.uint8:
            return np.ma.filled(values, 0), valid
        finite = np.isfinite(np.ma.filled(values.astype(np.float64), np.nan)).all(0)
        if self._limits is None:
            reduced = self._reduced()
            self._limits = stretch_limits(reduced)
        return stretch(values, self._limits), valid & finite

    def _reduced(self) -> np.ma.MaskedArray:
        scale = max(1.0, max(self.dataset.shape) / _OVERVIEW_PIXELS)
        shape = [max(round(side / scale), 1) for side in self.dataset.shape]
        return self.dataset.read(
            list(self.bands), masked=True, out_shape=(len(self.bands), *shape)
        )

    def resolution_at(self, latitude: float, longitude: float) -> float:
        """Side of a square with the area of a pixel at a place, in metres."""
        import pyproj

        from_local = pyproj.Transformer.from_crs(
            local_crs(latitude, longitude), self.dataset.crs, always_xy=True
        )
        x, y = from_local.transform(0, 0)
        step = self.dataset.transform
        corners = [(x, y), (x + step.a, y + step.d), (x + step.b, y + step.e)]
        xs, ys = np.array(corners).T
        east, north = from_local.transform(
            xs, ys, direction=pyproj.enums.TransformDirection.INVERSE
        )
        sides = np.stack([east[1:] - east[0], north[1:] - north[0]])  # [2, 2]
        return float(abs(np.linalg.det(sides))) ** 0.5


def warped(
    dataset: "DatasetReader",
    crs: str,
    transform: "Affine",
    shape: int | tuple[int, int],
    resampling: Any,
) -> "WarpedVRT":
    """A raster in another grid.

    Args:
        dataset: an open raster.
        crs: coordinate system of the grid.
        transform: from column and row of the grid to coordinates.
        shape: height and width of the grid in pixels, or the side of a square.
        resampling: method of rasterio.

    Returns:
        The raster in the grid, a context manager; pixels outside of `dataset` have no
        data.
    """
    from rasterio.enums import ColorInterp
    from rasterio.vrt import WarpedVRT

    height, width = (shape, shape) if isinstance(shape, int) else shape
    given = {
        "crs": crs,
        "transform": transform,
        "height": height,
        "width": width,
        "resampling": resampling,
    }
    if dataset.nodata is None and ColorInterp.alpha not in dataset.colorinterp:
        # Pixels outside of the raster are those without opacity.
        return WarpedVRT(dataset, add_alpha=True, **given)
    return WarpedVRT(dataset, **given)


def _colour_bands(dataset: "DatasetReader") -> tuple[int, ...]:
    from rasterio.enums import ColorInterp

    named = {kind: band for band, kind in enumerate(dataset.colorinterp, start=1)}
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(kind in named for kind in wanted):
        return tuple(named[kind] for kind in wanted)
    # GDAL itself converts CMYK of 8 bits.
    for kind, values, way_out in (
        (
            ColorInterp.palette,
            "indices of a palette",
            "with gdal_translate -expand rgb",
        ),
        (ColorInterp.cyan, "amounts of ink (CMYK)", "with an image editor"),
    ):
        if kind in named:
            raise ValueError(
                "A raster must have bands of red, green and blue, or of grey; the "
                f"values of {dataset.name} are {values}. Convert it to RGB {way_out}, "
                "or choose three bands with `bands`."
            )
    return (1, 2, 3) if dataset.count >= 3 else (1, 1, 1)


def _date(dataset: "DatasetReader", name: str) -> str:
    """The date in the tags, else in the name of the file, as YYYY-MM-DD."""
    tags = {key.upper(): value for key, value in dataset.tags().items()}
    for text in (*(tags.get(tag, "") for tag in _DATE_TAGS), name):
        if match := _DATE.search(text):
            return "-".join(match.groups())
    return ""
