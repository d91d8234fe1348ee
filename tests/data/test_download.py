"""Downloads from a local server that drops connections."""

import hashlib
import http.server
import io
import json
import zipfile

import numpy as np
import pytest

from advance_tf.data import download, layout, transfers
from advance_tf.data.download import Archive
from advance_tf.files import DISK_ERRORS
from advance_tf.locks import LockedError, lock_folder
from tests.data.factories import write_files
from tests.data.file_server import FileServer, create_handler, serving


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving() as files:
        yield files


def random_bytes(size=300_000):
    return np.random.default_rng(0).bytes(size)


def create_archive(contents, name="a.zip", folder="vision"):
    return Archive(name, f"md5:{hashlib.md5(contents).hexdigest()}", folder)


def fetch(server, folder, contents, **settings):
    settings = {"wait_seconds": 0.0, "progress": False} | settings
    return transfers.fetch(
        create_archive(contents), f"{server.url}/a.zip", folder, **settings
    )


def test_a_complete_file_is_downloaded_once(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    path = fetch(server, tmp_path, random_bytes())
    assert path.read_bytes() == random_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]
    assert fetch(server, tmp_path, random_bytes()) == path
    assert server.ranges == [None]


def test_a_dropped_connection_is_resumed(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    server.drop_after = [150_000, 100_000]
    assert fetch(server, tmp_path, random_bytes()).read_bytes() == random_bytes()
    assert server.ranges == [None, "bytes=150000-", "bytes=250000-"]


def test_an_earlier_run_is_resumed(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    (tmp_path / "a.zip.part").write_bytes(random_bytes()[:1000])
    assert fetch(server, tmp_path, random_bytes()).read_bytes() == random_bytes()
    assert server.ranges == ["bytes=1000-"]


def test_a_complete_part_needs_no_more_bytes(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    (tmp_path / "a.zip.part").write_bytes(random_bytes())
    assert fetch(server, tmp_path, random_bytes()).read_bytes() == random_bytes()
    assert server.ranges == ["bytes=300000-"]


def test_a_part_longer_than_the_file_is_downloaded_again(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    (tmp_path / "a.zip.part").write_bytes(random_bytes() + b"more")
    assert fetch(server, tmp_path, random_bytes()).read_bytes() == random_bytes()


def test_a_server_without_range_sends_the_file_again(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    server.supports_range = False
    server.drop_after = [150_000]
    assert fetch(server, tmp_path, random_bytes()).read_bytes() == random_bytes()
    assert server.ranges == [None, "bytes=150000-"]


def test_a_server_without_range_that_always_drops_is_an_error(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    server.supports_range = False
    server.drop_after = [150_000] * 9
    with pytest.raises(ValueError, match="3 attempts in a row made no progress"):
        fetch(server, tmp_path, random_bytes(), retries=2)
    assert len(server.ranges) == 4


def test_a_busy_server_is_retried_and_then_an_error(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    server.statuses = [503, 429]
    assert (
        fetch(server, tmp_path, random_bytes(), retries=2).read_bytes()
        == random_bytes()
    )
    (tmp_path / "a.zip").unlink()
    server.statuses = [503] * 3
    with pytest.raises(ValueError, match=r"3 attempts in a row.*HTTP 503"):
        fetch(server, tmp_path, random_bytes(), retries=2)


def test_a_missing_file_is_not_retried(server, tmp_path):
    with pytest.raises(ValueError, match=r"HTTP 404.*`base_url`"):
        fetch(server, tmp_path, random_bytes())
    assert len(server.ranges) == 1


def test_a_server_that_does_not_run_is_an_error(tmp_path):
    files = FileServer()
    http_server = http.server.HTTPServer(("127.0.0.1", 0), create_handler(files))
    http_server.server_close()
    files.url = f"http://127.0.0.1:{http_server.server_port}"
    with pytest.raises(ValueError, match="2 attempts in a row made no progress"):
        fetch(files, tmp_path, random_bytes(), retries=1)


def test_another_checksum_is_an_error_and_the_part_is_removed(server, tmp_path):
    server.contents["/a.zip"] = b"<html>not a zip</html>"
    with pytest.raises(
        ValueError, match=r"must have the MD5 checksum .* It was removed"
    ):
        fetch(server, tmp_path, random_bytes())
    assert not list(tmp_path.iterdir())


def test_a_damaged_part_of_the_right_length_is_an_error(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="must have the MD5 checksum"):
        fetch(server, tmp_path, random_bytes())


def test_a_damaged_archive_that_exists_is_kept_and_named(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(ValueError, match="Remove it and run `advance download` again"):
        fetch(server, tmp_path, random_bytes())
    assert (tmp_path / "a.zip").exists()
    assert not server.ranges


def test_too_little_disk_space_is_an_error_before_downloading(
    server, tmp_path, monkeypatch
):
    server.contents["/a.zip"] = random_bytes()
    usage = type("Usage", (), {"free": 299_999})
    monkeypatch.setattr(transfers.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ValueError, match=r"300,000 bytes free.*it has 299,999"):
        fetch(server, tmp_path, random_bytes())
    assert (tmp_path / "a.zip.part").stat().st_size == 0


def zip_bytes(**files):
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return contents.getvalue()


def test_both_archives_are_unpacked_to_the_layout(server, tmp_path):
    vision = zip_bytes(**{"vision/lake/00001.jpg": b"image"})
    sound = zip_bytes(**{"ADVANCE_sound/lake/00001.wav": b"sound"})
    server.contents = {"/v.zip": vision, "/s.zip": sound}
    archives = (
        create_archive(vision, "v.zip"),
        create_archive(sound, "s.zip", "sound"),
    )
    created = download.download_advance(
        tmp_path / "new", server.url, archives, progress=False
    )
    assert created == ["vision", "sound"]
    (pair,) = layout.scan(tmp_path / "new").pairs
    assert (tmp_path / "new" / pair.sound).read_bytes() == b"sound"
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["download.lock", "sound", "vision"]
    again = download.download_advance(
        tmp_path / "new", server.url, archives, progress=False
    )
    assert again == []
    assert len(server.ranges) == 2


@pytest.mark.parametrize("vision", ["ADVANCE_vision", "ADVANCE_vision/vision"])
def test_folders_with_the_names_of_the_archives_are_kept(server, tmp_path, vision):
    write_files(tmp_path, f"{vision}/lake/00001.jpg", "ADVANCE_sound/lake/00001.wav")
    assert download.download_advance(tmp_path, server.url, progress=False) == []
    assert not server.ranges
    assert layout.scan(tmp_path).pairs[0].image == f"{vision}/lake/00001.jpg"


def test_one_process_at_a_time_downloads_to_a_folder(server, tmp_path):
    sound = zip_bytes(**{"sound/lake/00001.wav": b"sound"})
    server.contents = {"/s.zip": sound}
    given = (server.url, (create_archive(sound, "s.zip", "sound"),))
    with lock_folder(tmp_path, transfers.LOCK):
        with pytest.raises(LockedError, match="One download at a time may use"):
            download.download_advance(tmp_path, *given, progress=False)
    assert not server.ranges
    assert download.download_advance(tmp_path, *given, progress=False) == ["sound"]


@pytest.mark.parametrize("number", DISK_ERRORS)
def test_an_error_of_the_disk_is_not_retried(server, tmp_path, monkeypatch, number):
    attempts = []

    def attempt(self):
        attempts.append(self.url)
        raise OSError(number, "The disk cannot be written", str(self.part))

    monkeypatch.setattr(transfers._Download, "attempt", attempt)
    with pytest.raises(OSError, match="The disk cannot be written"):
        fetch(server, tmp_path, random_bytes())
    assert len(attempts) == 1


def test_a_file_without_a_checksum_is_resumed_and_not_compared(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    server.drop_after = [150_000]
    file = transfers.PublishedFile("a.zip")
    settings = {"wait_seconds": 0.0, "progress": False}
    for _ in range(2):
        path = transfers.fetch(file, f"{server.url}/a.zip", tmp_path, **settings)
        assert path.read_bytes() == random_bytes()
    assert server.ranges == [None, "bytes=150000-"]


def test_sha256_is_compared(server, tmp_path):
    server.contents["/a.zip"] = random_bytes()
    digest = hashlib.sha256(random_bytes()).hexdigest()
    right = transfers.PublishedFile("a.zip", f"sha256:{digest}")
    wrong = transfers.PublishedFile("b.zip", f"sha256:{digest[::-1]}")
    settings = {"wait_seconds": 0.0, "progress": False}
    transfers.fetch(right, f"{server.url}/a.zip", tmp_path, **settings)
    with pytest.raises(ValueError, match=f"SHA-256 checksum {digest[::-1]}"):
        transfers.fetch(wrong, f"{server.url}/a.zip", tmp_path, **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def record(*entries):
    keys = ("key", "checksum", "self")
    files = [dict(zip(keys, entry, strict=True)) for entry in entries]
    for file in files:
        file["links"] = {"self": file.pop("self")}
    return json.dumps({"files": files}).encode()


def test_a_record_lists_its_files(server):
    server.contents["/r"] = record(("a.pt", "md5:12", "http://x/a"))
    expected = {transfers.PublishedFile("a.pt", "md5:12"): "http://x/a"}
    assert transfers.zenodo_files(f"{server.url}/r") == expected


@pytest.mark.parametrize(
    "contents",
    [
        b"<html>",
        b"[]",
        b"{}",
        record(("../a.pt", "md5:12", "")),
        record(("..", "md5:12", "")),
        record(("a.pt", "crc32:12", "")),
    ],
)
def test_another_answer_than_a_record_is_an_error(server, contents):
    server.contents["/r"] = contents
    with pytest.raises(ValueError, match="must describe a record of Zenodo"):
        transfers.zenodo_files(f"{server.url}/r")


def test_a_missing_record_is_an_error(server):
    with pytest.raises(ValueError, match=r"must be reachable.*404"):
        transfers.zenodo_files(f"{server.url}/r")


def test_other_protocols_than_http_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="^base_url must begin with http"):
        download.download_advance(tmp_path, "file:///etc")


def test_the_archives_are_those_of_zenodo():
    names = {archive.name: archive.checksum for archive in download.ARCHIVES}
    assert names == {
        "ADVANCE_vision.zip": "md5:a9e8748219ef5864d3b5a8979a67b471",
        "ADVANCE_sound.zip": "md5:a2d12f2d2a64f5c3d3a9d8c09aaf1c31",
    }
