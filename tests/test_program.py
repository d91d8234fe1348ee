"""Bad input ends a program with one message, status 1 and no traceback."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from advance_tf import program

def main(arguments):
    {body}

program.run(main)
"""


def run(body, *arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "body",
    ["raise ValueError('the rule')", "raise FileNotFoundError('the rule')"],
)
def test_a_users_error_is_a_message_and_status_1(body):
    ended = run(body)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "error: the rule"
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_fault_of_the_program_keeps_its_traceback():
    ended = run("raise KeyError('ours')")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


def test_a_word_that_is_no_flag_is_refused():
    ended = run("print('went on')", "epochs=3")
    assert ended.returncode == 1
    assert "received 'epochs=3'" in ended.stderr
    assert "went on" not in ended.stdout


def test_a_good_run_ends_with_status_0():
    ended = run("print('done')")
    assert (ended.returncode, ended.stdout.strip()) == (0, "done")


def test_ctrl_c_ends_without_a_traceback():
    ended = run("raise KeyboardInterrupt")
    assert ended.returncode == 130
    assert ended.stderr.strip() == "Stopped."
