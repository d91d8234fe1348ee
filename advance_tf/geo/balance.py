"""Balance of the scenes (Section 3): rare ones are dropped or get shifted images."""

import collections
from collections.abc import Mapping, Sequence

from advance_tf.extras import requires_extra

DROPPED, SHIFTED, KEPT = "dropped", "shifted", "kept"
# Direction → azimuth in degrees, clockwise from the north.
DIRECTIONS: Mapping[str, float] = {
    "north": 0.0,
    "east": 90.0,
    "south": 180.0,
    "west": 270.0,
}


def balance_scenes(
    scenes: Sequence[str], *, least_pairs: int = 10, shift_below: int = 100
) -> dict[str, str]:
    """Decides which scenes are dropped and which get shifted images.

    Args:
        scenes: the scene of each pair.
        least_pairs: a scene with fewer pairs is dropped.
        shift_below: each pair of a scene with fewer pairs gets four shifted images.

    Returns:
        Scene → "dropped", "shifted" or "kept".

    Source: Section 3 of the paper: 10 and 100.

    >>> balance_scenes(["lake"] * 3 + ["beach"] * 12, shift_below=13)
    {'lake': 'dropped', 'beach': 'shifted'}
    """
    found = {}
    for scene, count in collections.Counter(scenes).items():
        if count < least_pairs:
            found[scene] = DROPPED
        else:
            found[scene] = SHIFTED if count < shift_below else KEPT
    return found


def shift_place(
    latitude: float, longitude: float, metres: float
) -> dict[str, tuple[float, float]]:
    """Moves a place in four directions.

    Args:
        latitude: degrees north.
        longitude: degrees east.
        metres: distance, along a geodesic of WGS 84.

    Returns:
        "north", "east", "south" and "west" → latitude and longitude in degrees.

    Raises:
        ImportError: the extra `geo` is not installed.

    >>> latitude, longitude = shift_place(47.0, 9.5, 100)["north"]
    >>> round(latitude, 6), round(longitude, 6)
    (47.0009, 9.5)
    """
    with requires_extra("geo"):
        import pyproj
    count = len(DIRECTIONS)
    longitudes, latitudes, _ = pyproj.Geod(ellps="WGS84").fwd(
        [longitude] * count,
        [latitude] * count,
        list(DIRECTIONS.values()),
        [metres] * count,
    )
    return dict(zip(DIRECTIONS, zip(latitudes, longitudes, strict=True), strict=True))
