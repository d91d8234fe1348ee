"""A stub of `advance fit`, without TensorFlow, for tests of the scheduler.

    python -m tests.experiments.stub_training WORKDIR STATUS

A negative status is a signal that the process sends to itself.
"""

import json
import os
import pathlib
import sys
import time


def main() -> None:
    """Writes started.json, waits for ../continue, writes `ended` and exits."""
    workdir, status = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS",)}
    started = workdir / "started.json"
    started.with_suffix(".tmp").write_text(json.dumps(threads))
    started.with_suffix(".tmp").replace(started)
    print("about to end", flush=True)
    while not (workdir.parent / "continue").exists():
        time.sleep(0.02)
    (workdir / "ended").write_text("")
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
