"""Recordings with coordinates: tables, and files whose metadata have a position."""

import dataclasses
import logging
import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from advance_tf.csv_tables import read_table
from advance_tf.data.prepare import SOUND_ENDINGS
from advance_tf.extras import requires_extra
from advance_tf.files import DAMAGED_FILE_ERRORS, visible_files

TABLES = (".csv", ".tsv", ".txt")
VECTORS = (".geojson", ".json", ".gpkg", ".shp", ".fgb")
# Names of columns, the first of each is the one that the documentation states.
_COLUMNS = {
    "file": ("file", "path", "sound", "recording", "filename"),
    "image": ("image", "tile"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "lng", "long"),
    "license": ("license", "licence"),
    "author": ("author", "artist", "username"),
    "source": ("source", "url"),
}
# Names of a tag that holds latitude and longitude, in lower case without separators.
_POSITIONS = ("locposition", "geolocation", "location", "coordinates", "gps", "xyz")
_LATITUDES = ("latitude", "gpslatitude", "geolocationlatitude", "lat")
_LONGITUDES = ("longitude", "gpslongitude", "geolocationlongitude", "lon")
# "47.1 9.5", "47.1,9.5" or "47.1;9.5".
_DEGREES = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*[,;\s]\s*([+-]?\d+(?:\.\d+)?)")
# "+47.1000+009.5000/" of ISO 6709, with or without an altitude.
_ISO_6709 = re.compile(r"([+-]\d{2}(?:\.\d+)?)([+-]\d{3}(?:\.\d+)?)([+-][\d.]+)?/?")
Bounds = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """A recording, or an image, at a place.

    Attributes:
        name: unique name: the path in the table, or relative to the folder.
        file: path of the recording, "" for none.
        latitude: degrees north.
        longitude: degrees east.
        license: its licence, as a name or an address.
        author: who made it.
        source: where it comes from, as a name or an address.
        image: path of an image of the place, "" for none.
    """

    name: str
    file: str
    latitude: float
    longitude: float
    license: str = ""
    author: str = ""
    source: str = ""
    image: str = ""


class Rejection(NamedTuple):
    """Something that does not become a pair.

    Attributes:
        name: the recording, or the pair.
        step: step of the work: "recording", "place", "label", "imagery", "balance"
            or "review".
        reason: why.
    """

    name: str
    step: str
    reason: str


def read_recordings(
    source: str | pathlib.Path, *, bounds: Bounds | None = None
) -> tuple[tuple[Recording, ...], tuple[Rejection, ...]]:
    r"""Reads recordings and their coordinates.

    Args:
        source: one of

            - a CSV file with the columns file, latitude and longitude, and optionally
              license, author, source and image; paths are relative to its folder;
            - GeoJSON, GeoPackage or another vector file of points, in any coordinate
              system, with the same columns;
            - a folder of recordings whose metadata hold coordinates: GUANO ("Loc
              Position", as AudioMoth and bat detectors write it), ID3, Vorbis or MP4
              tags (GEO_LOCATION, LATITUDE and LONGITUDE, ©xyz, …).
        bounds: west, south, east and north in degrees, where the places may be;
            coordinates that are inside only when they are exchanged are refused as
            such.

    Returns:
        The recordings in their order, and for each other row or file the reason.

    Raises:
        ValueError: the file has no such columns, or nothing in it is a recording.
        ImportError: the extra `geo` is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "a.csv")
        ...     text = "file,latitude,longitude\na.wav,47.1,9.5\nb.wav,,\n"
        ...     _ = path.write_text(text)
        ...     found, rejected = read_recordings(path)
        >>> [one.name for one in found], rejected[0].reason
        (['a.wav'], 'latitude and longitude are missing')
    """
    path = pathlib.Path(source)
    if path.is_dir():
        rows = _folder_rows(path)
    elif path.suffix.lower() in TABLES:
        rows = _table_rows(path)
    elif path.suffix.lower() in VECTORS:
        rows = _vector_rows(path)
    else:
        raise ValueError(
            "recordings must be a folder, a CSV file or a vector file "
            f"({', '.join(VECTORS)}); received {path}. Check the path."
        )
    found: list[Recording] = []
    rejected: list[Rejection] = []
    names: set[str] = set()
    for name, row in rows:
        latitude, longitude = _degrees(row, "latitude"), _degrees(row, "longitude")
        problem = place_problem(latitude, longitude, bounds)
        if not row.get("file") and not row.get("image"):
            problem = "the row names no file"
        elif name in names and not problem:
            problem = "the file is listed twice"
        if problem:
            rejected.append(Rejection(name, "recording", problem))
            continue
        names.add(name)
        rest = {key: row.get(key, "") for key in ("license", "author", "source")}
        files = [_resolved(path, row.get(key, "")) for key in ("file", "image")]
        found.append(
            Recording(name, files[0], latitude, longitude, **rest, image=files[1])
        )
    if not (found or rejected):
        raise ValueError(
            f"{path} must hold at least one recording; received none. Use a file with "
            "rows, or a folder of recordings."
        )
    return tuple(found), tuple(rejected)


