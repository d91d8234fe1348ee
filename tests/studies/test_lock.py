"""A folder is held by one process, and by the children that it leaves behind."""

import subprocess
import sys

import pytest

from advance_tf.studies import lock


def test_a_second_study_is_refused_until_the_first_ends(tmp_path):
    with lock.held(tmp_path / "new"):
        with pytest.raises(ValueError, match="One study at a time may work in"):
            with lock.held(tmp_path / "new"):
                pass
    with lock.held(tmp_path / "new"):
        pass


def test_a_child_keeps_the_folder(tmp_path):
    code = "import sys; sys.stdin.read()"
    with lock.held(tmp_path) as descriptor:
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, pass_fds=(descriptor,)
        )
    with pytest.raises(ValueError, match="left behind"):
        with lock.held(tmp_path):
            pass
    child.communicate()
    with lock.held(tmp_path):
        pass
