"""What the commands import: nothing that they do not need."""

import json
import subprocess
import sys

import pytest

from tests.imports import ROOT
from tests.untrained_run import copy_run

# Of these, only TensorFlow and Keras are needed for the prediction of a run.
HEAVY = (
    *("tensorflow", "keras", "scipy", "sklearn", "matplotlib", "pandas", "IPython"),
    *("ai_edge_litert", "onnx", "onnxruntime", "tf2onnx", "torch", "librosa"),
)
SCRIPT = """
import contextlib, io, json, sys
from advance_tf.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as output:
    status = main(sys.argv[2:])
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
print(json.dumps({"status": status, "output": output.getvalue(), "loaded": loaded}))
"""


def run(*arguments):
    command = [sys.executable, "-c", SCRIPT, ",".join(HEAVY), *map(str, arguments)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return json.loads(process.stdout)


@pytest.mark.parametrize("command", [[], ["fit"], ["predict"], ["export"]])
def test_help_loads_no_heavy_module(command):
    found = run(*command, "--help")
    assert found["status"] == 0
    assert "advance" in found["output"]
    assert found["loaded"] == []


def test_a_wrong_path_is_reported_before_tensorflow_is_loaded(tmp_path):
    found = run("predict", f"--workdir={tmp_path}", "--image=a.jpg")
    assert found["status"] == 1
    assert found["loaded"] == []


def test_a_prediction_loads_tensorflow_and_no_other_heavy_module(tmp_path_factory):
    folder = copy_run(tmp_path_factory)
    image, sound = (
        next((folder / "data" / name).rglob("*.*")) for name in ("vision", "sound")
    )
    found = run(
        "predict", f"--workdir={folder}", f"--image={image}", f"--sound={sound}"
    )
    assert found["status"] == 0
    assert "scenes" in found["output"]
    assert found["loaded"] == ["tensorflow", "keras"]
