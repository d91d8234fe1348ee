"""Atomic replacement of files, and output paths."""

import csv
import errno

import pytest

from advance_tf import files
from advance_tf.files import check_output, replacing


def test_file_is_replaced_after_the_block(tmp_path):
    path = tmp_path / "folder" / "a.weights.h5"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.name.endswith(".weights.h5")
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.weights.h5"]


def test_failure_keeps_the_previous_file_and_removes_the_temporary_one(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), replacing(path) as temporary:
        temporary.write_text("incomplete")
        raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_output_must_be_a_file_with_the_suffix(tmp_path):
    check_output(tmp_path / "new" / "a.html")
    check_output(tmp_path / "a.PNG", ".png")
    with pytest.raises(
        ValueError, match=r"^output must be a file; received the folder .*output\.png"
    ):
        check_output(tmp_path, ".png")
    with pytest.raises(
        ValueError, match=r"^output must end in \.png; .* Use .*b\.png\."
    ):
        check_output(tmp_path / "b.jpg", ".png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("config"), "the entry 'config' is missing"),
        (csv.Error("line contains NUL"), "line contains NUL"),
        (RecursionError("too deep."), "too deep"),
        (MemoryError("no"), "no"),
        (OSError(errno.EINVAL, "Invalid argument"), r"\[Errno 22\] Invalid argument"),
    ],
)
def test_errors_of_a_damaged_file_have_rule_reason_and_way_out(error, reason):
    rule = f"^a.json must hold text; reading it failed: {reason}. Restore it.$"
    with pytest.raises(ValueError, match=rule):
        with files.reading("a.json", "hold text", "Restore it."):
            raise error


def test_errors_of_the_disk_are_not_those_of_a_damaged_file():
    with pytest.raises(OSError, match="No space"):
        with files.reading("a.json", "hold text", "Restore it."):
            raise OSError(errno.ENOSPC, "No space")
