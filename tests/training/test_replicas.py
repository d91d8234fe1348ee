"""A training step on two replicas equals that on one, batch norm included."""

import pathlib

from tests.processes import run_on_replicas


def test_a_step_on_two_replicas_equals_that_on_one():
    script = pathlib.Path(__file__).with_name("replicas_of_training.py")
    assert "replicas 1 2" in run_on_replicas(script)
