"""Tables of results: CSV, Parquet, GeoJSON and GeoParquet with one schema."""

import csv
import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from advance_tf import labels
from advance_tf.extras import check_extra, requires_extra
from advance_tf.files import DAMAGED_FILE_ERRORS, check_output, reading, replacing
from advance_tf.inference.prediction import OK

if TYPE_CHECKING:
    import geopandas

# Raised when a column changes its meaning, is renamed or removed.
SCHEMA_VERSION = 1
ENDINGS = (".csv", ".parquet", ".geojson", ".geoparquet")
_TEXTS = ("name", "status", "scene", "reason")
_LAST = ("image", "sound", "image_source", "model_sha256")


@dataclasses.dataclass(frozen=True, slots=True)
class PlaceResult:
    """The prediction at a place: one row of a table of results.

    Attributes:
        name: name of the recording or of the image.
        status: "ok", or why there is no prediction.
        latitude: degrees north, NaN if unknown.
        longitude: degrees east, NaN if unknown.
        scene: the most probable scene, "unknown" where there is a `reason`, "" without
            a prediction.
        confidence: probability of the most probable scene, NaN without a prediction.
        probabilities: scene → probability; empty without a prediction.
        events: the most probable events with their probabilities.
        image: path of the image, "" for none or one cut from a raster.
        sound: path of the sound, "" for none.
        image_source: raster that the image is cut from, "" for none.
        model_sha256: SHA-256 of the model's files.
        reason: why the scene is "unknown", "" for a scene that is not.
    """

    name: str
    status: str
    latitude: float = math.nan
    longitude: float = math.nan
    scene: str = ""
    confidence: float = math.nan
    probabilities: Mapping[str, float] = dataclasses.field(default_factory=dict)
    events: Sequence[tuple[str, float]] = ()
    image: str = ""
    sound: str = ""
    image_source: str = ""
    model_sha256: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a prediction."""
        return self.status == OK


def probability_column(scene: str) -> str:
    """The column of a scene's probability.

    >>> probability_column("sports land")
    'prob_sports_land'
    """
    return f"prob_{scene.replace(' ', '_')}"


def columns() -> tuple[str, ...]:
    """The columns of a table, in their order; the documentation describes them."""
    scenes = (probability_column(scene) for scene in labels.scenes())
    place = ("schema_version", *_TEXTS, "confidence", *scenes, "events")
    return (*place, "latitude", "longitude", *_LAST)


def _row(one: PlaceResult) -> dict[str, Any]:
    """The values of a row; None where there is none."""

    def number(value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else float(value)

    values: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    values |= {name: getattr(one, name) for name in (*_TEXTS, *_LAST)}
    for name in ("confidence", "latitude", "longitude"):
        values[name] = number(getattr(one, name))
    for scene in labels.scenes():
        values[probability_column(scene)] = number(one.probabilities.get(scene))
    events = [{"name": name, "probability": p} for name, p in one.events]
    values["events"] = json.dumps(events, ensure_ascii=False)
    return {name: values[name] for name in columns()}


# Suffix → modules that write it.
_MODULES = {
    ".parquet": ("pyarrow.parquet",),
    ".geojson": ("geopandas", "shapely"),
    ".geoparquet": ("geopandas", "shapely", "pyarrow"),
}


def check_outputs(paths: Sequence[str | pathlib.Path]) -> None:
    """Checks files to write before anything is predicted.

    Args:
        paths: the files.

    Raises:
        ValueError: a path has another suffix than .csv, .parquet, .geojson or
            .geoparquet, there is none, or it cannot be written.
        ImportError: a format needs the extra `geo`.
    """
    wrong = [str(p) for p in paths if pathlib.Path(p).suffix.lower() not in ENDINGS]
    if wrong or not paths:
        raise ValueError(
            f"output must end in {', '.join(ENDINGS)}; received "
            f"{', '.join(wrong) or 'none'}."
        )
    for path in map(pathlib.Path, paths):
        check_output(path)
        check_extra("geo", *_MODULES.get(path.suffix.lower(), ()))


def write_results(
    results: Sequence[PlaceResult],
    paths: Sequence[str | pathlib.Path],
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Writes a table of results, in the format of each suffix.

    `.geojson` and `.geoparquet` have the place as a point (WGS 84) besides the
    columns; a row without coordinates has no point. `<path>.parameters.json` beside
    each file states schema, counts and parameters.

    Args:
        results: the rows.
        paths: files that end in .csv, .parquet, .geojson or .geoparquet.
        parameters: what the results were computed with.

    Raises:
        ValueError: a path has another suffix.
        ImportError: the extra `geo` is not installed.
    """
    check_outputs(paths)
    rows = [_row(one) for one in results]
    answered = sum(one.ok for one in results)
    counts = {"rows": len(rows), "answered": answered}
    values = {
        "schema_version": SCHEMA_VERSION,
        "columns": columns(),
        "counts": counts | {"rejected": len(rows) - answered},
        "parameters": dict(parameters or {}),
    }
    for path in map(pathlib.Path, paths):
        with replacing(path) as temporary:
            _WRITERS[path.suffix.lower()](rows, temporary)
        with replacing(_beside(path)) as temporary:
            text = json.dumps(values, indent=2, ensure_ascii=False)
            temporary.write_text(f"{text}\n", encoding="utf-8")


