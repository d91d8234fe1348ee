"""Places of the pairs: their table, sites by distance, and the leak audit."""

import csv
import dataclasses
import logging
import math
import pathlib
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.csv_tables import read_table
from advance_tf.data.pairing import Pair, site_of
from advance_tf.files import join_names, replacing

SITES = "sites.csv"
COLUMNS = (
    *("stem", "site", "scene", "latitude", "longitude", "recording", "site_metres"),
)
DEFAULT_SITE_METRES = 500.0
# The mean radius of the Earth; WGS 84 differs from the sphere by at most 0.6 %.
EARTH_METRES = 6_371_008.8
# The rounding of the degrees in sites.csv, 5.6 mm in each axis of both places, may
# bring two sites nearer.
_ROUNDING_METRES = 0.02
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a pair is, and what it shares with others.

    Attributes:
        site: five digits; pairs of one site are in one split.
        latitude: degrees north.
        longitude: degrees east.
        recording: the recording that its clip is cut from, "" if unknown.
        site_metres: places nearer than this are one site.
    """

    site: str
    latitude: float
    longitude: float
    recording: str = ""
    site_metres: float = DEFAULT_SITE_METRES


def read_places(data_dir: str | pathlib.Path) -> dict[str, Place]:
    r"""Reads sites.csv of a data set.

    Args:
        data_dir: folder of the data set.

    Returns:
        Stem → place, the stem in Unicode's form NFC, as in a `Pair`; empty without the
        file. The columns are stem, latitude and longitude; site (default: the first
        five digits of the stem), recording and site_metres are optional.

    Raises:
        ValueError: a column is missing, a stem has two rows, or a value is not valid.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "sites.csv")
        ...     _ = path.write_text("stem,latitude,longitude\n00017_1,47.1,9.5\n")
        ...     read_places(folder)["00017_1"].site
        '00017'
    """
    path = pathlib.Path(data_dir) / SITES
    if not path.is_file():
        return {}
    columns, rows = read_table(path)
    missing = [n for n in ("stem", "latitude", "longitude") if n not in columns]
    if missing:
        raise ValueError(
            f"{path} must have the columns stem, latitude and longitude; it lacks "
            f"{join_names(missing)}. Write it again with `advance build-dataset`."
        )
    places: dict[str, Place] = {}
    for line, row in rows:
        stem = unicodedata.normalize("NFC", row["stem"])
        if stem in places:
            raise ValueError(
                f"{path}, line {line}: a stem may have one row; received {stem!r} "
                "again. Remove the duplicate."
            )
        try:
            place = Place(
                row.get("site") or site_of(stem),
                float(row["latitude"]),
                float(row["longitude"]),
                row.get("recording", ""),
                float(row.get("site_metres") or DEFAULT_SITE_METRES),
            )
            if not 0 <= place.site_metres < math.inf:
                raise ValueError(f"received site_metres {place.site_metres}")
        except ValueError as error:
            raise ValueError(
                f"{path}, line {line}: latitude, longitude and site_metres must be "
                f"numbers; {error}."
            ) from error
        inside = abs(place.latitude) <= 90 and abs(place.longitude) <= 180
        if not inside or site_of(place.site) != place.site or not place.site:
            raise ValueError(
                f"{path}, line {line}: a site must be five digits, a latitude in "
                f"[-90, 90] and a longitude in [-180, 180]; received {place.site!r}, "
                f"{place.latitude} and {place.longitude}."
            )
        places[stem] = place
    return places


def places_of(pairs: Sequence[Pair], data_dir: str | pathlib.Path) -> dict[str, Place]:
    """Reads the places of the pairs of a data set from its sites.csv.

    Args:
        pairs: the pairs; those that the file lacks are logged as a warning.
        data_dir: folder of the data set.

    Returns:
        Stem → place, see `read_places`; empty without the file.

    Raises:
        ValueError: the file is not valid, or has none of the pairs.
    """
    places = read_places(data_dir)
    path = pathlib.Path(data_dir) / SITES
    lacking = [pair.stem for pair in pairs if pair.stem not in places]
    if not path.is_file() or not lacking:
        return places
    if len(lacking) == len(pairs):
        raise ValueError(
            f"{path} must list the stems of the pairs, such as {lacking[0]!r}; its "
            f"{len(places)} rows have none of {len(pairs)}, but "
            f"{join_names([repr(stem) for stem in places], 3) or 'no stem'}. Write "
            "stems without folder and ending, or remove the file."
        )
    _log.warning(
        "%s lacks %d of %d pairs, such as %s: they have the sites of their names, and "
        "their distances are not audited.",
        *(path, len(lacking), len(pairs), lacking[0]),
    )
    return places


def write_places(
    data_dir: str | pathlib.Path, pairs: Sequence[Pair], places: Mapping[str, Place]
) -> None:
    """Writes sites.csv, which `read_places` reads.

    Args:
        data_dir: folder of the data set.
        pairs: the pairs to list.
        places: stem → place of each pair.
    """
    with replacing(pathlib.Path(data_dir) / SITES) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for pair in pairs:
                own = places[pair.stem]
                degrees = (f"{own.latitude:.7f}", f"{own.longitude:.7f}")
                last = (own.recording, f"{own.site_metres:.12g}")
                writer.writerow((pair.stem, own.site, pair.scene, *degrees, *last))


def with_places(pairs: Sequence[Pair], places: Mapping[str, Place]) -> tuple[Pair, ...]:
    """Replaces the sites of pairs, which names determine, by those of sites.csv.

    Args:
        pairs: pairs of `layout.scan`.
        places: stem → place; a pair that is not in it keeps its site.

    Returns:
        The pairs in the same order.
    """
    return tuple(
        dataclasses.replace(pair, site=places[pair.stem].site)
        if pair.stem in places
        else pair
        for pair in pairs
    )


def cluster_places(
    latitudes: Sequence[float],
    longitudes: Sequence[float],
    *,
    site_metres: float = DEFAULT_SITE_METRES,
    tile_metres: float = 0.0,
    recordings: Sequence[str] = (),
) -> np.ndarray:
    """Joins places that are near, that overlap or that share a recording to sites.

    Two places are one site if their distance is less than `site_metres`, if their
    squares of `tile_metres` overlap, or if they have the same recording; also through
    a chain of others (single linkage).

    Args:
        latitudes: [n] degrees.
        longitudes: [n] degrees.
        site_metres: distance below which places are one site.
        tile_metres: side of the square image of a place, 0 to ignore images.
        recordings: [n] names, or none; "" is no recording.

    Returns:
        int [n], number of the site, 0 for that of the first place.

    Example:
        >>> sites = cluster_places([47.0, 47.004, 47.1], [9.5, 9.5, 9.5])
        >>> sites.tolist()                      # 445 m and 11 km away
        [0, 0, 1]
    """
    # Imported here: the help of the commands reads this module.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    count = len(latitudes)
    if not count:
        return np.zeros(0, np.int64)
    tree = cKDTree(_on_sphere(latitudes, longitudes))
    radius = max(site_metres, math.sqrt(2) * tile_metres)
    near = tree.query_pairs(radius * (1 + 1e-9), output_type="ndarray")  # [m, 2]
    north, east, distance = _offsets(latitudes, longitudes, near)
    overlap = (abs(north) < tile_metres) & (abs(east) < tile_metres)
    edges = [near[(distance < site_metres) | overlap]]
    first: dict[str, int] = {}
    for index, name in enumerate(recordings):
        if name and first.setdefault(name, index) != index:
            edges.append(np.array([[first[name], index]]))
    joined = np.concatenate(edges)
    graph = coo_array((np.ones(len(joined)), joined.T), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    # Numbers in the order of the first place of each site.
    _, starts = np.unique(labels, return_index=True)
    order = np.empty(len(starts), np.int64)
    order[np.argsort(starts)] = np.arange(len(starts))
    return order[labels]


def _on_sphere(latitudes: ArrayLike, longitudes: ArrayLike) -> np.ndarray:
    """Points [n, 3] in metres, whose chords are distances up to some 100 km."""
    phi, lam = np.radians(latitudes), np.radians(longitudes)
    unit = [np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)]
    return EARTH_METRES * np.stack(unit, axis=1)


def _offsets(
    latitudes: Sequence[float], longitudes: Sequence[float], pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Metres to the north and to the east, and the distance, of each pair [m, 2]."""
    phi, lam = np.radians(latitudes), np.radians(longitudes)
    i, j = pairs.T
    turn = (lam[j] - lam[i] + np.pi) % (2 * np.pi) - np.pi
    north = EARTH_METRES * (phi[j] - phi[i])
    east = EARTH_METRES * turn * np.cos((phi[i] + phi[j]) / 2)
    return north, east, np.hypot(north, east)


