"""The scenes, the events, and the assets in a checkout and in a wheel."""

import csv
import subprocess
import sys
import zipfile

import pytest

from advance_tf import labels
from tests.imports import ROOT


def test_scenes_are_those_of_advance_sorted_by_name():
    assert len(labels.scenes()) == 13
    assert list(labels.scenes()) == sorted(labels.scenes())
    assert labels.scenes()[0] == "airport"
    assert "sparse shrub land" in labels.scenes()
    with labels.asset_path("scenes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["pairs"]) for row in rows) == 5075
    assert sum(int(row["sites"]) for row in rows) == 2696


def test_events_are_the_527_of_audioset_in_order():
    events = labels.events()
    assert [event.index for event in events] == list(range(527))
    assert len({event.mid for event in events}) == 527
    assert events[0].name == "Speech"
    assert events[0].mid == "/m/09x0r"
    assert events[526].name == "Field recording"


def test_missing_asset_is_named_with_the_candidate_paths():
    with pytest.raises(FileNotFoundError, match=r"Asset 'none\.csv' must be one of"):
        labels.asset_path("none.csv")


def test_wheel_contains_and_finds_its_assets(tmp_path):
    """The wheel is built by the backend, unpacked and imported from another folder."""
    code = (
        "import hatchling.build, os, sys; os.chdir(sys.argv[1]); "
        "print(hatchling.build.build_wheel(sys.argv[2]))"
    )
    built = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    wheel = tmp_path / built.stdout.splitlines()[-1]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "advance_tf/assets/events.csv" in names
    assert "advance_tf/assets/recipes/small.flags" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    code = (
        "from advance_tf import labels; "
        "print(labels.asset_path('events.csv')); print(len(labels.events()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "site",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert found[0].startswith(str(tmp_path / "site"))
    assert found[1] == "527"