def place_problem(
    latitude: float, longitude: float, bounds: Bounds | None = None
) -> str:
    """Why coordinates are not those of a place.

    Args:
        latitude: degrees north, NaN for a value that is missing.
        longitude: degrees east.
        bounds: west, south, east and north of the region of the places.

    Returns:
        The reason, "" for valid coordinates.

    Example:
        >>> place_problem(9.5, 47.1, (9.4, 47.0, 9.7, 47.3))
        'latitude and longitude are exchanged: 9.5, 47.1 is outside the region'
        >>> place_problem(0.0, 0.0)
        'the coordinates are (0, 0), which devices without a position write'
    """
    shown = f"{latitude:g}, {longitude:g}"
    if math.isnan(latitude) or math.isnan(longitude):
        both = math.isnan(latitude) and math.isnan(longitude)
        return (
            "latitude and longitude are missing"
            if both
            else "a coordinate is missing or not a number"
        )
    if abs(latitude) > 90 and abs(latitude) <= 180 and abs(longitude) <= 90:
        return f"latitude and longitude are exchanged: {shown} has no such latitude"
    if abs(latitude) > 90 or abs(longitude) > 180:
        return f"the coordinates are out of range: {shown}"
    if latitude == 0 and longitude == 0:
        return "the coordinates are (0, 0), which devices without a position write"
    if bounds and not _inside(latitude, longitude, bounds):
        if _inside(longitude, latitude, bounds):
            return (
                f"latitude and longitude are exchanged: {shown} is outside the region"
            )
        return f"the place is outside the region of labels or imagery: {shown}"
    return ""


def _inside(latitude: float, longitude: float, bounds: Bounds) -> bool:
    west, south, east, north = bounds
    # East of west by less than a turn, also across the 180th meridian.
    return (longitude - west) % 360 <= east - west and south <= latitude <= north


def _degrees(row: Mapping[str, str], column: str) -> float:
    """The number of a cell, NaN where it is missing or no finite number."""
    try:
        degrees = float(row.get(column) or "nan")
    except ValueError:
        return math.nan
    return degrees if math.isfinite(degrees) else math.nan


def _resolved(source: pathlib.Path, name: str) -> str:
    """The path of a file, which is relative to the table or in the folder."""
    folder = source if source.is_dir() else source.parent
    return os.path.join(folder, name) if name else ""


def _renamed(row: Mapping[str, str]) -> dict[str, str]:
    """A row with the names of columns of `_COLUMNS`."""
    lower = {name.strip().lower(): value for name, value in row.items()}
    found = {}
    for column, names in _COLUMNS.items():
        found[column] = next((lower[n] for n in names if lower.get(n)), "")
    return found


