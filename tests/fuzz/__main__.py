"""Mutates files of every format and checks what their readers answer.

    python -m tests.fuzz [--mutants=10000] [--seed=0] [NAME …]

A reader must return finite numbers, or raise ValueError with the path of the file,
within `SLOWEST_SECONDS` of CPU time and `MOST_MEBIBYTES`. The table has, for every
reader, how many mutants were read and refused, the CPU time of the slowest one, and the
memory of the process. Every reader runs in a process of its own, so that a crash is
reported with its mutant.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from tests.fuzz.fuzz import HEADER, fuzz, report

_MEMORY = pathlib.Path("/dev/shm")


def main() -> int:
    """Prints the table and the failures; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    from tests.fuzz.targets import targets

    known = targets()
    if given.list:
        print("\n".join(known))
        return 0
    if len(given.names) == 1:
        name = given.names[0]
        # A small file on a disk costs more time than its reader.
        with tempfile.TemporaryDirectory(
            dir=_MEMORY if _MEMORY.is_dir() else None
        ) as folder:
            found = fuzz(
                name, known[name](), given.mutants, given.seed, pathlib.Path(folder)
            )
        print(report(found))
        return int(bool(found.failures))
    print(HEADER, flush=True)
    status = 0
    for name in given.names or known:
        options = [f"--mutants={given.mutants}", f"--seed={given.seed}"]
        command = [sys.executable, "-m", "tests.fuzz", name, *options]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        print(ended.stdout.strip(), flush=True)
        if ended.returncode:
            status = 1
        if ended.returncode not in (0, 1):
            lines = ended.stderr.splitlines()[-12:]
            print(f"{name}: status {ended.returncode}", *lines, sep="\n    ")
    return status


if __name__ == "__main__":
    sys.exit(main())
