"""The downloader against a loopback server that drops connections."""

import hashlib
import http.server
import io
import re
import threading
import zipfile

import numpy as np
import pytest

from advance_tf.data import download, layout
from advance_tf.data.download import Archive


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Site:
    """What the server has, what it does wrong, and what it was asked for."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.statuses: list[int] = []  # answered first, one each
        self.drop_after: list[int] = []  # bytes after which it hangs up, one each
        self.understands_range = True


def handler_of(site):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            """Keeps the test output quiet."""

        def do_GET(self):
            site.ranges.append(self.headers.get("Range"))
            contents = site.files.get(self.path)
            status = site.statuses.pop(0) if site.statuses else 200
            if contents is None or status != 200:
                self.send_error(404 if contents is None else status)
                return
            begin = 0
            asked = re.match(r"bytes=(\d+)-$", self.headers.get("Range") or "")
            if asked and site.understands_range:
                begin = int(asked.group(1))
                if begin >= len(contents):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(contents)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                last = len(contents) - 1
                total = len(contents)
                self.send_header("Content-Range", f"bytes {begin}-{last}/{total}")
            else:
                self.send_response(200)
            rest = contents[begin:]
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if site.drop_after:
                rest = rest[: site.drop_after.pop(0)]
                self.close_connection = True
            self.wfile.write(rest)

    return Handler


@pytest.fixture
def served():
    site = Site()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(site))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def blob(size=300_000):
    return np.random.default_rng(0).bytes(size)


def archive_of(contents, name="a.zip"):
    return Archive(name, hashlib.md5(contents).hexdigest(), "vision")


def fetch(site, folder, contents, **settings):
    settings = {"wait_seconds": 0.0, "progress": False} | settings
    return download.fetch(archive_of(contents), f"{site.url}/a.zip", folder, **settings)


def test_a_whole_file(served, tmp_path):
    served.files["/a.zip"] = blob()
    path = fetch(served, tmp_path, blob())
    assert path.read_bytes() == blob()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]
    assert fetch(served, tmp_path, blob()) == path
    assert served.ranges == [None]


def test_a_dropped_connection_is_resumed_where_it_broke(served, tmp_path):
    served.files["/a.zip"] = blob()
    served.drop_after = [150_000, 100_000]
    assert fetch(served, tmp_path, blob()).read_bytes() == blob()
    assert served.ranges == [None, "bytes=150000-", "bytes=250000-"]


def test_an_earlier_run_is_resumed(served, tmp_path):
    served.files["/a.zip"] = blob()
    (tmp_path / "a.zip.part").write_bytes(blob()[:1000])
    assert fetch(served, tmp_path, blob()).read_bytes() == blob()
    assert served.ranges == ["bytes=1000-"]


def test_a_complete_part_needs_no_more_bytes(served, tmp_path):
    served.files["/a.zip"] = blob()
    (tmp_path / "a.zip.part").write_bytes(blob())
    assert fetch(served, tmp_path, blob()).read_bytes() == blob()
    assert served.ranges == ["bytes=300000-"]


def test_a_part_longer_than_the_file_is_begun_anew(served, tmp_path):
    served.files["/a.zip"] = blob()
    (tmp_path / "a.zip.part").write_bytes(blob() + b"more")
    assert fetch(served, tmp_path, blob()).read_bytes() == blob()


def test_a_server_without_range_begins_anew(served, tmp_path):
    served.files["/a.zip"] = blob()
    served.understands_range = False
    served.drop_after = [150_000]
    assert fetch(served, tmp_path, blob()).read_bytes() == blob()
    assert served.ranges == [None, "bytes=150000-"]


def test_a_server_without_range_that_always_drops_is_given_up(served, tmp_path):
    served.files["/a.zip"] = blob()
    served.understands_range = False
    served.drop_after = [150_000] * 9
    with pytest.raises(ValueError, match="3 attempts in a row brought nothing"):
        fetch(served, tmp_path, blob(), retries=2)
    assert len(served.ranges) == 4


def test_a_busy_server_is_asked_again_and_then_given_up(served, tmp_path):
    served.files["/a.zip"] = blob()
    served.statuses = [503, 429]
    assert fetch(served, tmp_path, blob(), retries=2).read_bytes() == blob()
    (tmp_path / "a.zip").unlink()
    served.statuses = [503] * 3
    with pytest.raises(ValueError, match=r"3 attempts in a row.*HTTP 503"):
        fetch(served, tmp_path, blob(), retries=2)


def test_a_missing_file_is_not_asked_for_again(served, tmp_path):
    with pytest.raises(ValueError, match=r"HTTP 404.*--base_url"):
        fetch(served, tmp_path, blob())
    assert len(served.ranges) == 1


def test_nobody_listens(tmp_path):
    site = Site()
    server = http.server.HTTPServer(("127.0.0.1", 0), handler_of(site))
    server.server_close()
    site.url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(ValueError, match="2 attempts in a row brought nothing"):
        fetch(site, tmp_path, blob(), retries=1)


def test_another_md5_is_refused_and_the_part_removed(served, tmp_path):
    served.files["/a.zip"] = b"<html>not a zip</html>"
    with pytest.raises(ValueError, match=r"must have md5 .* It was removed"):
        fetch(served, tmp_path, blob())
    assert not list(tmp_path.iterdir())


def test_a_damaged_part_is_noticed_although_the_length_is_right(served, tmp_path):
    served.files["/a.zip"] = blob()
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="must have md5"):
        fetch(served, tmp_path, blob())


def test_a_damaged_archive_that_is_already_there_is_kept_and_named(served, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(ValueError, match="Remove it and run the program again"):
        fetch(served, tmp_path, blob())
    assert (tmp_path / "a.zip").exists()
    assert not served.ranges


def test_a_disk_that_is_too_small_is_refused_before_a_byte(
    served, tmp_path, monkeypatch
):
    served.files["/a.zip"] = blob()
    usage = type("Usage", (), {"free": 299_999})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ValueError, match=r"300,000 bytes free.*it has 299,999"):
        fetch(served, tmp_path, blob())
    assert (tmp_path / "a.zip.part").stat().st_size == 0


def zipped(**files):
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return contents.getvalue()


def test_both_archives_end_in_the_layout(served, tmp_path):
    vision = zipped(**{"vision/lake/00001.jpg": b"image"})
    sound = zipped(**{"ADVANCE_sound/lake/00001.wav": b"sound"})
    served.files = {"/v.zip": vision, "/s.zip": sound}
    archives = (
        Archive("v.zip", hashlib.md5(vision).hexdigest(), "vision"),
        Archive("s.zip", hashlib.md5(sound).hexdigest(), "sound"),
    )
    made = download.download(tmp_path / "new", served.url, archives, progress=False)
    assert made == ["vision", "sound"]
    (pair,) = layout.scan(tmp_path / "new").pairs
    assert (tmp_path / "new" / pair.sound).read_bytes() == b"sound"
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["sound", "vision"]
    again = download.download(tmp_path / "new", served.url, archives, progress=False)
    assert again == []
    assert len(served.ranges) == 2


def test_only_http_is_understood(tmp_path):
    with pytest.raises(ValueError, match="--base_url must begin with http"):
        download.download(tmp_path, "file:///etc")


def test_the_published_archives():
    names = {archive.name: archive.md5 for archive in download.ARCHIVES}
    assert names == {
        "ADVANCE_vision.zip": "a9e8748219ef5864d3b5a8979a67b471",
        "ADVANCE_sound.zip": "a2d12f2d2a64f5c3d3a9d8c09aaf1c31",
    }
