"""Latency of a served SavedModel, with and without batching, under requests at once.

    python -m benchmarks.serving
    python -m benchmarks.serving --export_dir=models/advance/1 --data_dir=ADVANCE

A server process runs the signatures of the export behind gRPC, and threads of this
process request them with the client of `export/tf_serving`, one pair a request. Every
tenth pair has a damaged file, whose row must have its own status; the other rows must
have the probabilities of the first configuration. Without --export_dir an untrained
model is exported; without --data_dir pairs are made as in `benchmarks.input_pipeline`.

Batching is that of `export/tf_serving/batching.config`, by TensorFlow's operator
BatchFunction (see `benchmarks.serving_server`), and variants of its timeout. The
figures of a configuration are those of its round with the highest rate.
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from advance_tf.memory import ENVIRONMENT
from benchmarks.input_pipeline import create_pairs

KIT = pathlib.Path(__file__).parents[1] / "export" / "tf_serving"
HEADER = (
    *("batching", "clients", "p50 ms", "p95 ms", "p99 ms", "requests/s"),
    *("CPU ms/request", "rows/batch", "failed", "bad rows", "difference"),
)
WARM_UP = 32
BAD_SHARE = 10


def load_client():
    """The module of the kit's client."""
    # The folder that Python searches first when it runs the program.
    sys.path.insert(0, str(KIT))
    spec = importlib.util.spec_from_file_location("client", KIT / "client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_parameters(path):
    """The values of a batching.config, for `tf.nondifferentiable_batch_function`."""
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    found = dict(re.findall(r"(\w+)\s*{\s*value:\s*(\d+)\s*}", text))
    return {name: int(value) for name, value in found.items()}


def read_pairs(data_dir, count):
    """The bytes of at most `count` pairs of a folder in ADVANCE's layout."""
    pairs = []
    for image in itertools.islice(sorted(data_dir.glob("vision/*/*.jpg")), count):
        sound = data_dir / "sound" / image.parent.name / f"{image.stem}.wav"
        both = {"image_bytes": image.read_bytes(), "sound_bytes": sound.read_bytes()}
        pairs.append(both)
    if not pairs:
        raise SystemExit(f"error: {data_dir} has no pairs of .jpg and .wav.")
    return pairs


def damaged(pair, number):
    """The pair with one damaged file; the kinds of damage alternate."""
    image, sound = pair["image_bytes"], pair["sound_bytes"]
    kinds = (
        {"image_bytes": b"not an image"},
        {"sound_bytes": sound[:30]},
        {"image_bytes": image[: len(image) // 2]},
        {"sound_bytes": sound[: len(sound) // 2]},
        {"image_bytes": b""},
    )
    return {**pair, **kinds[number % len(kinds)]}


def make_rows(pairs, count):
    """(row, whether it is bad) of `count` requests, a tenth of which are bad."""
    rows = []
    for number in range(count):
        pair = pairs[number % len(pairs)]
        bad = number % BAD_SHARE == BAD_SHARE - 1
        rows.append((damaged(pair, number // BAD_SHARE) if bad else pair, bad))
    return rows


class Server:
    """A server process with one configuration of batching."""

    def __init__(self, folder, parameters):
        command = [sys.executable, "-m", "benchmarks.serving_server"]
        command += [f"--folder={folder}", f"--batching={json.dumps(parameters)}"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT, "TF_CPP_MIN_LOG_LEVEL": "3"},
            text=True,
        )
        self.address = f"127.0.0.1:{int(self._process.stdout.readline())}"

    def exchange(self):
        """Begins or ends a measurement; returns the line of the server."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait(timeout=60)


def request_all(client, address, rows, clients):
    """Sends each row as a request, `clients` at once.

    Returns:
        Seconds of each request, its outputs, or its error, and the seconds of all.
    """
    seconds, answers = np.zeros(len(rows)), [None] * len(rows)
    numbers = itertools.count()
    arguments = client.PARSER.parse_args([f"--grpc={address}"])
    servers = [client.GrpcServer(arguments) for _ in range(clients)]

    def work(server):
        while (number := next(numbers)) < len(rows):
            started = time.perf_counter()
            try:
                (answers[number],) = server.predict(
                    "serving_default", [rows[number][0]]
                )
            except (OSError, ValueError) as error:
                answers[number] = error
            seconds[number] = time.perf_counter() - started

    threads = [threading.Thread(target=work, args=(each,)) for each in servers]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, answers, time.perf_counter() - started


def check(rows, answers, expected):
    """Failed requests, bad rows with a status, and the largest difference."""
    failed, bad_rows, difference = 0, 0, 0.0
    for (_, bad), answer, other in zip(rows, answers, expected, strict=True):
        if isinstance(answer, Exception) or (answer["status"] == "ok") == bad:
            failed += 1
        elif bad:
            bad_rows += 1
        else:
            gap = np.subtract(answer["scene_probs"], other["scene_probs"])
            difference = max(difference, np.abs(gap).max())
    return failed, bad_rows, difference


def configurations(timeouts):
    """Name → parameters; without timeouts that of the kit alone."""
    kit = read_parameters(KIT / "batching.config")
    found = {"none": {}}
    for timeout in timeouts or [kit["batch_timeout_micros"]]:
        name = f"{timeout / 1000:g} ms"
        found[name] = {**kit, "batch_timeout_micros": timeout}
    return found


def measure(client, server, rows, clients, expected):
    """The cells of a row of the table after the clients, by rate; and the answers."""
    server.exchange()
    seconds, answers, total = request_all(client, server.address, rows, clients)
    used = json.loads(server.exchange())
    cells = [f"{1e3 * np.percentile(seconds, p):.1f}" for p in (50, 95, 99)]
    per_batch = used["rows"] / used["batches"] if used["batches"] else 1.0
    failed, bad_rows, difference = check(rows, answers, expected or answers)
    cells += [
        f"{len(rows) / total:.1f}",
        f"{1e3 * used['cpu_seconds'] / len(rows):.1f}",
        f"{per_batch:.1f}",
        f"{failed}",
        f"{bad_rows}",
        f"{difference:.0e}",
    ]
    return len(rows) / total, cells, answers


def print_table(folder, pairs, arguments):
    """Measures every configuration in turns, and prints the best rounds."""
    client = load_client()
    rows = make_rows(pairs, arguments.requests)
    clients = [int(count) for count in arguments.clients.split(",")]
    timeouts = [int(t) for t in arguments.timeouts.split(",") if t]
    best, expected = {}, None
    with contextlib.ExitStack() as stack:
        servers = {}
        for name, parameters in configurations(timeouts).items():
            servers[name] = Server(folder, parameters)
            stack.callback(servers[name].close)
            request_all(client, servers[name].address, rows[:WARM_UP], max(clients))
        for _ in range(arguments.rounds):
            for name, count in itertools.product(servers, clients):
                found = measure(client, servers[name], rows, count, expected)
                expected = expected or found[2]
                if best.get((name, count), (0,))[0] < found[0]:
                    best[name, count] = found[:2]
    print(f"| {' | '.join(HEADER)} |\n| :-- |{' --: |' * (len(HEADER) - 1)}")
    for name, count in itertools.product(servers, clients):
        print(f"| {' | '.join([name, str(count), *best[name, count][1]])} |")


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--export_dir", type=pathlib.Path, help="the folder of a version"
    )
    parser.add_argument("--towers", choices=("small", "full"), default="small")
    parser.add_argument("--data_dir", type=pathlib.Path)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", default="1,8")
    parser.add_argument("--timeouts", default="", help="µs, separated by commas")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        folder = arguments.export_dir
        if folder is None:
            command = [sys.executable, "-m", "benchmarks.serving_server"]
            command += [f"--folder={root}", f"--write={arguments.towers}"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            folder = done.stdout.splitlines()[-1]
        data_dir = arguments.data_dir
        if data_dir is None:
            data_dir = root / "pairs"
            create_pairs(data_dir, 16)
        print_table(folder, read_pairs(data_dir, 200), arguments)


if __name__ == "__main__":
    main()