def _table_rows(path: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
    columns, rows = read_table(path)
    lower = {name.strip().lower() for name in columns}
    for column in ("latitude", "longitude"):
        if not lower & set(_COLUMNS[column]):
            raise ValueError(
                f"{path} must have the columns file, latitude and longitude; it lacks "
                f"{column}. Name the columns in the first line."
            )
    for line, row in rows:
        named = _renamed(row)
        yield named["file"] or named["image"] or f"line {line}", named


def _vector_rows(path: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
    with requires_extra("geo"):
        import geopandas
    try:
        table = geopandas.read_file(path)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path} must be a vector file of points; reading it failed: {error}."
        ) from error
    if not isinstance(table, geopandas.GeoDataFrame):
        raise ValueError(f"{path} must be a vector file of points; it has no geometry.")
    # A file without a coordinate system is in degrees, as GeoJSON.
    placed = table.to_crs(4326) if table.crs else table
    attributes = placed.drop(columns=placed.geometry.name)
    texts = attributes.astype(str).where(attributes.notna(), "").to_dict("records")
    for number, (point, row) in enumerate(
        zip(placed.geometry, texts, strict=True), start=1
    ):
        named = _renamed({str(name): value for name, value in row.items()})
        named |= {"latitude": "", "longitude": ""}
        if point is not None and not point.is_empty:
            center = point.representative_point()
            named |= {"latitude": repr(center.y), "longitude": repr(center.x)}
        yield named["file"] or named["image"] or f"feature {number}", named


def _folder_rows(folder: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
    with requires_extra("geo"):
        import guano
        import tinytag

    logging.getLogger("guano").setLevel(logging.ERROR)
    for path, relative in visible_files(folder):
        ending = os.path.splitext(path)[1].lower()
        if ending not in SOUND_ENDINGS:
            continue
        tags: dict[str, Any] = {}
        try:
            if ending == ".wav":
                tags = dict(guano.GuanoFile(path).items())
            if not _position(tags):
                tags = _tag_values(tinytag.TinyTag.get(path)) | tags
        except (*DAMAGED_FILE_ERRORS, OSError, tinytag.TinyTagException):
            # Without metadata the file has no position.
            pass
        row = {"file": pathlib.Path(relative).as_posix()}
        yield row["file"], row | _credit(tags) | _position(tags)


def _tag_values(tag: Any) -> dict[str, Any]:
    """The tags of a file by name, also those of no standard."""
    values = {
        name: listed[0] if isinstance(listed, list) and listed else listed
        for name, listed in tag.other.items()
    }
    return {"artist": tag.artist} | values


def _credit(tags: Mapping[str, Any]) -> dict[str, str]:
    lower = {str(key).lower(): str(value) for key, value in tags.items() if value}
    return {
        "author": lower.get("artist", lower.get("author", "")),
        "license": lower.get("license", lower.get("copyright", "")),
        "source": lower.get("source", lower.get("url", "")),
    }


def _position(tags: Mapping[str, Any]) -> dict[str, str]:
    """Latitude and longitude of the tags of a file, as text; empty without them."""
    plain = {re.sub(r"[^a-z]", "", str(key).lower()): tags[key] for key in tags}
    latitude = next((str(plain[n]) for n in _LATITUDES if plain.get(n)), "")
    longitude = next((str(plain[n]) for n in _LONGITUDES if plain.get(n)), "")
    if latitude and longitude:
        return {"latitude": latitude, "longitude": longitude}
    for name in _POSITIONS:
        value = plain.get(name)
        if isinstance(value, tuple) and len(value) == 2:
            return {"latitude": repr(value[0]), "longitude": repr(value[1])}
        # Other text, such as "47.1 N, 9.5 W" or "Room 12, floor 3", is no position.
        text = value.strip() if isinstance(value, str) else ""
        match = _DEGREES.fullmatch(text) or _ISO_6709.fullmatch(text)
        if match:
            return {"latitude": match.group(1), "longitude": match.group(2)}
    return {}
