"""The projection in metres around a place."""

import functools
from typing import TYPE_CHECKING

from advance_tf.extras import requires_extra

if TYPE_CHECKING:
    import pyproj


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
