"""Where the sites of a data set are: a CSV file of latitudes and longitudes."""

import csv
import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf import labels
from advance_tf.data import layout
from advance_tf.data.layout import Pair

KEYS = ("stem", "site")
_DEGREES = {"latitude": 90.0, "longitude": 180.0}


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedSites:
    """The sites of a data set that a file has coordinates of.

    A site of two scenes (in ADVANCE there is none) is there twice.

    Attributes:
        sites: [n] names, sorted within a scene.
        scenes: [n] int64, the place of the scene in `labels.scenes()`.
        latitudes_degrees: [n] float64 in [-90, 90], north positive.
        longitudes_degrees: [n] float64 in [-180, 180], east positive.
        missing: sites of the data set that the file has not.
        unknown: sites of the file that the data set has not.
    """

    sites: tuple[str, ...]
    scenes: np.ndarray
    latitudes_degrees: np.ndarray
    longitudes_degrees: np.ndarray
    missing: int
    unknown: int


def read_coordinates(path: str | pathlib.Path) -> dict[str, tuple[float, float]]:
    """Reads the coordinates of sites.

    Args:
        path: CSV file with a header; columns `latitude` and `longitude` in
            degrees and `stem` or `site`, further ones are ignored. Of the stems
            of a site the first by name places it: ADVANCE's others are the same
            place, shifted a little.

    Returns:
        Site → (latitude, longitude) in degrees.

    Raises:
        ValueError: a column is missing, a name begins with no site or is there
            twice, or a coordinate is no number in its range.
        FileNotFoundError: there is no such file.
    """
    path = pathlib.Path(path)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows = [(reader.line_num, row) for row in reader]
        columns = tuple(reader.fieldnames or ())
    key = next((name for name in KEYS if name in columns), None)
    if key is None or not set(_DEGREES) <= set(columns) or not rows:
        raise ValueError(
            f"{path} must have the columns site (or stem), latitude and longitude "
            f"and at least one row; received {','.join(columns) or 'an empty file'} "
            f"and {len(rows)} rows. Name the columns so in the first line."
        )
    found: dict[str, tuple[float, float]] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        name = _named(where, key, row[key])
        if name in found:
            raise ValueError(
                f"{where}: a {key} may have one row; received '{name}' again. Remove "
                "the row that is too many."
            )
        found[name] = (
            _degrees(where, "latitude", row),
            _degrees(where, "longitude", row),
        )
    # Backwards, so that the first stem of a site has the last word.
    return {layout.site_of(name): found[name] for name in sorted(found, reverse=True)}


def _named(where: str, key: str, received: str | None) -> str:
    name = (received or "").strip()
    site = layout.site_of(name)
    if not site or (key == "site" and site != name):
        rule = "be" if key == "site" else "begin with"
        raise ValueError(
            f"{where}: a {key} must {rule} five digits, as in 00017; received "
            f"'{name}'. A spreadsheet keeps zeros in front in a column of text."
        )
    return name


def _degrees(where: str, column: str, row: Mapping[str, str | None]) -> float:
    limit = _DEGREES[column]
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
        pairs: of the data set.
        coordinates: site → (latitude, longitude), as `read_coordinates` gives it.

    Returns:
        The sites with coordinates, and how many are on one side only.

    Raises:
        ValueError: no site of the data set has coordinates.
    """
    sites = {pair.site for pair in pairs}
    placed = sorted(
        {(pair.scene, pair.site) for pair in pairs if pair.site in coordinates}
    )
    if not placed:
        raise ValueError(
            f"At least one of {len(sites)} sites of the data set must have "
            f"coordinates; the {len(coordinates)} sites given are others. Are they "
            "of another data set?"
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
