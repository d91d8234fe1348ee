"""One table in four formats, with its schema and its counts."""

import json
import math

import geopandas
import pyarrow.parquet
import pytest

from advance_tf import labels
from advance_tf.geo.results import (
    ENDINGS,
    PlaceResult,
    check_outputs,
    columns,
    read_parameters,
    read_results,
    write_results,
)

PROBABILITIES = dict.fromkeys(labels.scenes(), 1 / 13) | {"lake": 0.5}
ROWS = (
    PlaceResult(
        *("a.wav", "ok", 47.1, 9.5, "lake", 0.5, PROBABILITIES),
        events=(("Water", 0.25), ("Wind", 0.125)),
        image="tiles/0.jpg",
        sound="a.wav",
        image_source="a.tif",
        model_sha256="ab" * 32,
    ),
    PlaceResult("b.wav", "no raster covers the place", 47.2, 9.6, sound="b.wav"),
    PlaceResult(
        *("d.wav", "ok", 47.3, 9.7, "unknown", 0.5, PROBABILITIES),
        reason="silent sound",
    ),
    PlaceResult("c.wav", "latitude and longitude are missing"),
)


def same(one, other):
    """Equality in which NaN equals NaN."""
    numbers = ("latitude", "longitude", "confidence")
    for name in numbers:
        assert getattr(one, name) == pytest.approx(getattr(other, name), nan_ok=True)
    texts = ("name", "status", "scene", "reason", "image", "sound", "image_source")
    assert [getattr(one, n) for n in texts] == [getattr(other, n) for n in texts]
    assert dict(one.probabilities) == pytest.approx(dict(other.probabilities))
    assert tuple(one.events) == tuple(other.events)
    return True


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    paths = [folder / f"r{ending}" for ending in ENDINGS]
    write_results(ROWS, paths, {"raster": ["a.tif"]})
    return dict(zip(ENDINGS, paths, strict=True))


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_is_read_as_written(written, ending):
    found = read_results(written[ending])
    assert len(found) == len(ROWS)
    assert all(map(same, found, ROWS))


def test_other_programs_read_the_same_columns(written):
    assert written[".csv"].read_text().splitlines()[0].split(",") == list(columns())
    table = pyarrow.parquet.read_table(written[".parquet"])
    assert table.column_names == list(columns())
    assert table.schema.metadata[b"advance_tf.schema_version"] == b"1"
    assert table.column("prob_lake").to_pylist() == [0.5, None, 0.5, None]
    assert "prob_sparse_shrub_land" in columns()
    for frame in (
        geopandas.read_parquet(written[".geoparquet"]),
        geopandas.read_file(written[".geojson"]),
    ):
        assert frame.crs.to_epsg() == 4326
        point = frame.geometry[0]
        assert (point.x, point.y) == (9.5, 47.1)
        assert frame.geometry[3] is None
        assert math.isnan(frame["confidence"][1])


def test_counts_and_parameters_are_beside_the_table(written):
    beside = written[".geojson"].with_name("r.geojson.parameters.json")
    values = json.loads(beside.read_text())
    assert values["counts"] == {"rows": 4, "answered": 2, "rejected": 2}
    assert values["parameters"] == {"raster": ["a.tif"]}
    assert values["schema_version"] == 1


def test_other_files_and_versions_are_errors(written, tmp_path):
    with pytest.raises(ValueError, match=r"output must end in .*received a\.xlsx"):
        write_results(ROWS, ["a.xlsx"])
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match="output must be a file; received the folder"):
        check_outputs([tmp_path / "folder.csv"])
    text = written[".csv"].read_text().replace("\n1,", "\n2,")
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match="the schema version 2"):
        read_results(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="must be a table of results"):
        read_results(tmp_path / "b.csv")


def test_damaged_parameters_are_named(tmp_path):
    (tmp_path / "a.csv.parameters.json").write_text("[3")
    rule = r"a\.csv\.parameters\.json must hold the parameters of .* Remove it"
    with pytest.raises(ValueError, match=rule):
        read_parameters(tmp_path / "a.csv")
    assert read_parameters(tmp_path / "b.csv") == {}
