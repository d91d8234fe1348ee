"""Conversion of images to PNG, which models read: TIFF, JPEG 2000, GIF, other BMP."""

import pathlib
import warnings
from typing import TYPE_CHECKING

import numpy as np

from advance_tf.extras import requires_extra
from advance_tf.files import DAMAGED_FILE_ERRORS

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

# Extensions of the images that `convert_image` reads.
CONVERTED_ENDINGS = (".tif", ".tiff", ".gif", ".jp2", ".j2k")
MAX_PIXELS = 64_000_000
# Percentiles of the values that become levels 0 and 255 where values have more than
# 8 bits.
_STRETCH_PERCENT = (2.0, 98.0)


def convert_image(source: pathlib.Path, path: pathlib.Path) -> None:
    """Writes the first three bands of a raster as an RGB PNG.

    Values of 8 bits are kept. Others are stretched linearly: the 2nd percentile of
    the valid values of all three bands becomes 0, the 98th 255, values beyond are
    clipped, and pixels without data become black. A palette is applied; one or two
    bands become grey. Georeferencing is not kept.

    Args:
        source: a TIFF, GeoTIFF, JPEG 2000 or GIF file, its first image.
        path: the PNG file to write.

    Raises:
        ValueError: the file cannot be read, is CMYK of more than 8 bits, or has no
            valid pixel or more than 64 million.
        ImportError: the extra `geo` is not installed.
    """
    with requires_extra("geo"):
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(source) as raster:
                levels = _read_levels(raster)
        except RasterioError as error:
            raise ValueError(f"the image cannot be read: {error}") from error
        height, width = levels.shape[1:]
        with rasterio.open(
            path, "w", driver="PNG", width=width, height=height, count=3, dtype="uint8"
        ) as png:
            png.write(levels)
    # GDAL writes statistics beside some formats.
    path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)


def convert_form(source: pathlib.Path, path: pathlib.Path) -> None:
    """Writes an image that Pillow reads as an RGB PNG, such as a BMP of 4 bits.

    A palette is applied, an alpha channel is dropped, and of an animation the first
    image is written. The orientation in EXIF is not applied.

    Args:
        source: the image.
        path: the PNG file to write.

    Raises:
        ValueError: the file cannot be read or has more than 64 million pixels.
        ImportError: the extra `geo` is not installed.
    """
    with requires_extra("geo"):
        from PIL import Image
    try:
        with Image.open(source) as image:
            _check_pixels(image.width, image.height)
            image.convert("RGB").save(path, "PNG")
    except _PixelsError:
        raise
    # Errors of Pillow's decoders have no base class.
    except (*DAMAGED_FILE_ERRORS, OSError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"the image cannot be read: {error}") from error


class _PixelsError(ValueError):
    """An image has too many pixels."""


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _PixelsError(
            f"the image must have at most {MAX_PIXELS:,} pixels; it has "
            f"{width} × {height}. Cut or reduce it"
        )


def _read_levels(raster: "DatasetReader") -> np.ndarray:
    """The image as levels, uint8 [3, H, W]."""
    from rasterio.enums import ColorInterp

    _check_pixels(raster.width, raster.height)
    # GDAL converts CMYK of 8 bits, but not of 16.
    if ColorInterp.cyan in raster.colorinterp:
        raise ValueError(
            "the image must be RGB, grey or paletted, or CMYK of 8 bits; it is CMYK of "
            f"type {raster.dtypes[0]}. Convert it to RGB with an image editor"
        )
    palette = _palette(raster)
    if palette is not None:
        return palette[raster.read(1)].transpose(2, 0, 1)
    bands = [1, 2, 3] if raster.count >= 3 else [1, 1, 1]
    if raster.dtypes[0] == "uint8":
        return raster.read(bands)
    return stretch(raster.read(bands, masked=True))  # [3, H, W]


def _palette(raster: "DatasetReader") -> np.ndarray | None:
    """The colours of all values, uint8 [values, 3]; None without a palette."""
    try:
        colours = raster.colormap(1)
    except ValueError:
        return None
    values = 256 if raster.dtypes[0] == "uint8" else 1 << 16
    palette = np.zeros((values, 3), np.uint8)
    for value, colour in colours.items():
        if 0 <= value < len(palette):
            palette[value] = colour[:3]
    return palette


def stretch(
    values: np.ma.MaskedArray, limits: tuple[float, float] | None = None
) -> np.ndarray:
    """Scales values of more than 8 bits to levels.

        y = 255 (x − p2) / (p98 − p2), rounded and clipped to [0, 255]

    Args:
        values: number [3, H, W]; masked and non-finite values have no data.
        limits: p2 and p98, None for those of the values.

    Returns:
        uint8 [3, H, W], 0 where there is no data.

    Raises:
        ValueError: no value is valid.

    Example:
        >>> ramp = np.ma.masked_equal(np.arange(101)[None], 0)
        >>> stretch(ramp)[0, [0, 1, 50, 100]].tolist()
        [0, 0, 126, 255]
    """
    numbers = np.ma.masked_invalid(values.astype(np.float64))
    low, high = limits or stretch_limits(numbers)
    scaled = (numbers - low) * (255.0 / max(high - low, np.finfo(np.float64).tiny))
    return np.rint(np.clip(scaled.filled(0.0), 0.0, 255.0)).astype(np.uint8)


def stretch_limits(values: np.ma.MaskedArray) -> tuple[float, float]:
    """The values that `stretch` scales to the levels 0 and 255.

    Args:
        values: number [3, H, W]; masked and non-finite values have no data.

    Returns:
        The 2nd and the 98th percentile of the valid values.

    Raises:
        ValueError: no value is valid.
    """
    valid = np.ma.masked_invalid(values.astype(np.float64)).compressed()
    if not valid.size:
        raise ValueError("the image must have pixels with data; it has none")
    low, high = np.percentile(valid, _STRETCH_PERCENT)
    return float(low), float(high)
