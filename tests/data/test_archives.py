"""Archives are unpacked below their folder, completely or not at all."""

import zipfile

import pytest

from advance_tf.data import archives


def write_zip(path, *names, contents=b"some bytes"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, contents)
    return path


def unpack_zip(tmp_path, *names, **settings):
    path = write_zip(tmp_path / "a.zip", *names, **settings)
    (tmp_path / "to").mkdir()
    archives.unpack(path, tmp_path / "to" / "vision", progress=False)
    return tmp_path / "to"


@pytest.mark.parametrize(
    "top", ["", "vision/", "ADVANCE_vision/", "ADVANCE_vision/vision/"]
)
def test_scene_folders_are_found_at_any_level(tmp_path, top):
    names = [f"{top}sports land/00001.jpg", f"{top}lake/00002.jpg", "__MACOSX/x"]
    folder = unpack_zip(tmp_path, f"{top}lake/", *names)
    assert (folder / "vision/sports land/00001.jpg").read_bytes() == b"some bytes"
    assert (folder / "vision/lake/00002.jpg").exists()
    assert [entry.name for entry in folder.iterdir()] == ["vision"]


@pytest.mark.parametrize(
    "name", ["../lake/1.jpg", "/lake/1.jpg", "lake/../../1.jpg", "C:/lake/1.jpg"]
)
def test_a_path_outside_the_folder_is_an_error_before_writing(tmp_path, name):
    with pytest.raises(ValueError, match="regular files below its own folder"):
        unpack_zip(tmp_path, "lake/00001.jpg", name)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["a.zip", "to"]


def test_a_backslash_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="regular files"):
        unpack_zip(tmp_path, "lake\\..\\..\\1.jpg")


def test_a_link_is_an_error(tmp_path):
    link = zipfile.ZipInfo("lake/00001.jpg")
    link.external_attr = 0o120777 << 16
    with pytest.raises(ValueError, match="regular files"):
        unpack_zip(tmp_path, link, contents=b"/etc/passwd")


def test_a_damaged_archive_leaves_no_folder(tmp_path):
    path = write_zip(tmp_path / "a.zip", "lake/00001.jpg", contents=b"x" * 100_000)
    damaged = bytearray(path.read_bytes())
    damaged[60:70] = b"0123456789"
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="must be a valid zip file"):
        archives.unpack(path, tmp_path / "vision", progress=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_a_file_of_another_format_is_an_error(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html></html>")
    with pytest.raises(ValueError, match="must be a valid zip file"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "vision", progress=False)


def test_an_archive_without_scenes_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="folders named after the scenes"):
        unpack_zip(tmp_path, "volcano/00001.jpg")


def test_too_little_disk_space_is_an_error(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 9})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ValueError, match=r"10 bytes free.*it has 9"):
        unpack_zip(tmp_path, "lake/00001.jpg")


def test_the_files_of_a_killed_run_are_replaced(tmp_path):
    stale = tmp_path / "to" / ".vision-partial" / "lake" / "00009.jpg"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"half")
    path = write_zip(tmp_path / "a.zip", "lake/00001.jpg")
    archives.unpack(path, tmp_path / "to" / "vision", progress=False)
    files = [entry.name for entry in (tmp_path / "to").rglob("*.jpg")]
    assert files == ["00001.jpg"]
