"""The losses of two replicas add up to those of one on the same batch."""

import pathlib

from tests.processes import run_on_replicas


def test_two_replicas_make_the_step_of_one():
    script = pathlib.Path(__file__).with_name("replicas_of_losses.py")
    assert "replicas 2" in run_on_replicas(script)
