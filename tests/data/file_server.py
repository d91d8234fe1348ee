"""A local server of files that drops connections."""

import contextlib
import http.server
import re
import threading


class FileServer:
    """The files of a test server, its failures, and the requests it received."""

    def __init__(self):
        self.contents: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.statuses: list[int] = []  # of the first requests
        self.drop_after: list[int] = []  # bytes sent before the connection is closed
        self.supports_range = True


def create_handler(files):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            """Logs nothing."""

        def do_GET(self):
            files.ranges.append(self.headers.get("Range"))
            contents = files.contents.get(self.path)
            status = files.statuses.pop(0) if files.statuses else 200
            if contents is None or status != 200:
                self.send_error(404 if contents is None else status)
                return
            begin = 0
            requested = re.match(r"bytes=(\d+)-$", self.headers.get("Range") or "")
            if requested and files.supports_range:
                begin = int(requested.group(1))
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
            if files.drop_after:
                rest = rest[: files.drop_after.pop(0)]
                self.close_connection = True
            self.wfile.write(rest)

    return Handler


@contextlib.contextmanager
def serving():
    """Runs a server; yields its files, whose `url` is its address."""
    files = FileServer()
    http_server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), create_handler(files)
    )
    thread = threading.Thread(
        target=http_server.serve_forever, args=(0.01,), daemon=True
    )
    thread.start()
    files.url = f"http://127.0.0.1:{http_server.server_port}"
    yield files
    http_server.shutdown()
    http_server.server_close()
    thread.join()
