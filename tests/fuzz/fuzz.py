"""Reads mutants of a file and judges the answers."""

import contextlib
import dataclasses
import pathlib
import resource
import time
import traceback
import zlib

import numpy as np

from tests.fuzz.mutations import mutant
from tests.fuzz.seed_files import Target

SLOWEST_SECONDS = 2.0
# Above the memory before the first mutant.
MOST_MEBIBYTES = 600.0
HEADER = """\
| reader | mutants | read | refused | failures | slowest ms | peak MiB | above start |
|---|---|---|---|---|---|---|---|"""


@dataclasses.dataclass
class Found:
    """What the mutants of a reader showed.

    Attributes:
        name: name of the reader.
        mutants: number of mutants.
        valid: files that were read before they were changed.
        read: mutants that were read.
        refused: mutants that a ValueError with their path refused.
        failures: number of a mutant and what is wrong.
        slowest_seconds: CPU time of the slowest mutant.
        peak_mib: largest memory of the process.
        start_mib: largest memory before the first mutant.
    """

    name: str
    mutants: int = 0
    valid: int = 0
    read: int = 0
    refused: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    slowest_seconds: float = 0.0
    peak_mib: float = 0.0
    start_mib: float = 0.0


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def mutant_of(name: str, target: Target, number: int, seed: int) -> bytes:
    """The mutant of a number: the same in every process."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    return mutant(target.seeds[number % len(target.seeds)], rng)


def fuzz(
    name: str, target: Target, mutants: int, seed: int, folder: pathlib.Path
) -> Found:
    """Reads mutants of the valid files of a reader.

    Args:
        name: name of the reader.
        target: the reader.
        mutants: number of mutants.
        seed: seed of the mutants.
        folder: empty folder for the files.

    Returns:
        What they showed.
    """
    path = folder / target.file
    valid = 0
    for contents in target.seeds:
        path.write_bytes(contents)
        # A form that is refused is mutated too.
        with contextlib.suppress(ValueError):
            target.read(path)
            valid += 1
    found = Found(name, mutants, valid, start_mib=_peak_mib())
    for number in range(mutants):
        path.write_bytes(mutant_of(name, target, number, seed))
        # CPU time: the machine may have other work.
        started = time.process_time()
        _judge(found, number, target, path)
        seconds = time.process_time() - started
        if seconds > SLOWEST_SECONDS:
            found.failures.append(f"mutant {number} takes {seconds:.1f} s")
        found.slowest_seconds = max(found.slowest_seconds, seconds)
    found.peak_mib = _peak_mib()
    if found.peak_mib - found.start_mib > MOST_MEBIBYTES:
        found.failures.append(f"the peak is {found.peak_mib:.0f} MiB")
    return found


def _judge(found: Found, number: int, target: Target, path: pathlib.Path) -> None:
    """Reads one mutant and records what is wrong with the answer."""
    try:
        values = target.read(path)
    except ValueError as error:
        found.refused += 1
        if str(path) not in str(error):
            found.failures.append(f"mutant {number}: no path in {error!r}")
    except Exception:
        found.failures.append(f"mutant {number}: {traceback.format_exc(limit=-4)}")
    else:
        found.read += 1
        arrays = values if isinstance(values, list) else [values]
        for array in arrays:
            is_array = isinstance(array, np.ndarray) and array.dtype.kind == "f"
            if is_array and not np.isfinite(array).all():
                found.failures.append(f"mutant {number}: an answer is not finite")


def report(found: Found) -> str:
    """A row of the table, and the failures."""
    above = found.peak_mib - found.start_mib
    row = (
        f"| {found.name} | {found.mutants} | {found.read} | {found.refused} | "
        f"{len(found.failures)} | "
        f"{1000 * found.slowest_seconds:.0f} | {found.peak_mib:.0f} | {above:.0f} |"
    )
    shown = found.failures[:5]
    return "\n".join([row, *(f"    {line}" for line in shown)])
