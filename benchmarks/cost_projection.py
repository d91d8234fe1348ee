r"""The cost of a pair in every stage, and of a million and a billion pairs.

    python -m benchmarks.cost_projection --data_dir=DATA --teacher=yamnet.tflite
    python -m benchmarks.scaling --source=DATA --sizes=10000,100000 > scaling.md
    python -m benchmarks.cost_projection … --scaling_table=scaling.md

Each stage is a command, which is run on data sets of several sizes: hard links to the
pairs of DATA. The cost of a pair is the difference of the largest and the smallest run
by that of their pairs, so that the start of a process and tracing are not part of it.

- prepare: packs the folder into shards, which the other stages read; at --pack_sizes.
- split: scans, splits, audits and writes the manifest; on files of one byte, which it
  does not read, so that --index_sizes can be large.
- teach: soft labels by the teacher.
- fit, cache: fills the cache of decoded pairs, before the first epoch.
- fit, epoch: one epoch of training and validation, without the cache.
- evaluate, predict: all pairs, from the shards.

The memory of a pair is the same difference: of prepare and split at --index_sizes; of
the others between the two largest sizes of the table of `benchmarks.scaling`, which has
small networks and reads a folder. Without that table it is left out.

The second table multiplies: hours are those of --cores cores that share the work;
memory is that of one process with all pairs.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from benchmarks import scaling

TARGETS = (10**6, 10**9)
# Stage → the step of benchmarks.scaling that measures the growth of its memory.
MEMORY_STEPS = {
    "teach": "teach",
    "fit, cache": "cache",
    "fit, epoch": "fit, files",
    "evaluate": "evaluate",
    "predict": "predict",
}
# With one site for every pair, each scene has a pair of validation from here on.
MIN_PAIRS_PER_SCENE = 10
DEPTHS = ("--image_depth=18", "--audio_depth=18")
TINY = (*DEPTHS, "--image_width=2", "--audio_width=2")
# Flags of the towers, and the side of the images.
TOWERS = {
    "full": ((), 256),
    "small": ((*DEPTHS, "--image_width=16", "--audio_width=16"), 96),
}
COMMON = ("--epochs=1", "--batch_size=16", "--strategy=one")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a process used: seconds of all cores, seconds, bytes written, memory."""

    cpu_seconds: float
    seconds: float
    bytes: int
    peak_mib: float


