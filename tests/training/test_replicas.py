"""Two replicas make the step of one on the same global batch, batch norm included."""

import os
import pathlib
import subprocess
import sys

_ON_REPLICAS = pathlib.Path(__file__).with_name("replicas_of_training.py")


def test_two_replicas_make_the_step_of_one():
    # Logical devices must be set before TensorFlow starts, hence the process.
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(_ON_REPLICAS.parents[2]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, str(_ON_REPLICAS)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "replicas 1 2" in done.stdout
