"""The projection in metres around a place."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from advance_tf.extras import requires_extra

if TYPE_CHECKING:
    import pyproj
    from rasterio.io import DatasetReader

# By how much a metre of a grid may differ from one on the ground.
_SCALE_TOLERANCE = 0.01


@functools.lru_cache(maxsize=64)
def local_transformer(latitude: float, longitude: float) -> "pyproj.Transformer":
    """The transformation from degrees to metres east and north of a place.

    Args:
        latitude: degrees north of the place.
        longitude: degrees east.

    Returns:
        A transformation of (longitude, latitude) to (east, north) in the azimuthal
        equidistant projection (WGS 84).

    Raises:
        ImportError: the extra `geo` is not installed.

    >>> east, north = local_transformer(47.0, 9.5).transform(9.5, 47.001)
    >>> round(east, 6), round(north, 1)
    (0.0, 111.2)
    """
    with requires_extra("geo"):
        import pyproj
    return pyproj.Transformer.from_crs(
        "EPSG:4326", local_crs(latitude, longitude), always_xy=True
    )


def local_crs(latitude: float, longitude: float) -> str:
    """The projection in metres around a place, as a PROJ string."""
    return (
        f"+proj=aeqd +lat_0={latitude!r} +lon_0={longitude!r} +datum=WGS84 +units=m "
        "+no_defs"
    )


def is_in_metres(crs: Any, latitude: float, longitude: float) -> bool:
    """Whether the unit of a coordinate system is a metre on the ground, within 1 %.

    Of Web Mercator, for instance, it is a metre at the equator alone.

    Args:
        crs: coordinate system of rasterio.
        latitude: degrees north of a place.
        longitude: degrees east.

    Returns:
        True for a projection in metres with a scale near 1 at the place.
    """
    import pyproj

    if not (crs.is_projected and crs.linear_units_factor[1] == 1.0):
        return False
    factors = pyproj.Proj(crs).get_factors(longitude, latitude)
    scales = (factors.meridional_scale, factors.parallel_scale)
    return all(abs(scale - 1) < _SCALE_TOLERANCE for scale in scales)


def wrap_longitude(longitude: float) -> float:
    """The longitude in [-180, 180) of a meridian, in degrees.

    >>> wrap_longitude(181.5), wrap_longitude(-178.5)
    (-178.5, -178.5)
    """
    return (longitude + 180) % 360 - 180


def longitude_range(longitudes: Sequence[float]) -> tuple[float, float]:
    """West and east of longitudes that may be on both sides of the 180th meridian.

    Args:
        longitudes: degrees east, in [-180, 180]; at least one.

    Returns:
        The smallest and the largest longitude; those of longitudes in [0, 360) where
        only these are less than half a turn apart, so that east is more than 180.

    >>> longitude_range([179.0, -178.0]), longitude_range([-70.0, 30.0])
    ((179.0, 182.0), (-70.0, 30.0))
    """
    west, east = min(longitudes), max(longitudes)
    turned = [longitude % 360 for longitude in longitudes]
    if east - west > 180 > max(turned) - min(turned):
        return float(min(turned)), float(max(turned))
    return float(west), float(east)


def geographic_bounds(dataset: "DatasetReader") -> tuple[float, float, float, float]:
    """The bounds of a raster in degrees.

    Args:
        dataset: an open raster with a coordinate system.

    Returns:
        West, south, east and north; east is more than 180 where the raster is on both
        sides of the 180th meridian.
    """
    from rasterio.warp import transform_bounds

    west, south, east, north = transform_bounds(
        dataset.crs, "EPSG:4326", *dataset.bounds
    )
    return west, south, east + 360 * (east < west), north
