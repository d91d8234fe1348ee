"""The client of TF Serving: errors are one line, and one batch fails alone."""

import contextlib
import http.server
import json
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from tests.export.edge_programs import CLIENT, client_module

ROW = {
    "status": "ok",
    "top_scene_names": ["lake"],
    "top_scene_probs": [0.75],
}


@pytest.fixture(scope="module")
def client():
    """The module of the client."""
    return client_module("client")


@pytest.fixture
def run(client, monkeypatch):
    """A function that runs the program in this process."""

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["client.py", *map(str, flags)])
        return client.main()

    return run


@pytest.fixture
def folder(tmp_path):
    """Two images and a sound."""
    for name in ("1.jpg", "2.wav", "3.jpg"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--rest=http://a", "--top=abc"), "error: argument --top: invalid int value"),
        ((), "error: one of the arguments --rest --grpc is required"),
        (("--wrong", "--rest=http://a"), "error: unrecognized arguments: --wrong"),
    ],
)
def test_wrong_options_are_one_line(run, flags, message):
    with pytest.raises(SystemExit) as raised:
        run(*flags)
    # Python prints a text on standard error, and the exit status is 1.
    assert raised.value.code.startswith(message)
    assert "\n" not in raised.value.code


def test_a_missing_package_is_named(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(SystemExit) as raised:
        run("--rest=http://a", f"--data_dir={folder}")
    assert raised.value.code.startswith("error: import of requests halted")
    assert raised.value.code.endswith("README.md")


@pytest.mark.parametrize("reply", [[1], "text", None, {"other": 1}])
def test_a_reply_of_another_form_is_one_line(run, folder, monkeypatch, reply):
    answer = types.SimpleNamespace(json=lambda: reply)
    fake = types.SimpleNamespace(post=lambda *_, **__: answer)
    monkeypatch.setitem(sys.modules, "requests", fake)
    with pytest.raises(SystemExit) as raised:
        run("--rest=http://a", f"--data_dir={folder}")
    assert raised.value.code == f"error: http://a: replied {reply!r}"


@pytest.mark.parametrize("text", ["key {!r} not found.", "name: {!r} not found in"])
def test_a_missing_signature_fails_its_pairs_alone(
    client, run, folder, monkeypatch, capsys, text
):
    missing = "Serving signature " + text.format("sound_only").replace("'", '"')

    class Server:
        def __init__(self, arguments):
            pass

        def predict(self, signature, rows):
            if signature == "sound_only":
                raise ConnectionError(missing)
            return [ROW for _ in rows]

    monkeypatch.setattr(client, "RestServer", Server)
    assert run("--rest=http://a", f"--data_dir={folder}", "--json") == 1
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["name"] for row in rows] == ["1", "2", "3"]
    assert [row["status"] for row in rows] == ["ok", missing, "ok"]
    assert captured.err == f"error: 2: {missing}\n"


def test_files_that_are_not_read_are_reported(client, run, folder, monkeypatch, capsys):
    (folder / "1.flac").touch()
    server = types.SimpleNamespace(predict=lambda signature, rows: [ROW] * len(rows))
    monkeypatch.setattr(client, "RestServer", lambda arguments: server)
    assert run("--rest=http://a", f"--data_dir={folder}", "--json") == 1
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["status"] for row in rows[:3]] == ["ok"] * 3
    assert captured.err == f"error: 1: {rows[3]['status']}\n"
    assert f"{folder / '1.flac'} must exist and end in one of" in captured.err


@contextlib.contextmanager
def serve(wait_seconds=0.0):
    """A server that returns the same prediction for every request."""
    requested = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            requested.set()
            time.sleep(wait_seconds)
            body = json.dumps({"predictions": [ROW]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", requested
        server.shutdown()


def start(address, folder):
    flags = (f"--rest={address}", f"--data_dir={folder}", "--batch_size=1")
    return subprocess.Popen(
        [sys.executable, CLIENT / "client.py", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test in a background job inherits ignored interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_a_closed_output_ends_the_program(folder):
    with serve() as (address, _), start(address, folder) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_an_interrupt_ends_the_program(folder):
    with serve(60) as (address, requested), start(address, folder) as process:
        assert requested.wait(timeout=60)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 130
