"""The entry point: help, version, errors and exit status."""

import importlib
import subprocess
import sys
import time

import pytest
from absl.flags import FlagValues

import advance_tf
from advance_tf.cli import main as main_module
from advance_tf.cli.main import COMMANDS, main
from tests.imports import ROOT
from tests.processes import run_program

SCRIPT = """
import sys, types
from advance_tf.cli import main

def run(values):
    {body}

main._module = lambda command: types.SimpleNamespace(
    define=lambda values: None, run=run
)
sys.exit(main.main(["fit", *sys.argv[1:]]))
"""


def run(body, *arguments):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_has_one_line_for_each_command_in_order(arguments, capsys):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(len(line) <= 88 and line.endswith(".") for line in lines)


def test_help_is_fast_and_loads_no_tensorflow():
    script = (
        "import sys; from advance_tf.cli.main import main; main(['--help']); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    seconds = []
    # The fastest of three: other tests run on the same cores.
    for _ in range(3):
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
        assert done.returncode == 0
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_a_command_lists_every_flag_once(command, flag, capsys):
    assert main([command, "--workdir=x", flag]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"advance {command}: ")
    # The usage has an example of the command.
    assert f"    advance {command}" in printed
    values = FlagValues()
    name = command.replace("-", "_")
    importlib.import_module(f"advance_tf.cli.{name}").define(values)
    _, _, listed = printed.partition("\nFlags:\n")
    shown = [line.split()[0] for line in listed.splitlines() if line.startswith("  --")]
    names = [text.split("=")[0].replace("[no]", "").lstrip("-") for text in shown]
    assert sorted(names) == sorted([*values, "flagfile"])
    assert all(len(line) <= 88 for line in printed.splitlines())
    assert "verbosity" not in printed


def test_help_of_fit_has_groups_defaults_and_choices(capsys):
    main(["fit", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    places = [
        printed.index(f"Flags{name}:")
        for name in ("", *(f" of {n}" for n in ["data", "features", "model"]))
    ]
    assert places == sorted(places)
    assert "--learning_rate=X Learning rate. (default: 1e-05)" in printed
    assert "One of both, image, sound. (default: both)" in printed
    assert "--clip_seconds=X Length of a clip in seconds. (default: 10.0)" in printed
    main(["pretrain", "--help"])
    assert "Learning rate. (default: 0.001)" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"advance {advance_tf.__version__}\n"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["evalute"], "no command 'evalute'; the nearest is evaluate"),
        (["nonsense"], "no command 'nonsense'. `advance --help`"),
        (["split", "--wrkdir=x"], "no flag --wrkdir; the nearest is --workdir"),
        (["split", "--data_dir=x", "y"], "Arguments must be --flags"),
        (["fit", "--workdir=x", "--data_dir=y", "--alpha=-1"], "--alpha must be at"),
    ],
)
def test_a_mistyped_argument_is_a_message_and_status_1(given, message, capsys):
    assert main(given) == 1
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize("command", ["prepare-clips", "prepare_clips"])
def test_a_command_may_be_written_with_an_underscore(command, capsys):
    assert main([command]) == 1
    assert "--sound_dir must name" in capsys.readouterr().err


@pytest.mark.parametrize(
    "body",
    ["raise ValueError('the rule')", "raise FileNotFoundError('the rule')"],
)
def test_an_error_of_the_input_is_a_message_and_status_1(body):
    ended = run(body)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "error: the rule"


@pytest.mark.parametrize(
    "error", ["MemoryError('a')", "type('ResourceExhaustedError', (Exception,), {})()"]
)
def test_used_up_memory_is_a_message_with_a_way_out(error):
    ended = run(f"raise {error}")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "The memory must suffice" in ended.stderr
    assert "Lower" in ended.stderr


@pytest.mark.parametrize("error", ["KeyError('ours')", "ImportError('ours')"])
def test_a_defect_keeps_its_traceback(error):
    ended = run(f"raise {error}")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


def test_a_missing_package_is_a_message_with_its_extra():
    ended = run(
        "from advance_tf.extras import check_extra; check_extra('onnx', 'nope')"
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "error: nope is not installed. Install it with "
        "`pip install 'advance_tf[onnx]'`.\n"
    )


def test_a_successful_command_ends_with_status_0():
    ended = run("print('done')")
    assert (ended.returncode, ended.stdout.strip()) == (0, "done")


def test_ctrl_c_ends_without_a_traceback():
    ended = run("raise KeyboardInterrupt")
    assert ended.returncode == 130
    assert ended.stderr.strip() == "Stopped."


def test_warnings_of_the_library_are_shown():
    ended = run("import logging; logging.getLogger('a').warning('left out')")
    assert ended.stderr == "warning: left out\n"


def test_python_runs_fit_as_a_module(tmp_path):
    script = [sys.executable, "-m", "advance_tf.fit", f"--workdir={tmp_path / 'x'}"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: --data_dir must name a folder")


def test_fit_runs_the_demonstration_only_without_flags(monkeypatch, tmp_path):
    from advance_tf.cli import demo

    ran = []
    monkeypatch.setattr(demo, "demonstrate", lambda *given: ran.append(given))
    assert main(["fit"]) == main(["demo"]) == 0
    assert main(["demo", "--workdir", "x"]) == 0
    assert [str(given[0]) for given in ran] == ["demo", "demo", "x"]
    for workdir in (["--workdir", str(tmp_path)], [f"--workdir={tmp_path}"]):
        assert main(["fit", *workdir]) == 1
    assert len(ran) == 3


def test_a_finished_demonstration_is_not_replaced(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    status, _, error = run_program("demo", "--workdir", tmp_path)
    assert status == 1
    assert "holds a finished demonstration" in error


def test_a_closed_output_is_not_an_error():
    command = f"{sys.executable} -m advance_tf fit --help | head -1"
    done = subprocess.run(
        command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("advance fit")
    assert "Traceback" not in done.stderr


def test_every_command_has_a_module():
    for command in COMMANDS:
        module = main_module._module(command)
        assert callable(module.define)
        assert callable(module.run)