def size_of(path):
    """Bytes of the files below a folder; 0 if it does not exist."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def run(arguments, written, output=os.devnull):
    """Runs `advance` with the arguments, and measures it.

    Args:
        arguments: command and flags.
        written: folder whose growth is what the command writes.
        output: file for its standard output, which counts as written.
    """
    before, started = size_of(written), time.perf_counter()
    with open(output, "wb") as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "advance_tf", *map(str, arguments)],
            env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"),
            stdout=out,
            stderr=errors,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{arguments[0]} failed:\n{errors.read().decode()}")
    more = 0 if output == os.devnull else pathlib.Path(output).stat().st_size
    cost = Cost(
        used.ru_utime + used.ru_stime,
        time.perf_counter() - started,
        size_of(written) - before + more,
        used.ru_maxrss / 1024,
    )
    print(arguments[0], cost, file=sys.stderr, flush=True)
    return cost


class Folder:
    """A data set of one size, and the commands on it.

    Args:
        source: data set whose pairs are linked.
        folder: folder for data, shards, cache and runs.
        count: number of pairs.
        teacher: file of the teacher.
        image_size: side of the images in pixels.
    """

    def __init__(self, source, folder, count, teacher, image_size):
        self._folder, self._teacher = folder, teacher
        self._size = (f"--image_size={image_size}",)
        self._workdir, self._shards = folder / "run", folder / "shards"
        scaling.link_pairs(source, folder / "data", count, per_site=1)

    def prepare(self):
        """Packs the pairs; returns stage → Cost."""
        command = ("prepare", "--format=shards")
        source = f"--source_dir={self._folder / 'data'}"
        given = f"--data_dir={self._shards}"
        return {"prepare": run((*command, source, given), self._shards)}

    def teach(self):
        """Computes soft labels, and writes the manifest; returns stage → Cost."""
        given = f"--data_dir={self._shards}", f"--workdir={self._workdir}"
        command = ("teach", *given, f"--teacher={self._teacher}")
        return {"teach": run(command, self._workdir)}

    def fill_cache(self):
        """Fills the cache; returns stage → Cost."""
        # The second of two runs with tiny towers finds the cache filled.
        cache = self._folder / "cache"
        given = (*TINY, f"--cache_dir={cache}")
        filled, again = (self._fit(name, given, cache) for name in ("fill", "again"))
        cost = dataclasses.replace(
            filled,
            cpu_seconds=filled.cpu_seconds - again.cpu_seconds,
            seconds=filled.seconds - again.seconds,
        )
        return {"fit, cache": cost}

    def compute(self, model):
        """Runs the stages of the network; returns stage → Cost."""
        trained = self._folder / "trained"
        found = {"fit, epoch": self._fit("trained", model, trained)}
        evaluated = ("evaluate", f"--workdir={trained}", "--split=all")
        found["evaluate"] = run(evaluated, trained)
        predicted = ("predict", f"--workdir={trained}", f"--data_dir={self._shards}")
        found["predict"] = run(
            (*predicted, "--json"), trained, self._folder / "predictions.jsonl"
        )
        return found

    def _fit(self, name, model, written):
        given = ("fit", f"--workdir={self._folder / name}", *COMMON, *model)
        given += (f"--data_dir={self._shards}", *self._size)
        given += (f"--manifest={self._workdir / 'manifest.csv'}",)
        given += (f"--knowledge_dir={self._workdir / 'event_knowledge'}",)
        return run(given, written)


def pair_costs(found):
    """Stage → Cost of a pair, from the smallest and the largest size of each stage.

    Args:
        found: number of pairs → stage → Cost.
    """
    costs = {}
    for stage in dict.fromkeys(stage for own in found.values() for stage in own):
        sizes = [size for size in found if stage in found[size]]
        first, last = min(sizes), max(sizes)
        ends = zip(
            dataclasses.astuple(found[first][stage]),
            dataclasses.astuple(found[last][stage]),
            strict=True,
        )
        costs[stage] = Cost(*((more - less) / (last - first) for less, more in ends))
    return costs


def measure_index(source, folder, sizes):
    """Number of pairs → stage → Cost of `prepare` and `split`, which decode nothing.

    The files of the pairs have one byte, so that many pairs can be packed.
    """
    hollow, found = folder / "hollow", {}
    for scene in (path.name for path in (source / "vision").iterdir()):
        for kind, ending in (("vision", "jpg"), ("sound", "wav")):
            (hollow / kind / scene).mkdir(parents=True)
            (hollow / kind / scene / f"00000.{ending}").write_bytes(b"0")
    for count in sizes:
        data, shards = folder / f"index-{count}", folder / f"shards-{count}"
        workdir = folder / f"split-{count}"
        scaling.link_pairs(hollow, data, count)
        pack = ("prepare", "--format=shards", f"--source_dir={data}")
        split = ("split", f"--data_dir={shards}", f"--workdir={workdir}")
        found[count] = {
            "prepare": run((*pack, f"--data_dir={shards}"), shards),
            "split": run(split, workdir),
        }
    return found


def measure_data(source, folder, arguments):
    """Number of pairs → stage → Cost of the stages that read the files."""
    model, image_size = TOWERS[arguments.towers]
    packed, decoded, networks = (
        scaling.numbers(sizes)
        for sizes in (arguments.pack_sizes, arguments.sizes, arguments.network_sizes)
    )
    scenes = len(list((source / "vision").iterdir()))
    if min(decoded + networks) < MIN_PAIRS_PER_SCENE * scenes:
        raise SystemExit(
            f"error: the sizes must be at least {MIN_PAIRS_PER_SCENE * scenes} pairs, "
            f"{MIN_PAIRS_PER_SCENE} for each of {scenes} scenes."
        )
    found = {}
    for count in sorted({*packed, *decoded, *networks}):
        own = folder / f"data-{count}"
        data = Folder(source, own, count, arguments.teacher, image_size)
        found[count] = data.prepare()
        if count in decoded + networks:
            found[count] |= data.teach()
        if count in decoded:
            found[count] |= data.fill_cache()
        if count in networks:
            found[count] |= data.compute(model)
        shutil.rmtree(own)
    return found


def read_memory(table):
    """Stage → bytes of memory of a pair, from a table of `benchmarks.scaling`."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    peaks = {step: {} for step in MEMORY_STEPS.values()}
    for row in rows:
        if row and row[0] in peaks:
            peaks[row[0]][int(row[1].replace(",", ""))] = float(row[6])
    memory = {}
    for stage, step in MEMORY_STEPS.items():
        sizes = sorted(peaks[step])[-2:]
        if len(sizes) == 2:
            first, last = sizes
            growth = (peaks[step][last] - peaks[step][first]) / (last - first)
            memory[stage] = 2**20 * growth
    return memory


