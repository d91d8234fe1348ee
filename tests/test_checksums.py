"""Files with recorded checksums: damage is noticed, a killed process does no harm."""

import hashlib
import json

import pytest

from advance_tf import checksums, files
from advance_tf.checksums import CHECKSUMS, replacing_checked, verify


def write(path, text):
    with replacing_checked(path) as temporary:
        temporary.write_text(text)


def test_the_checksum_is_that_of_the_contents(tmp_path):
    write(tmp_path / "a.txt", "one")
    write(tmp_path / "b.txt", "two")
    assert json.loads((tmp_path / CHECKSUMS).read_text()) == {
        "a.txt": [hashlib.sha256(b"one").hexdigest()],
        "b.txt": [hashlib.sha256(b"two").hexdigest()],
    }
    verify(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("onf")
    with pytest.raises(ValueError, match=r"a\.txt is damaged: its SHA-256 differs"):
        verify(tmp_path / "a.txt")


def test_a_file_without_a_record_is_not_checked(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    verify(tmp_path / "a.txt")


@pytest.mark.parametrize("stage", ["before the file", "after the file"])
def test_a_process_killed_between_the_two_files_leaves_a_valid_one(
    tmp_path, monkeypatch, stage
):
    path = tmp_path / "a.txt"
    write(path, "one")
    real = files.os.replace
    # The order is: both checksums, the file, the new checksum.
    killed_at = {"before the file": 2, "after the file": 3}[stage]
    calls = []

    def replace(source, target):
        calls.append(target)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write(path, "two")
    monkeypatch.undo()
    assert path.read_text() == ("one" if stage == "before the file" else "two")
    verify(path)
    write(path, "three")
    verify(path)
    assert len(json.loads((tmp_path / CHECKSUMS).read_text())["a.txt"]) == 1


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a.txt": 3}'])
def test_damaged_records_are_an_error_with_a_remedy(tmp_path, text):
    (tmp_path / CHECKSUMS).write_text(text)
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(ValueError, match="Remove it to work without checksums"):
        verify(tmp_path / "a.txt")


def test_a_failed_write_keeps_file_and_record(tmp_path):
    path = tmp_path / "a.txt"
    write(path, "one")
    with pytest.raises(OSError, match="full"), replacing_checked(path):
        raise OSError("full")
    verify(path)
    assert checksums.file_sha256(path) == hashlib.sha256(b"one").hexdigest()
