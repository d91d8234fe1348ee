"""The wheel with its core dependencies alone predicts, in a fresh environment."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import venv

import pytest

from advance_tf.serving.export import export_saved_model
from tests.imports import ROOT
from tests.untrained_run import copy_run, exported_litert

_SECONDS = 600


def run(*command, cwd, status=0):
    """The output of a process that sees neither this checkout nor its settings."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"
    }
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def core():
    """The folder of programs of an environment with the wheel; removed at the end.

    TensorFlow alone has 2 GB, too much for the folders that pytest keeps.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", root)
        run(*build, cwd=ROOT)
        (wheel,) = root.glob("advance_tf-*.whl")
        venv.create(root / "venv", with_pip=False)
        programs = root / "venv" / ("Scripts" if os.name == "nt" else "bin")
        python = programs / "python"
        pip = (sys.executable, "-m", "pip", "--python", python)
        # The versions that the tests use; they hold for what is installed only.
        pins = ("-c", ROOT / "requirements.txt")
        run(*pip, "install", "-q", "--no-compile", *pins, wheel, cwd=root)
        run(*pip, "check", cwd=root)
        yield programs


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return copy_run(tmp_path_factory)


def advance(core, workdir, *arguments, status=0):
    return run(core / "advance", *arguments, cwd=workdir.parent, status=status)


def example(workdir):
    """The flags of a pair of the run's data."""
    image = min((workdir / "data").glob("vision/*/*.jpg"))
    sound = workdir / "data" / "sound" / image.parent.name / f"{image.stem}.wav"
    return f"--image={image}", f"--sound={sound}"


@pytest.mark.parametrize("package", ["matplotlib", "jinja2", "sklearn", "onnx"])
def test_the_environment_has_no_optional_package(core, workdir, package):
    done = run(core / "python", "-c", f"import {package}", cwd=workdir, status=1)
    assert "ModuleNotFoundError" in done.stderr


def test_the_package_is_that_of_the_wheel(core, workdir):
    code = "import advance_tf; print(advance_tf.__file__)"
    done = run(core / "python", "-c", code, cwd=workdir)
    assert pathlib.Path(done.stdout.strip()).is_relative_to(core.parent)


def test_the_help_lists_the_commands(core, workdir):
    text = advance(core, workdir, "--help").stdout
    assert " predict " in text
    assert " evaluate " in text


def test_a_pair_is_predicted(core, workdir):
    flags = (f"--workdir={workdir}", *example(workdir), "--json")
    answer = json.loads(advance(core, workdir, "predict", *flags).stdout)
    assert answer["status"] == "ok"
    assert answer["scene"]


def test_a_run_is_evaluated(core, workdir):
    done = advance(core, workdir, "evaluate", f"--workdir={workdir}")
    assert "The evaluation is in " in done.stdout
    written = workdir / "evaluation" / "test"
    weighted = json.loads((written / "metrics.json").read_text())["weighted"]
    assert 0 <= weighted["f_score"]["value"] <= 1
    assert (written / "predictions.csv").is_file()
    # The pictures need the extra `report`.
    assert not (written / "confusion.png").exists()


def test_a_command_names_the_extra_that_it_needs(core, workdir):
    name = workdir.name
    extras = {
        f"report --workdir={name}": "report",
        f"explain --workdirs={name} --output=maps.png": "report",
        f"figures --workdir={name}": "report",
        f"export --workdir={name} --export_dir=exported": "(serving|export)",
    }
    # In one process, which loads TensorFlow once.
    script = """
import contextlib, io, json, sys
from advance_tf.cli.main import main
found = []
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as error:
        found.append([main(command.split()), error.getvalue()])
print(json.dumps(found))
"""
    command = (core / "python", "-c", script, json.dumps([*extras]))
    lines = run(*command, cwd=workdir.parent).stdout.splitlines()
    for extra, (status, error) in zip(
        extras.values(), json.loads(lines[-1]), strict=True
    ):
        assert status == 1
        assert error.startswith("error: ")
        assert re.search(rf"pip install 'advance_tf\[{extra}\]'", error)


def test_an_exported_model_predicts(core, workdir, tmp_path, tmp_path_factory):
    # It is exported here: that needs the extra `serving`.
    export_saved_model(workdir, tmp_path / "saved_model")
    lite = exported_litert(tmp_path_factory)
    image = example(workdir)[0].partition("=")[2]
    code = f"""
import advance_tf
for path in ("saved_model", {str(lite)!r}):
    model = advance_tf.load_model(path)
    print(model.predict(image={image!r}).status)
"""
    done = run(core / "python", "-c", code, cwd=tmp_path)
    assert done.stdout.split() == ["ok", "ok"]