def read_parameters(path: str | pathlib.Path) -> dict[str, Any]:
    """The parameters that `write_results` stores beside a table.

    Args:
        path: the table.

    Returns:
        Name → value; empty without the file.

    Raises:
        ValueError: the file is damaged.
    """
    beside = _beside(pathlib.Path(path))
    if not beside.is_file():
        return {}
    rule, way_out = "hold the parameters of a table of results", "Remove it."
    with reading(beside, rule, way_out):
        values = dict(json.loads(beside.read_text(encoding="utf-8")))
        return dict(values.get("parameters", {}))


def _beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.name}.parameters.json")


def _write_csv(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    with requires_extra("geo"):
        import pyarrow
        import pyarrow.parquet
    texts = {*_TEXTS, *_LAST, "events"}
    schema = pyarrow.schema(
        [
            (name, pyarrow.string() if name in texts else pyarrow.float64())
            if name != "schema_version"
            else (name, pyarrow.int32())
            for name in columns()
        ],
        metadata={"advance_tf.schema_version": str(SCHEMA_VERSION)},
    )
    table = pyarrow.Table.from_pylist(list(rows), schema=schema)
    pyarrow.parquet.write_table(table, path)


def _frame(rows: Sequence[Mapping[str, Any]]) -> "geopandas.GeoDataFrame":
    with requires_extra("geo"):
        import geopandas
        import shapely
    points = [
        None
        if row["latitude"] is None or row["longitude"] is None
        else shapely.Point(row["longitude"], row["latitude"])
        for row in rows
    ]
    frame = geopandas.GeoDataFrame(
        list(rows), columns=list(columns()), geometry=points, crs="EPSG:4326"
    )
    numbers = [name for name in columns() if name.startswith("prob_")]
    for name in (*numbers, "confidence", "latitude", "longitude"):
        frame[name] = frame[name].astype("float64")
    return frame


def _write_geojson(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    path.write_text(_frame(rows).to_json(na="null"), encoding="utf-8")


def _write_geoparquet(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    _frame(rows).to_parquet(path, index=False)


_WRITERS = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".geojson": _write_geojson,
    ".geoparquet": _write_geoparquet,
}


def read_results(path: str | pathlib.Path) -> tuple[PlaceResult, ...]:
    """Reads a table of `write_results`.

    Args:
        path: file that ends in .csv, .parquet, .geojson or .geoparquet.

    Returns:
        The rows.

    Raises:
        ValueError: the file is not such a table, or has another schema version.
        FileNotFoundError: the file does not exist.
    """
    path = pathlib.Path(path)
    ending = path.suffix.lower()
    rows: list[Mapping[str, Any]]
    try:
        if ending == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        elif ending == ".geojson":
            collection = json.loads(path.read_text(encoding="utf-8"))
            rows = [feature["properties"] for feature in collection["features"]]
        elif ending in (".parquet", ".geoparquet"):
            with requires_extra("geo"):
                import pyarrow.parquet
            table = pyarrow.parquet.read_table(path)
            wanted = [name for name in table.column_names if name != "geometry"]
            rows = table.select(wanted).to_pylist()
        else:
            check_outputs([path])
        return tuple(map(_result, rows))
    except FileNotFoundError:
        raise
    except DAMAGED_FILE_ERRORS as error:
        raise ValueError(
            f"{path} must be a table of results of schema version {SCHEMA_VERSION}, as "
            f"`advance predict` writes it; {type(error).__name__}: {error}."
        ) from error


def _result(row: Mapping[str, Any]) -> PlaceResult:
    if int(row["schema_version"]) != SCHEMA_VERSION:
        raise ValueError(f"it has the schema version {row['schema_version']}")

    def number(name: str) -> float:
        value = row[name]
        found = math.nan if value in (None, "") else float(value)
        if math.isinf(found):
            raise ValueError(f"{name} is {value}")
        return found

    probabilities = {s: number(probability_column(s)) for s in labels.scenes()}
    texts: dict[str, Any] = {name: row[name] or "" for name in _LAST}
    given = not any(map(math.isnan, probabilities.values()))
    return PlaceResult(
        *(row["name"], row["status"], number("latitude"), number("longitude")),
        scene=row["scene"] or "",
        reason=row["reason"] or "",
        confidence=number("confidence"),
        probabilities=probabilities if given else {},
        events=tuple(
            (event["name"], event["probability"]) for event in json.loads(row["events"])
        ),
        **texts,
    )
