"""Two replicas make the step of one on the same global batch, batch norm included."""

import pathlib

from tests.processes import run_on_replicas


def test_two_replicas_make_the_step_of_one():
    script = pathlib.Path(__file__).with_name("replicas_of_training.py")
    assert "replicas 1 2" in run_on_replicas(script)
