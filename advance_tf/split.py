"""Splits a data set and writes the manifest that the other programs read.

    python -m advance_tf.split --data_dir=ADVANCE --workdir=runs/a
    python -m advance_tf.split --data_dir=ADVANCE --manifest=splits/0.csv --split_seed=0

Prints the numbers of pairs and sites of every scene. Unpaired and empty files,
unknown scenes and stems in two scenes are refused by name, or left out with
--allow_missing. A manifest that differs from the one there is never replaced.
"""

import pathlib

from absl import flags

from advance_tf import config_flags, program
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.data.splits import SPLITS

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; gets manifest.csv.")
_MANIFEST = flags.DEFINE_string(
    "manifest", None, "File to write; default: <workdir>/manifest.csv."
)
config_flags.define("data")


def _target() -> pathlib.Path:
    if _MANIFEST.value:
        return pathlib.Path(_MANIFEST.value)
    if not _WORKDIR.value:
        raise ValueError(
            "--manifest or --workdir must say where to write; received neither."
        )
    return pathlib.Path(_WORKDIR.value) / "manifest.csv"


def _counts(manifest: Manifest) -> str:
    """A table of "pairs (sites)" by scene and split."""
    rows: dict[str, list] = {}
    for pair, split in zip(manifest.pairs, manifest.splits, strict=True):
        for scene in (pair.scene, "all"):
            cells = rows.setdefault(scene, [[0, set()] for _ in SPLITS])
            cell = cells[SPLITS.index(split)]
            cell[0] += 1
            cell[1].add(pair.site)
    lines = [f"{'pairs (sites)':20}" + "".join(f"{split:>16}" for split in SPLITS)]
    for scene in sorted(rows, key=lambda name: (name == "all", name)):
        cells = [f"{pairs} ({len(sites)})" for pairs, sites in rows[scene]]
        lines.append(f"{scene:20}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def main(arguments) -> None:
    """Writes the manifest of --data_dir."""
    del arguments
    path = _target()
    config = config_flags.read().data
    if not config.data_dir:
        raise ValueError(
            "--data_dir must name a folder in ADVANCE's layout; received none."
        )
    manifest = make_manifest(config)
    if path.exists() and Manifest.load(path).sha256 != manifest.sha256:
        raise ValueError(
            f"{path} must be new; it holds another split. Remove it or write to "
            "another --manifest."
        )
    manifest.save(path)
    print(_counts(manifest))
    print(f"Wrote {path} (sha256 {manifest.sha256[:16]}).")
    if manifest.label:
        print(f"This split is {manifest.label}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
