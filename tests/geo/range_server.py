"""A server of a folder that answers requests of parts of files, as object stores do."""

import functools
import http.server
import pathlib
import sys


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves parts of files, as object stores do."""

    def do_GET(self):
        contents = pathlib.Path(self.translate_path(self.path)).read_bytes()
        first, last = 0, len(contents) - 1
        part = self.headers.get("Range")
        if part:
            start, _, end = part.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        self.send_response(206 if part else 200)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(contents)}")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(contents[first : last + 1])

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    handler = functools.partial(RangeHandler, directory=sys.argv[1])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
