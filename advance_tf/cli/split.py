"""Splits a data set and writes the manifest for the other commands.

    advance split --data_dir=ADVANCE --workdir=runs/a
    advance split --data_dir=ADVANCE --manifest=splits/0.csv --split_seed=0

Prints the numbers of pairs and sites of every scene. Unpaired and empty files,
unknown scenes and stems in two scenes are errors, or are skipped with
--allow_missing. An existing manifest is never replaced by a different one.
"""

import pathlib
import sys

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli.flags import (
    define_config,
    define_workdir,
    read_config,
    refuse_cache,
    require,
)
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.data.splits import SPLITS


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values, "Folder of the run; manifest.csv is written to it.")
    flags.DEFINE_string(
        "manifest",
        None,
        "File to write, instead of manifest.csv of --workdir.",
        flag_values=values,
    )
    define_config(values, "data")


def run(values: FlagValues) -> None:
    """Writes the manifest of --data_dir."""
    refuse_cache(values, "split")
    if bool(values.manifest) == bool(values.workdir):
        raise ValueError(
            "Either --manifest or --workdir must name where to write; received "
            f"{'both' if values.manifest else 'neither'}. Give one of them."
        )
    require(values, data_dir="a folder in ADVANCE's layout")
    path = pathlib.Path(values.manifest or pathlib.Path(values.workdir, "manifest.csv"))
    manifest = make_manifest(read_config(values).data)
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
    for warning in manifest.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _counts(manifest: Manifest) -> str:
    """A table of the numbers of pairs and sites by scene and split."""
    sites: dict[tuple[str, str], list[str]] = {}
    for pair, split in zip(manifest.pairs, manifest.splits, strict=True):
        for scene in (pair.scene, "all"):
            sites.setdefault((scene, split), []).append(pair.site)
    scenes = sorted({scene for scene, _ in sites} - {"all"})
    lines = [f"{'pairs (sites)':20}" + "".join(f"{split:>16}" for split in SPLITS)]
    for scene in (*scenes, "all"):
        found = [sites.get((scene, split), []) for split in SPLITS]
        cells = [f"{len(every)} ({len(set(every))})" for every in found]
        lines.append(f"{scene:20}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)
