"""Converts your own images and recordings to ADVANCE's layout.

    advance prepare --image_dir=IMAGES --sound_dir=SOUNDS --data_dir=OUT
    advance prepare … --clip_seconds=10 --rate_hz=22050      # like ADVANCE
    advance prepare --format=shards --source_dir=ADVANCE --data_dir=SHARDS

Reads IMAGES/<scene>/<stem>.jpg (.png, .bmp, .webp, .tif, .jp2, .gif) and
SOUNDS/<scene>/<stem>.* (FLAC, OGG, Opus, MP3, AIFF, CAF, WAV, …); a stem begins with
the five digits of its site. Images are copied; TIFF, GeoTIFF, JPEG 2000 and GIF become
PNG (first three bands, values of more than 8 bits stretched between their 2nd and 98th
percentile; needs the extra geo). Sounds become mono 16-bit WAV. Recordings shorter
than --min_seconds are dropped, as in ADVANCE. A second run processes new and changed
files only. Files that cannot be read are listed at the end, with exit status 1. Pairs
whose sources are gone are listed too; --remove_stale removes them.

With --format=shards the pairs of --source_dir, a folder in ADVANCE's layout, are
packed into TFRecord files with an index. Every command reads them as --data_dir. With
--shard=i/n n processes share the files; the last one writes the index.
"""

import sys
from typing import TYPE_CHECKING

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli.flags import define_shard, refuse, require
from advance_tf.cli.messages import translate
from advance_tf.parts import Shard

if TYPE_CHECKING:
    from advance_tf.data.prepare import Summary

_SHOWN_AT_MOST = 50
# Format → the flags that have an effect with it alone.
_OPTIONS = {
    "folder": (
        *("image_dir", "sound_dir", "rate_hz", "min_seconds", "clip_seconds", "seed"),
        *("allow_truncated", "remove_stale"),
    ),
    "shards": ("source_dir", "shard", "pairs_per_file"),
}


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    for name, help in (
        ("image_dir", "Folder <scene>/<stem>.* of images."),
        ("sound_dir", "Folder <scene>/<stem>.* of sounds."),
        ("source_dir", "Folder of --format=shards to pack."),
        ("data_dir", "Folder to write; new, or of an earlier run to resume."),
    ):
        flags.DEFINE_string(name, None, help, flag_values=values)
    flags.DEFINE_enum(
        "format",
        "folder",
        tuple(_OPTIONS),
        "What to write: a folder of files, or shards of pairs.",
        flag_values=values,
    )
    flags.DEFINE_integer("pairs_per_file", 512, "Pairs in a shard.", 1, None, values)
    define_shard(values)
    flags.DEFINE_integer(
        "rate_hz",
        0,
        "Resample to this rate in Hz; 0: each recording keeps its own.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "min_seconds",
        2.0,
        "Drop shorter recordings, as in ADVANCE; in seconds, 0: drop none.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "clip_seconds",
        0.0,
        "Cut a random clip of this length in seconds and repeat shorter recordings; "
        "ADVANCE: 10. 0: keep the recordings, which are cut when they are read.",
        flag_values=values,
    )
    flags.DEFINE_integer("seed", 0, "Seed of the random cut.", flag_values=values)
    for name, help in (
        ("allow_missing", "Skip and count unpaired or empty files."),
        (
            "allow_truncated",
            "Convert and count recordings that end before their header states.",
        ),
        (
            "remove_stale",
            "Remove files of --data_dir whose source pair is gone, which are listed "
            "otherwise.",
        ),
    ):
        flags.DEFINE_bool(name, False, help, flag_values=values)


def run(values: FlagValues) -> None:
    """Converts the new and the changed files."""
    from advance_tf.data import prepare
    from advance_tf.data.recordings import ClipRule

    for format, options in _OPTIONS.items():
        if format != values.format:
            refuse(values, options, f"must be used with --format={format}")
    if values.format == "shards":
        _write_shards(values)
        return
    require(values, image_dir="a folder", sound_dir="a folder", data_dir="a folder")
    rule = ClipRule(
        values.rate_hz, values.min_seconds, values.clip_seconds, values.seed
    )
    summary = prepare.prepare_dataset(
        values.image_dir,
        values.sound_dir,
        values.data_dir,
        rule,
        allow_missing=values.allow_missing,
        allow_truncated=values.allow_truncated,
        remove_stale=values.remove_stale,
    )
    _print(summary, values)
    if summary.bad:
        raise ValueError(
            f"{len(summary.bad)} pairs must be repaired or removed; the others are in "
            f"{values.data_dir}."
        )


def _write_shards(values: FlagValues) -> None:
    """Packs --source_dir into shards."""
    require(values, source_dir="a folder in ADVANCE's layout", data_dir="a folder")
    shard = Shard.of(values.shard) if values.shard else None

    from advance_tf.data import layout, shards

    found = layout.scan(values.source_dir, allow_missing=values.allow_missing)
    if found.skipped:
        print(f"left out: {layout.describe(found.skipped)}")
    missing = shards.write_shards(
        values.source_dir,
        found.pairs,
        values.data_dir,
        shard=shard,
        pairs_per_file=values.pairs_per_file,
    )
    if missing:
        print(f"{missing} files of other processes are missing. The last one ends it.")
    else:
        print(f"{len(found.pairs)} pairs are in the shards of {values.data_dir}.")


def _print(summary: "Summary", values: FlagValues) -> None:
    print(summary.to_text())
    if summary.stale and not summary.removed:
        print("They are still pairs of the data set. Remove them with --remove_stale.")
    for problem in summary.bad[:_SHOWN_AT_MOST]:
        print(f"bad: {translate(problem, values)}", file=sys.stderr)
    if len(summary.bad) > _SHOWN_AT_MOST:
        print(f"... and {len(summary.bad) - _SHOWN_AT_MOST} more", file=sys.stderr)
