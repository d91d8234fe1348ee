"""Coordinates of the sites: a CSV file of latitudes and longitudes."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf import labels
from advance_tf.csv_tables import read_table
from advance_tf.data import pairing
from advance_tf.data.pairing import Pair

KEY_COLUMNS = ("stem", "site")
_LIMITS_DEGREES = {"latitude": 90.0, "longitude": 180.0}


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedSites:
    """The sites of a data set whose coordinates are known.

    A site that occurs in two scenes (none does in ADVANCE) is listed twice.

    Attributes:
        sites: [n] names, sorted within a scene.
        scenes: int64 [n], index of the scene in `labels.scenes()`.
        latitudes_degrees: float64 [n] in [-90, 90], north positive.
        longitudes_degrees: float64 [n] in [-180, 180], east positive.
        missing: number of sites of the data set without coordinates.
        unknown: number of sites with coordinates that are not in the data set.
    """

    sites: tuple[str, ...]
    scenes: np.ndarray
    latitudes_degrees: np.ndarray
    longitudes_degrees: np.ndarray
    missing: int
    unknown: int


def read_coordinates(path: str | pathlib.Path) -> dict[str, tuple[float, float]]:
    r"""Reads the coordinates of sites.

    Args:
        path: CSV file with a header and the columns `latitude`, `longitude` (in
            degrees) and `stem` or `site`; further columns are ignored. If several
            stems belong to one site, the first by name determines its coordinates:
            ADVANCE's other stems are small shifts of the same location.

    Returns:
        Site → (latitude, longitude) in degrees.

    Raises:
        ValueError: a column is missing, a name does not begin with a site or occurs
            twice, or a coordinate is not a number in its range.
        FileNotFoundError: the file does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "coordinates.csv"
        ...     _ = path.write_text("site,latitude,longitude\n00017,52.5,13.4\n")
        ...     read_coordinates(path)
        {'00017': (52.5, 13.4)}
    """
    path = pathlib.Path(path)
    columns, rows = read_table(path)
    key = next((name for name in KEY_COLUMNS if name in columns), None)
    if key is None or not set(_LIMITS_DEGREES) <= set(columns) or not rows:
        raise ValueError(
            f"{path} must have the columns site (or stem), latitude and longitude "
            f"and at least one row; received {','.join(columns) or 'an empty file'} "
            f"and {len(rows)} rows. Write these column names in the first line."
        )
    found: dict[str, tuple[float, float]] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        name = _checked_name(where, key, row[key])
        if name in found:
            raise ValueError(
                f"{where}: a {key} may have one row; received '{name}' again. Remove "
                "the duplicate."
            )
        found[name] = (
            _parse_degrees(where, "latitude", row),
            _parse_degrees(where, "longitude", row),
        )
    # In reverse order, so that the first stem of a site overwrites the others.
    return {pairing.site_of(name): found[name] for name in sorted(found, reverse=True)}


def _checked_name(where: str, key: str, received: str | None) -> str:
    name = (received or "").strip()
    site = pairing.site_of(name)
    if not site or (key == "site" and site != name):
        rule = "be" if key == "site" else "begin with"
        raise ValueError(
            f"{where}: a {key} must {rule} five digits, as in 00017; received "
            f"'{name}'. In a spreadsheet format the column as text to keep leading "
            "zeros."
        )
    return name


def _parse_degrees(where: str, column: str, row: Mapping[str, str | None]) -> float:
    limit = _LIMITS_DEGREES[column]
    try:
        degrees = float(row[column] or "")
    except ValueError:
        degrees = math.nan
    if not abs(degrees) <= limit:
        raise ValueError(
            f"{where}: {column} must be a number of degrees in [-{limit:.0f}, "
            f"{limit:.0f}]; received '{row[column] or ''}'. Write 52.52 for north or "
            "east and -33.86 for south or west."
        )
    return degrees


def place_sites(
    pairs: Sequence[Pair], coordinates: Mapping[str, tuple[float, float]]
) -> PlacedSites:
    """Joins the sites of a data set with their coordinates.

    Args:
        pairs: the pairs of the data set.
        coordinates: site → (latitude, longitude) in degrees, see `read_coordinates`.

    Returns:
        The sites that have coordinates, and the numbers of those that do not match.

    Raises:
        ValueError: no site of the data set has coordinates.
    """
    sites = {pair.site for pair in pairs}
    placed = sorted(
        {(pair.scene, pair.site) for pair in pairs if pair.site in coordinates}
    )
    if not placed:
        raise ValueError(
            f"coordinates must contain at least one of the {len(sites)} sites of the "
            f"data set; received {len(coordinates)} other sites. Use a file of this "
            "data set."
        )
    names = tuple(site for _, site in placed)
    latitudes, longitudes = np.array([coordinates[site] for site in names]).T
    return PlacedSites(
        names,
        np.array([labels.scenes().index(scene) for scene, _ in placed]),
        latitudes,
        longitudes,
        missing=len(sites - coordinates.keys()),
        unknown=len(coordinates.keys() - sites),
    )
