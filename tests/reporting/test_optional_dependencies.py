"""Without the packages of the extra `report`: errors name it, evaluation works."""

import json
import os
import subprocess
import sys

import pytest

from tests.imports import ROOT
from tests.untrained_run import copy_run

EXTRA = "Install it with `pip install 'advance_tf[report]'`."
PACKAGES = ("matplotlib", "jinja2", "sklearn", "tensorboard", "threadpoolctl")
DRAWING = (
    *("activation_map_comparison", "activation_map_figure", "calibration", "canvas"),
    *("dataset_figures", "event_embedding", "figures", "html_report"),
    *("learning_curves", "plots"),
)
CORE = ("activation_maps", "error_analysis", "evaluation_report", "media", "overlay")

# Packages in `blocked` cannot be imported, as if they were not installed.
_BLOCK = """
import importlib, importlib.abc, json, sys

blocked = set()

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
"""
_IMPORTS = """
def forget(*packages):
    for name in list(sys.modules):
        if name.startswith(tuple(packages)):
            del sys.modules[name]

errors = {}
for package, modules in json.loads(sys.argv[1]).items():
    forget("advance_tf.reporting", *package.split(","))
    blocked = set(package.split(","))
    for module in modules:
        try:
            importlib.import_module(f"advance_tf.reporting.{module}")
        except ImportError as error:
            errors[f"{package}: {module}"] = str(error)
    if "evaluation_report" in modules:
        reporting = importlib.import_module("advance_tf.reporting")
        assert callable(reporting.write_evaluation)
        try:
            reporting.explain
        except ImportError as error:
            errors["explain"] = str(error)
print(json.dumps(errors))
"""
_COMMAND = """
blocked |= set(sys.argv[1].split(","))
from advance_tf.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def run_script(script, *arguments):
    return subprocess.run(
        [sys.executable, "-c", _BLOCK + script, *arguments],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_import_errors_name_the_extra():
    everything = ",".join(PACKAGES)
    modules = {
        "matplotlib": DRAWING,
        "jinja2": ["html_report"],
        "sklearn": ["event_embedding", "figures"],
        "tensorboard": ["event_embedding"],
        "threadpoolctl": ["event_embedding"],
        everything: CORE,
    }
    done = run_script(_IMPORTS, json.dumps(modules))
    assert done.returncode == 0, done.stderr
    received = json.loads(done.stdout.splitlines()[-1])
    expected = {
        f"{package}: {module}": f"{package} is not installed. {EXTRA}"
        for package, names in modules.items()
        for module in names
        if package != everything
    }
    expected["explain"] = f"matplotlib is not installed. {EXTRA}"
    assert received == expected


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return copy_run(tmp_path_factory)


def test_evaluate_works_without_the_extra(workdir):
    folder = workdir / "evaluation" / "test"
    folder.mkdir(parents=True)
    for name in ("confusion.png", "curves.png", "notes.png"):
        (folder / name).write_bytes(b"of an earlier evaluation")
    done = run_script(_COMMAND, ",".join(PACKAGES), "evaluate", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert "Weighted F" in done.stdout
    assert "confusion.png and curves.png are not written: matplotlib" in done.stderr
    assert EXTRA in done.stderr
    assert {path.name for path in folder.iterdir()} == {
        *("metrics.json", "report.md", "scenes.csv", "confusion.csv"),
        *("predictions.csv", "events.npz", "notes.png", "checksums.json"),
    }
    assert ".png" not in (folder / "report.md").read_text(encoding="utf-8")
