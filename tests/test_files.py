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


def test_one_walk_leaves_out_what_systems_add(tmp_path):
    """Everything that walks a folder of media uses it."""
    for name in (
        *("b.jpg", "a.wav", "lake/1.jpg", "lake/deep/2.jpg", "._b.jpg", "Thumbs.db"),
        *("__MACOSX/b.jpg", ".ipynb_checkpoints/b.jpg", "lake/@eaDir/1.jpg"),
        *("lake/._1.jpg", "lake/desktop.ini"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list(files.visible_files(tmp_path))
    relative = [name for _, name in found]
    assert relative == ["a.wav", "b.jpg", "lake/1.jpg", "lake/deep/2.jpg"]
    assert [path for path, _ in found] == [str(tmp_path / name) for name in relative]


def test_only_files_of_killed_processes_are_removed(tmp_path):
    folder = tmp_path / "vision" / "lake"
    folder.mkdir(parents=True)
    own = ("1.jpg", "a-partial.jpg", "b-partial-7.jpg", "12-partially.jpg")
    for name in (*own, "1-4711-partial.jpg", "best-12-partial.weights.h5"):
        (folder / name).touch()
    (tmp_path / "log-1-partial").touch()
    (tmp_path / "image_backbone-12-partial").mkdir()
    (tmp_path / "image_backbone-12-partial" / "network.json").touch()
    files.remove_partial_files(tmp_path, depth=2)
    assert sorted(path.name for path in folder.iterdir()) == sorted(own)
    assert (tmp_path / "log-1-partial").exists()
    files.remove_partial_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vision"]


def test_two_writers_of_one_process_have_files_of_their_own(tmp_path):
    """As in two containers, where each process has the number 1."""
    path = tmp_path / "a.txt"
    with files.replacing(path) as one, files.replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
        assert files.is_partial(one)
        assert files.is_partial(other)
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]
