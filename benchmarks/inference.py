"""Milliseconds per pair of the full recognizer on the CPU, in several runtimes.

    python -m benchmarks.inference --batch_sizes=1,8 --repeats=5

ResNet-101 on [256, 256, 3], ResNet-50 on [400, 64] and a scene head, with the same
float32 weights in every runtime. Each runtime has a process of its own. The processes
take turns, `--repeats` times `--calls` calls, and the fastest calls are compared: other
load on the machine can only slow a call down. The CPU time of a call, of all threads,
depends less on other load. ONNX Runtime and OpenVINO read an ONNX file exported from
the same model in PyTorch and fold its batch norms themselves. A runtime needs up to 4
GB of memory: the default measures six of them, `--runtimes=all` needs 50 GB.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.inference_runtimes import COMPARED, RUNTIMES, example, load, prepare

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


def serve(name, folder):
    """Answers requests: one JSON line on stdin, one JSON line on stdout each."""
    # Libraries print to stdout too; their output goes to stderr instead.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bind = load(name, folder)
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
                started = time.perf_counter(), time.process_time()
                recognizers[batch]()
                ended = time.perf_counter(), time.process_time()
                answer.append(
                    [1e3 * (b - a) / batch for a, b in zip(started, ended, strict=True)]
                )
        print(json.dumps(answer), file=answers, flush=True)


def start(name, folder):
    """Starts the process of a runtime, which waits for requests."""
    command = [sys.executable, "-m", "benchmarks.inference"]
    return subprocess.Popen(
        [*command, f"--runtime={name}", f"--folder={folder}"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **RUNTIMES[name][0]},
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
            f"Every runtime must answer; {process.args} ended with {process.wait()} "
            "(-9: out of memory; measure fewer `--runtimes` at a time)."
        )
    return json.loads(line)


def measure(processes, batch, repeats, calls):
    """Returns milliseconds per pair (wall, CPU) of every call, and the logits."""
    logits = {name: np.array(request(p, batch, 0)) for name, p in processes.items()}
    times = {name: [] for name in processes}
    for _ in range(repeats):
        for name, process in processes.items():
            times[name] += request(process, batch, calls)
    return times, logits


def print_table(batch, times, logits):
    """Prints the results of one batch size."""
    peer, peer_cpu = np.min(times[PEER], axis=0)
    scale = np.abs(logits[PEER]).max()
    print(f"\nBatch {batch}; logits up to {scale:.3g}\n")
    print("| runtime | ms/pair | median | ratio | CPU ms/pair | ratio | difference |")
    print("| :-- | --: | --: | --: | --: | --: | --: |")
    for name, found in times.items():
        (best, cpu_time), median = np.min(found, axis=0), np.median(found, axis=0)[0]
        difference = np.abs(logits[name] - logits[PEER]).max()
        print(
            f"| {name} | {best:.1f} | {median:.1f} | {best / peer:.2f}× | "
            f"{cpu_time:.1f} | {cpu_time / peer_cpu:.2f}× | {difference:.1e} |",
            flush=True,
        )


def main():
    """Prints a table for every batch size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch_sizes", default="1,8")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument(
        "--runtimes", default=";".join(COMPARED), help="Separated by ';'; 'all'."
    )
    parser.add_argument("--folder", help="Folder of the models; default: a new one.")
    parser.add_argument("--runtime", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.runtime:
        serve(arguments.runtime, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.folder or temporary)
        if not (folder / "pair.onnx").exists():
            prepare(folder)
        every = arguments.runtimes == "all"
        chosen = RUNTIMES if every else arguments.runtimes.split(";")
        names = list(dict.fromkeys([PEER, *chosen]))
        processes = {name: start(name, folder) for name in names}
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
