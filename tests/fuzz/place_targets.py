"""The readers of places, of results at places and of shards."""

import hashlib
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from advance_tf import labels
from advance_tf.data import places, shards
from advance_tf.geo.corrections import read_corrections
from advance_tf.geo.provenance import (
    PROVENANCE,
    PROVENANCE_COLUMNS,
    read_provenance,
)
from advance_tf.geo.results import (
    PlaceResult,
    read_parameters,
    read_results,
    write_results,
)
from tests.fuzz.seed_files import Target, csv_file, json_file, written

_PAIRS = csv_file(
    ("stem", "scene", "site", "image", "sound", "file", "offset"),
    ("00001", "lake", "00001", "00001.jpg", "00001.wav", "a", 0),
)


def _places(path: pathlib.Path) -> object:
    found = read_results(path)
    return [np.array(list(one.probabilities.values())) for one in found]


def _written_results(name: str) -> bytes:
    probabilities = dict.fromkeys(labels.scenes(), 1 / 13)
    rows = [
        PlaceResult(
            *("a.wav", "ok", 47.1, 9.5, "lake", 0.5, probabilities),
            events=(("Water", 0.25),),
        ),
        PlaceResult("b.wav", "no raster covers the place"),
    ]
    return written(
        lambda folder: write_results(rows, [folder / "a.csv"], {"raster": ["a.tif"]}),
        name,
    )


def _provenance() -> bytes:
    row = dict.fromkeys(PROVENANCE_COLUMNS, "1") | {"evidence": '{"shares": {}}'}
    return csv_file(PROVENANCE_COLUMNS, list(row.values()))


def _read_sites(path: pathlib.Path) -> object:
    found = places.read_places(path.parent).values()
    return np.array([[p.latitude, p.longitude, p.site_metres] for p in found])


def _shards() -> bytes:
    digest = hashlib.sha256(_PAIRS).hexdigest()
    file = {"file": "a", "bytes": 9, "sha256": "0" * 64}
    index = {"version": shards.FORMAT_VERSION, "pairs_sha256": digest}
    return json_file({**index, "files": [file]})


def _read_shards(path: pathlib.Path) -> None:
    (path.parent / "a").write_bytes(bytes(9))
    (path.parent / shards.PAIRS).write_bytes(_PAIRS)
    try:
        shards.ShardIndex(path.parent)
    except ValueError as error:
        if not str(error).startswith("The shard "):
            raise
        # A file beside the index, which differs from it, is named.
        raise ValueError(f"{path}: {error}") from error


def place_targets() -> Mapping[str, Callable[[], Target]]:
    """The readers by name; only those that are called build models and graphs."""
    return {
        "sites": lambda: Target(
            places.SITES,
            [
                csv_file(
                    ("stem", "site", "latitude", "longitude", "site_metres"),
                    ("00001_1", "00001", 47.1, 9.5, 500),
                )
            ],
            _read_sites,
        ),
        "corrections": lambda: Target(
            "a.csv",
            [
                csv_file(
                    ("recording", "shift", "decision", "scene"),
                    ("a.wav", "", "correct", "lake"),
                )
            ],
            read_corrections,
        ),
        "provenance": lambda: Target(PROVENANCE, [_provenance()], read_provenance),
        "results": lambda: Target("a.csv", [_written_results("a.csv")], _places),
        "parameters of results": lambda: Target(
            "a.csv.parameters.json",
            [_written_results("a.csv.parameters.json")],
            lambda path: read_parameters(path.with_name("a.csv")),
        ),
        "shards.json": lambda: Target(shards.INDEX, [_shards()], _read_shards),
    }