def nearest_places(
    places: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the nearest other place of each place.

    Args:
        places: float64 [n, 2], latitude and longitude in degrees.
        others: float64 [m, 2], at least one.

    Returns:
        Index of the nearest, int [n], and its distance in metres, float64 [n].

    Example:
        >>> index, metres = nearest_places(
        ...     np.array([[47.0, 9.5]]), np.array([[48.0, 9.5], [47.0, 9.5]])
        ... )
        >>> index.tolist(), metres.tolist()
        ([1], [0.0])
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(_on_sphere(*others.T))
    chords, index = tree.query(_on_sphere(*places.T))
    # The arc of a chord.
    distance = 2 * EARTH_METRES * np.arcsin(np.minimum(chords / 2 / EARTH_METRES, 1))
    return index, distance


def audit_places(
    pairs: Sequence[Pair], splits: Sequence[str], places: Mapping[str, Place]
) -> None:
    """Checks by distance and by recording that nothing leaks between the splits.

    Args:
        pairs: the pairs.
        splits: the split of each pair.
        places: stem → place; pairs that are not in it are not checked.

    Raises:
        ValueError: two pairs of different splits are nearer than `site_metres`, or
            are cut from one recording.
    """
    placed = [(p, s) for p, s in zip(pairs, splits, strict=True) if p.stem in places]
    own = [places[pair.stem] for pair, _ in placed]
    if not own:
        return
    latitudes, longitudes = [p.latitude for p in own], [p.longitude for p in own]
    radius = max(place.site_metres for place in own)
    from scipy.spatial import cKDTree

    tree = cKDTree(_on_sphere(latitudes, longitudes))
    near = tree.query_pairs(radius, output_type="ndarray")
    parts = np.array([split for _, split in placed])
    near = near[parts[near[:, 0]] != parts[near[:, 1]]]
    distance = _offsets(latitudes, longitudes, near)[2]
    limits = np.array([place.site_metres for place in own])
    limit = np.maximum(limits[near[:, 0]], limits[near[:, 1]])
    close = distance < limit - _ROUNDING_METRES
    shown = [
        f"{placed[i][0].stem} ({parts[i]}) and {placed[j][0].stem} ({parts[j]}), "
        f"{metres:.0f} m"
        for (i, j), metres in zip(near[close], distance[close], strict=True)
    ]
    if shown:
        raise ValueError(
            f"Pairs of two splits must be at least {radius:g} m apart; received "
            f"{join_names(shown, 3)}. Give these pairs one site in {SITES} and split "
            "by site, or lower its site_metres."
        )
    split_of: dict[str, str] = {}
    shared = {
        place.recording
        for place, part in zip(own, parts, strict=True)
        if place.recording and split_of.setdefault(place.recording, part) != part
    }
    if shared:
        raise ValueError(
            "No recording may be in two splits; received "
            f"{join_names(sorted(shared), 3)}. Give its pairs one site in {SITES} and "
            "split by site."
        )
