"""Stands for a training: says what it was given, waits for a file, ends.

    python -m tests.studies.child WORKDIR STATUS

A negative status is a signal to itself. It runs no TensorFlow.
"""

import json
import os
import pathlib
import sys
import time


def main() -> None:
    """Writes began.json, waits for ../go, writes `ended`, and ends."""
    workdir, status = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS",)}
    began = workdir / "began.json"
    began.with_suffix(".tmp").write_text(json.dumps(threads))
    began.with_suffix(".tmp").replace(began)
    print("about to end", flush=True)
    while not (workdir.parent / "go").exists():
        time.sleep(0.02)
    (workdir / "ended").write_text("")
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
