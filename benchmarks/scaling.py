"""Time and peak memory of each command's work against the number of pairs.

    python -m benchmarks.scaling --source=DATA --sizes=1000,10000

The data sets consist of hard links to the pairs of DATA, with distinct stems and five
or more pairs a site. Each step runs in a process of its own, whose peak resident
memory is reported, in total and above that after the imports. The recognizer and the
clips are small, so that the work of the library is measured rather than that of the
networks. At most --decoded pairs are decoded in a step:

- manifest: scan, split, audit, hash and write; then read and audit.
- teach: all other pairs are in the chunks of an interrupted computation.
- cache: all other pairs are in the cache already; "cache, filled" reads none.
- fit: until the end of the first training step, with the event loss.
- evaluate: the inputs of the decoded pairs are repeated; the recognizer, the scores
  and the written report cover all pairs.
- predict: lists all pairs, and predicts the first ones.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

MANIFEST_STEPS = ("manifest, write", "manifest, read")
STEPS = (
    *MANIFEST_STEPS,
    "teach",
    "cache",
    "cache, filled",
    "fit, files",
    "fit, cache",
    "evaluate",
    "predict",
)
MIN_PAIRS_PER_SITE = 5
MAX_SITES = 100_000
HEADER = (
    "step",
    "pairs",
    "decoded",
    "seconds",
    "CPU s",
    "ms/pair",
    "peak MiB",
    "above imports MiB",
)


def link_pairs(source, folder, count, per_site=MIN_PAIRS_PER_SITE):
    """Creates a data set of `count` pairs that are links to those of `source`."""
    scenes = sorted(path.name for path in (source / "vision").iterdir())
    files = {
        scene: [
            sorted((source / kind / scene).iterdir()) for kind in ("vision", "sound")
        ]
        for scene in scenes
    }
    per_site = max(per_site, -(-count // MAX_SITES))
    for scene in scenes:
        for kind in ("vision", "sound"):
            (folder / kind / scene).mkdir(parents=True)
    for number in range(count):
        site, shift = divmod(number, per_site)
        scene = scenes[site % len(scenes)]
        stem = f"{site:05d}" + (f"_{shift}" if shift else "")
        for kind, paths in zip(("vision", "sound"), files[scene], strict=True):
            path = paths[number % len(paths)]
            os.link(path, f"{folder}/{kind}/{scene}/{stem}{path.suffix}")


def copy_source(data_dir, folder):
    """Copies the pairs to the file system of `folder`, so that they can be linked."""
    import shutil

    for kind in ("vision", "sound"):
        shutil.copytree(data_dir / kind, folder / kind)
    return folder


def measure(step, folder, decoded):
    """Runs a step in a process of its own; returns its measurements."""
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    command = [sys.executable, "-m", "benchmarks.scaling_steps", f"--step={step}"]
    command += [f"--folder={folder}", f"--decoded={decoded}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{step} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def row(step, count, found):
    """Formats the measurements of a step as a row of the table."""
    decoded = found["decoded"]
    # What is decoded dominates: its share is stated for as many pairs.
    per_pair = 1000 * found["seconds"] / (decoded or count)
    cells = (
        step,
        f"{count:,}",
        f"{decoded:,}" if decoded else "",
        f"{found['seconds']:.1f}",
        f"{found['cpu_seconds']:.1f}",
        f"{per_pair:.3f}",
        f"{found['peak_mib']:.0f}",
        f"{found['peak_mib'] - found['start_mib']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def numbers(text):
    """Parses numbers separated by commas."""
    return [int(float(part)) for part in text.split(",") if part]


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--sizes", default="1000,10000", help="numbers of pairs")
    parser.add_argument(
        "--manifest_sizes", default="", help="numbers of pairs for the manifest alone"
    )
    parser.add_argument("--decoded", type=int, default=500)
    parser.add_argument("--steps", default=";".join(STEPS), help="separated by ;")
    parser.add_argument("--folder", default=None, help="folder for temporary files")
    arguments = parser.parse_args()
    steps = arguments.steps.split(";")
    runs = [(count, steps) for count in numbers(arguments.sizes)]
    runs += [
        (count, [step for step in steps if step in MANIFEST_STEPS])
        for count in numbers(arguments.manifest_sizes)
    ]
    print(f"| {' | '.join(HEADER)} |\n| :-- |{' --: |' * (len(HEADER) - 1)}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        root = pathlib.Path(temporary)
        source = copy_source(arguments.source, root / "source")
        for count, own in runs:
            folder = root / str(count)
            link_pairs(source, folder / "data", count)
            if set(own) - set(MANIFEST_STEPS):
                measure("prepare", folder, arguments.decoded)
            for step in own:
                found = measure(step, folder, arguments.decoded)
                print(row(step, count, found), flush=True)


if __name__ == "__main__":
    main()
