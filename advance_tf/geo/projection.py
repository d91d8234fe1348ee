"""The projection in metres around a place."""

import functools
from typing import TYPE_CHECKING, Any

from advance_tf.extras import requires_extra

if TYPE_CHECKING:
    import pyproj

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
