"""Start-up messages of TensorFlow are not written to standard error, errors are."""

import os
import subprocess
import sys

import pytest

from tests.imports import ROOT
from tests.untrained_run import copy_run, exported_litert

NOISE = (
    *("absl::InitializeLog", "cudart", "cuInit", "oneDNN", "cpu_feature_guard"),
    *("XNNPACK", "rebuild TensorFlow", "I0000", "E0000", "W0000"),
)


def stderr_of(*command, status=0, **environment):
    """Standard error of a process without the variables that silence TensorFlow."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TF_CPP") and name != "CUDA_VISIBLE_DEVICES"
    }
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=plain | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return copy_run(tmp_path_factory)


@pytest.mark.parametrize("command", ["evaluate", "predict", "report"])
def test_a_command_that_succeeds_writes_nothing_to_stderr(workdir, command):
    flags = [f"--workdir={workdir}"]
    if command == "predict":
        flags.append(f"--image={next((workdir / 'data').glob('vision/*/*.jpg'))}")
    if command == "report":
        flags.append("--mistakes=0")
    assert stderr_of("-m", "advance_tf", command, *flags) == ""


def test_a_prediction_with_litert_writes_nothing_to_stderr(workdir, tmp_path_factory):
    path = exported_litert(tmp_path_factory)
    image = next((workdir / "data").glob("vision/*/*.jpg"))
    flags = f"--workdir={path}", f"--image={image}"
    assert stderr_of("-m", "advance_tf", "predict", *flags) == ""


def test_an_error_reaches_stderr_without_noise(workdir, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    error = stderr_of(
        *("-m", "advance_tf", "predict", f"--workdir={workdir}"),
        f"--sound={tmp_path / 'bad.wav'}",
        status=1,
    )
    assert error.startswith("error: ")
    assert "bad.wav" in error
    assert not [word for word in NOISE if word in error]


@pytest.mark.parametrize("command", ["split", "stats"])
def test_a_command_on_data_writes_only_its_progress(workdir, tmp_path, command):
    flags = [f"--data_dir={workdir / 'data'}", f"--workdir={tmp_path / 'run'}"]
    if command == "stats":
        flags += [f"--output={tmp_path / 'stats.csv'}", "--clip_seconds=1"]
    lines = stderr_of("-m", "advance_tf", command, *flags).splitlines()
    assert not [line for line in lines if line and not line.startswith("statistics:")]


@pytest.mark.parametrize("command", ["compare", "teach", "export"])
def test_an_error_after_the_start_is_one_line(workdir, tmp_path, command):
    teacher = tmp_path / "tower.npz"
    teacher.write_bytes(b"no archive")
    (tmp_path / "1").mkdir()
    flags = {
        # The training split of this run is never evaluated.
        "compare": [f"--methods=a={workdir}", "--split=training"],
        "teach": [
            *(f"--data_dir={workdir / 'data'}", f"--workdir={tmp_path / 'run'}"),
            f"--teacher={teacher}",
        ],
        "export": [
            *(f"--workdir={workdir}", f"--export_dir={tmp_path}", "--version=1"),
            "--format=onnx",
        ],
    }
    error = stderr_of("-m", "advance_tf", command, *flags[command], status=1)
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_failed_import_writes_the_withheld_output(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'a message of C++\\n')\nraise ImportError('no AVX')\n"
    )
    script = "from advance_tf.cli import startup; startup.load_tensorflow()"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    error = stderr_of("-c", script, status=1, PYTHONPATH=path)
    assert "a message of C++" in error
    assert "no AVX" in error


def test_errors_of_cpp_after_the_start_are_written():
    script = (
        "import os; from advance_tf.cli import startup; startup.load_tensorflow(); "
        "os.write(2, b'shown'); import tensorflow as tf; "
        "tf.config.list_physical_devices()"
    )
    assert stderr_of("-c", script) == "shown"


def test_a_lower_log_level_writes_all_messages():
    script = "from advance_tf.cli import startup; startup.load_tensorflow()\n"
    script += "import tensorflow as tf; tf.config.list_physical_devices()"
    error = stderr_of("-c", script, TF_CPP_MIN_LOG_LEVEL="0")
    assert "absl::InitializeLog" in error
