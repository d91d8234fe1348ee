"""Milliseconds per pair of the full recognizer on the CPU, in several runtimes.

    python -m benchmarks.inference --batch_sizes=1,8 --repeats=5

ResNet-101 on [256, 256, 3], ResNet-50 on [400, 64] and a scene head, with the same
float32 weights in every runtime ("way"). Each way runs in a process of its own. The
processes take turns, `--repeats` times `--calls` calls, and the fastest calls are
compared: other load on the machine can only slow a call down. ONNX Runtime and
OpenVINO read an ONNX file exported from the same model in PyTorch and fold its batch
norms themselves. A way needs up to 4 GB of memory; use `--ways` and `--folder` to
measure a few at a time.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.inference_ways import WAYS, example, load, prepare

PEER = "ONNX Runtime"
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")


def cpu():
    """Describes the CPU: model, cores and instruction sets used by convolutions."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    supported = [name for name in FEATURES if name in fields.get("flags", "").split()]
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()
    return f"{fields.get('model name', 'CPU')}, {cores} cores, {' '.join(supported)}"


def serve(way, folder):
    """Answers requests: one JSON line on stdin, one JSON line on stdout each."""
    # Libraries print to stdout too; their output goes to stderr instead.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bind = load(way, folder)
    recognizers = {}
    for line in sys.stdin:
        batch, calls = json.loads(line)
        if batch not in recognizers:
            recognizers[batch] = bind(example(batch))
            for _ in range(2):
                logits = recognizers[batch]()
            answer = np.asarray(logits).tolist()
        else:
            answer = []
            for _ in range(calls):
                started = time.perf_counter()
                recognizers[batch]()
                answer.append(1e3 * (time.perf_counter() - started) / batch)
        print(json.dumps(answer), file=answers, flush=True)


def start(way, folder):
    """Starts the process of a way, which waits for requests."""
    command = [sys.executable, "-m", "benchmarks.inference"]
    return subprocess.Popen(
        [*command, f"--way={way}", f"--folder={folder}"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **WAYS[way][0]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def request(process, batch, calls):
    """Sends a request to a process and returns its answer."""
    line = ""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps([batch, calls]) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    if not line:
        raise RuntimeError(
            f"Every way must answer; {process.args} ended with {process.wait()} "
            "(-9: out of memory; measure fewer `--ways` at a time)."
        )
    return json.loads(line)


def measure(processes, batch, repeats, calls):
    """Returns milliseconds per pair of every call, and the logits, of each way."""
    logits = {way: np.array(request(p, batch, 0)) for way, p in processes.items()}
    times = {way: [] for way in processes}
    for _ in range(repeats):
        for way, process in processes.items():
            times[way] += request(process, batch, calls)
    return times, logits


def print_table(batch, times, logits):
    """Prints the results of one batch size."""
    peer = min(times[PEER])
    scale = np.abs(logits[PEER]).max()
    print(f"\nBatch {batch}; logits up to {scale:.3g}\n")
    print("| way | ms/pair, fastest | median | ratio | max abs difference |")
    print("| :-- | --: | --: | --: | --: |")
    for way, found in times.items():
        best, median = min(found), statistics.median(found)
        difference = np.abs(logits[way] - logits[PEER]).max()
        print(
            f"| {way} | {best:.1f} | {median:.1f} | {best / peer:.2f}× | "
            f"{difference:.1e} |",
            flush=True,
        )


def main():
    """Prints a table for every batch size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch_sizes", default="1,8")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--ways", default=";".join(WAYS))
    parser.add_argument("--folder", help="Folder of the models; default: a new one.")
    parser.add_argument("--way", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        serve(arguments.way, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.folder or temporary)
        if not (folder / "pair.onnx").exists():
            prepare(folder)
        ways = list(dict.fromkeys([PEER, *arguments.ways.split(";")]))
        processes = {way: start(way, folder) for way in ways}
        try:
            print(cpu())
            for batch in map(int, arguments.batch_sizes.split(",")):
                found = measure(processes, batch, arguments.repeats, arguments.calls)
                print_table(batch, *found)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
