"""Files with recorded checksums: damage is noticed, a killed process does no harm."""

import hashlib
import json

import pytest

from advance_tf import checksums, files
from advance_tf.checksums import (
    CHECKSUMS,
    record_folder,
    replacing_checked,
    verify,
    verify_folder,
)


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


def test_a_file_that_is_replaced_while_it_is_checked_is_valid(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write(path, "first")
    own = checksums.file_sha256

    def replaced(given):
        monkeypatch.setattr(checksums, "file_sha256", own)
        write(path, "second")
        return own(given)

    monkeypatch.setattr(checksums, "file_sha256", replaced)
    verify(path)
    assert path.read_text() == "second"
    path.write_text("damaged")
    with pytest.raises(ValueError, match="is damaged"):
        verify(path)


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


def test_every_recorded_file_of_a_folder_is_checked(tmp_path):
    verify_folder(tmp_path)
    for name in ("a.txt", "deep/er/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for _ in range(2):
        record_folder(tmp_path)
    assert json.loads((tmp_path / CHECKSUMS).read_text()).keys() == {
        *("a.txt", "deep/er/b.txt"),
    }
    (tmp_path / "notes.txt").write_text("added later")
    verify_folder(tmp_path)
    (tmp_path / "deep/er/b.txt").write_text("deep/er/c.txt")
    with pytest.raises(ValueError, match=r"er/b\.txt is damaged: its SHA-256 differs"):
        verify_folder(tmp_path)
    (tmp_path / "deep/er/b.txt").unlink()
    with pytest.raises(ValueError, match=r"er/b\.txt must exist: it is in checksums"):
        verify_folder(tmp_path)


@pytest.mark.parametrize(("size", "expected"), [(None, b"abc"), (2, b"ab"), (0, b"")])
def test_the_first_bytes_of_a_file_have_their_own_hash(tmp_path, size, expected):
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc")
    found = checksums.file_sha256(path, size)
    assert found == hashlib.sha256(expected).hexdigest()