def number(value):
    """A number with three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def quantity(value, units, step):
    """A number with the largest unit in which it is at least 1."""
    value = max(value, 0.0)
    for unit in units[:-1]:
        if value < step:
            return f"{number(value)} {unit}"
        value /= step
    return f"{number(value)} {units[-1]}"


def table(header, rows):
    """A table in Markdown."""
    lines = [f"| {' | '.join(header)} |", f"| :-- |{' --: |' * (len(header) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def pair_table(costs, start, memory, gibibytes):
    """The costs of a pair, and the pairs that one process can have in its memory."""
    header = ("stage", "CPU ms/pair", "bytes/pair", "MiB at the start")
    header += ("memory/pair", f"pairs in {gibibytes} GiB")
    rows = []
    for stage, cost in costs.items():
        row = [stage, f"{1e3 * cost.cpu_seconds:.2f}", f"{cost.bytes:,.0f}"]
        row += [f"{start[stage].peak_mib:.0f}", "", ""]
        if memory.get(stage, 0) > 0:
            free = 2**30 * gibibytes - 2**20 * start[stage].peak_mib
            row[-2:] = f"{memory[stage]:,.0f} B", f"{free / memory[stage]:.1e}"
        rows.append(row)
    return table(header, rows)


def projection_table(costs, start, memory, cores):
    """Core hours, hours, bytes and memory of the targets."""
    header = ["stage"]
    for target in TARGETS:
        name = f"1e{len(str(target)) - 1}"
        header += [f"{name}: core h", f"h on {cores} cores", "written", "memory"]
    rows = []
    for stage, cost in costs.items():
        row = [stage]
        for target in TARGETS:
            hours = target * max(cost.cpu_seconds, 0.0) / 3600
            written = quantity(target * cost.bytes, ("B", "kB", "MB", "GB", "TB"), 1000)
            size = ""
            if stage in memory:
                peak = start[stage].peak_mib * 2**20 + target * max(0, memory[stage])
                size = quantity(peak, ("B", "KiB", "MiB", "GiB", "TiB"), 1024)
            row += [number(hours), number(hours / cores), written, size]
        rows.append(row)
    return table(header, rows)


def main():
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", type=pathlib.Path, required=True)
    parser.add_argument("--teacher", type=pathlib.Path, required=True)
    parser.add_argument(
        "--sizes", default="130,520", help="numbers of pairs for teach and the cache"
    )
    parser.add_argument("--pack_sizes", default="130,4000", help="for prepare")
    parser.add_argument(
        "--network_sizes", default="130,260", help="for fit, evaluate and predict"
    )
    parser.add_argument("--index_sizes", default="5000,50000", help="for split")
    parser.add_argument("--towers", choices=TOWERS, default="small")
    parser.add_argument("--scaling_table", type=pathlib.Path, help="for the memory")
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--memory_gib", type=int, default=64, help="of one process")
    parser.add_argument("--folder", default=None, help="folder for temporary files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        root = pathlib.Path(temporary)
        source = scaling.copy_source(arguments.data_dir, root / "source")
        index = measure_index(source, root, scaling.numbers(arguments.index_sizes))
        data = measure_data(source, root, arguments)
    of_index = pair_costs(index)
    memory = {stage: 2**20 * cost.peak_mib for stage, cost in of_index.items()}
    if arguments.scaling_table:
        memory |= read_memory(arguments.scaling_table.read_text().splitlines())
    of_data = pair_costs(data)
    # In the order of the work.
    costs = {"prepare": of_data.pop("prepare"), "split": of_index["split"], **of_data}
    start = dict(index[min(index)])
    for size in sorted(data, reverse=True):
        start |= data[size]
    print(pair_table(costs, start, memory, arguments.memory_gib), end="\n\n")
    print(projection_table(costs, start, memory, arguments.cores))


if __name__ == "__main__":
    main()
