"""The commands for places: build-dataset, predict --places and map, on made inputs."""

import json

import numpy as np
import pytest

from advance_tf.cli.main import main
from advance_tf.data.layout import scan
from advance_tf.geo import freesound
from advance_tf.geo.results import read_results
from tests.geo.factories import (
    place,
    square,
    write_extract,
    write_raster,
    write_recording,
    write_table,
)
from tests.untrained_run import copy_run


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Three lakes, their recordings and a raster; a row of (0, 0)."""
    folder = tmp_path_factory.mktemp("inputs")
    easts = (0, 600, 1200)
    areas = [({"natural": "water"}, square(east, 0, 100)) for east in easts]
    write_extract(folder / "a.osm.pbf", areas=areas)
    values = np.random.default_rng(0).integers(1, 255, (3, 40, 180), np.uint8)
    write_raster(folder / "a.tif", values, center=(600, 0))
    rows = [("zero.wav", 0, 0)]
    for number, east in enumerate(easts):
        write_recording(folder / f"{number}.wav", seed=number)
        rows.append((f"{number}.wav", *place(east, 0)))
    write_table(folder / "r.csv", rows)
    return folder


def build(inputs, *more):
    return main(
        [
            *("build-dataset", f"--recordings={inputs / 'r.csv'}"),
            *(f"--raster={inputs / 'a.tif'}", f"--labels={inputs / 'a.osm.pbf'}"),
            *("--ground_metres=100", "--pixels=32", "--least_pairs=2"),
            *("--shift_below=0", *more),
        ]
    )


def test_a_dry_run_writes_nothing(inputs, capsys):
    before = sorted(inputs.iterdir())
    assert build(inputs, "--dry_run") == 0
    text = capsys.readouterr().out
    assert "lake                      3 pairs      3 sites" in text
    assert "3 of 4 recordings are used." in text
    assert "recording: the coordinates are (0, 0)" in text
    assert sorted(inputs.iterdir()) == before


def test_a_data_set_is_written_and_resumed(inputs, tmp_path, capsys):
    out = tmp_path / "data"
    assert build(inputs, f"--data_dir={out}", "--imagery_credit=© me") == 0
    assert "3 pairs written, 0 up to date, 1 rows" in capsys.readouterr().out
    assert len(scan(out).pairs) == 3
    assert {"map.html", "review.html"} <= {path.name for path in out.iterdir()}
    assert "© me" in (out / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert build(inputs, f"--data_dir={out}") == 0
    assert "0 pairs written, 3 up to date" in capsys.readouterr().out
    assert build(inputs, f"--data_dir={out}", "--clip_seconds=4") == 1
    assert "--clip_seconds 10.0, now 4.0" in capsys.readouterr().err


def test_a_search_of_freesound_is_the_table_of_recordings(
    inputs, tmp_path, monkeypatch, capsys
):
    searches = []

    def download(folder, query, *, bounds):
        searches.append((folder, query, bounds))
        return inputs / "r.csv"

    monkeypatch.setattr(freesound, "download_recordings", download)
    given = [f"--recordings={tmp_path}", "--freesound=waves", "--dry_run"]
    assert build(inputs, *given) == 0
    assert "3 of 4 recordings are used." in capsys.readouterr().out
    ((folder, query, (west, south, east, north)),) = searches
    assert (folder, query) == (str(tmp_path), "waves")
    # The region of the labels, from the first lake to the last.
    assert west < place(0, 0)[1] < place(1200, 0)[1] < east
    assert south < place(0, 0)[0] < north


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return copy_run(tmp_path_factory)


def test_places_are_predicted_and_mapped(inputs, run, tmp_path, capsys):
    outputs = [tmp_path / "r.geojson", tmp_path / "r.csv"]
    given = [
        *("predict", f"--workdir={run}", f"--places={inputs / 'r.csv'}"),
        *(f"--raster={inputs / 'a.tif'}", "--ground_metres=100"),
        f"--output={','.join(map(str, outputs))}",
    ]
    assert main(given) == 0
    assert "4 places = 3 answered + 1 rejected" in capsys.readouterr().out
    for path in outputs:
        results = read_results(path)
        assert [one.ok for one in results] == [True] * 3 + [False]
        assert sum(results[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert len(results[0].events) == 5
        assert len(results[0].model_sha256) == 64
    beside = json.loads((tmp_path / "r.csv.parameters.json").read_text())
    assert beside["counts"] == {"rows": 4, "answered": 3, "rejected": 1}
    assert beside["parameters"]["ground_metres"] == 100
    assert main(["map", f"--results={outputs[0]}", f"--raster={inputs / 'a.tif'}"]) == 0
    assert "3 of 4 rows are on the map" in capsys.readouterr().out
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "model trained on synthetic data" in page


def test_nothing_answered_is_exit_status_1(inputs, run, tmp_path, capsys):
    table = write_table(tmp_path / "r.csv", [(inputs / "0.wav", 0, 0)])
    given = ["predict", f"--workdir={run}", f"--places={table}"]
    assert main([*given, f"--output={tmp_path / 'o.csv'}"]) == 1
    assert "No place could be predicted" in capsys.readouterr().err
    assert len(read_results(tmp_path / "o.csv")) == 1
    assert main([*given, f"--output={tmp_path / 'o.xlsx'}"]) == 1
    assert "--output must end in .csv" in capsys.readouterr().err
    assert main([*given, "--data_dir=x", "--output=o.csv"]) == 1
    assert "received several of them" in capsys.readouterr().err
    assert main([*given[:2], "--data_dir=x", "--output=o.csv", "--raster=a.tif"]) == 1
    error = capsys.readouterr().err
    assert "--output, --raster may be given with --places or --stride_metres" in error


def test_a_raster_becomes_a_raster_of_scenes(inputs, run, tmp_path, capsys):
    output = tmp_path / "s.tif"
    given = [
        *("predict", f"--workdir={run}", f"--raster={inputs / 'a.tif'}"),
        *("--stride_metres=200", "--ground_metres=100", f"--output={output}"),
    ]
    assert main([*given, f"--places={inputs / 'r.csv'}", "--sound_metres=150"]) == 0
    text = capsys.readouterr().out
    assert "18 cells = 18 answered + 0 without data" in text
    assert output.is_file()
    assert (tmp_path / "s_confidence.tif").is_file()
    assert main([*given[:-1], "--output=s.csv"]) == 1
    assert "--output must end in .tif" in capsys.readouterr().err
