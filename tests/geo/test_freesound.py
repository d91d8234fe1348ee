"""The search of Freesound against a local server that answers as its API does."""

import http.server
import json
import threading
import typing
import urllib.parse

import pytest

from advance_tf.geo.freesound import KEY, download_recordings, find_recordings
from advance_tf.geo.recordings import read_recordings


class _Handler(http.server.BaseHTTPRequestHandler):
    requests: typing.ClassVar[list] = []

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        given = dict(urllib.parse.parse_qsl(url.query))
        self.requests.append((url.path, given, self.headers.get("Authorization")))
        base = f"http://127.0.0.1:{self.server.server_port}"
        if url.path.startswith("/preview"):
            self.send(200, b"sound")
        elif self.headers.get("Authorization") != "Token secret":
            self.send(401, b'{"detail": "Invalid token."}')
        else:
            page = int(given.get("page", 1))
            results = [
                {
                    "id": number,
                    "name": "waves",
                    "geotag": f"47.{number} 9.5",
                    "license": "http://creativecommons.org/publicdomain/zero/1.0/",
                    "username": "ada",
                    "url": f"{base}/s/{number}/",
                    "duration": 12.0,
                    "previews": {"preview-hq-ogg": f"{base}/preview/{number}.ogg"},
                }
                for number in (2 * page - 1, 2 * page)
            ]
            following = f"{base}/search/text/?page={page + 1}" if page < 2 else None
            text = {"count": 4, "next": following, "results": results}
            self.send(200, json.dumps(text).encode())

    def send(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def api():
    _Handler.requests.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_pages_are_followed_up_to_the_limit(api):
    found = list(
        find_recordings("waves", api=api, key="secret", bounds=(9, 47, 10, 48), limit=3)
    )
    assert [sound["id"] for sound in found] == [1, 2, 3]
    path, given, key = _Handler.requests[0]
    assert (path, key) == ("/search/text/", "Token secret")
    assert given["query"] == "waves"
    assert "is_geotagged:1" in given["filter"]
    assert 'Intersects(9.000000 47.000000 10.000000 48.000000)"' in given["filter"]
    west_of_fiji = (179.5, -18.0, 181.0, -16.0)
    next(find_recordings("", api=api, key="secret", bounds=west_of_fiji))
    wanted = _Handler.requests[-1][1]["filter"]
    assert 'Intersects(179.500000 -18.000000 -179.000000 -16.000000)"' in wanted
    assert {"geotag", "license", "username", "previews"} <= {
        *given["fields"].split(",")
    }


def test_previews_are_downloaded_once_with_their_table(api, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    table = download_recordings(tmp_path / "f", "waves", api=api)
    found, rejected = read_recordings(table)
    assert [(one.name, one.latitude) for one in found] == [
        (f"freesound-{number}.ogg", float(f"47.{number}")) for number in (1, 2, 3, 4)
    ]
    assert (found[0].author, rejected) == ("ada", ())
    count = len(_Handler.requests)
    download_recordings(tmp_path / "f", "waves", api=api)
    # Two pages again, no preview.
    assert len(_Handler.requests) - count == 2


def test_a_missing_or_refused_key_is_an_error(api, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(ValueError, match=KEY):
        next(find_recordings("waves", api=api))
    with pytest.raises(ValueError, match=r"401.*Invalid token"):
        next(find_recordings("waves", api=api, key="wrong"))
