"""Brings your own images and recordings into ADVANCE's layout.

    python -m advance_tf.prepare --image_dir=IMAGES --sound_dir=SOUNDS --data_dir=OUT
    python -m advance_tf.prepare ... --clip_seconds=10 --rate_hz=22050  # as ADVANCE

Reads IMAGES/<scene>/<stem>.jpg (.png, .bmp, .webp) and SOUNDS/<scene>/<stem>.*
(FLAC, OGG, Opus, MP3, AIFF, CAF, WAV, ...); a stem begins with the five digits
of its site. Images are copied, sounds become mono 16-bit WAV. Recordings under
--min_seconds are dropped, as in ADVANCE. Run again to go on or to take up
changes; a bad file is named at the end, and the exit status is then 1.
"""

import sys

from absl import flags

from advance_tf import program
from advance_tf.data import layout, prepare
from advance_tf.data.recording import ClipRule

_IMAGE_DIR = flags.DEFINE_string(
    "image_dir", None, "Folder <scene>/<stem>.* of images."
)
_SOUND_DIR = flags.DEFINE_string(
    "sound_dir", None, "Folder <scene>/<stem>.* of sounds."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder to write; new, or resumed.")
_RATE_HZ = flags.DEFINE_integer(
    "rate_hz", 0, "Resample to this rate in Hz; 0: each recording keeps its own."
)
_MIN_SECONDS = flags.DEFINE_float(
    "min_seconds", 2.0, "Drop shorter recordings, as ADVANCE did; 0: drop none."
)
_CLIP_SECONDS = flags.DEFINE_float(
    "clip_seconds",
    0.0,
    "Cut out a random piece of this length, shorter recordings repeated; ADVANCE: "
    "10. 0: keep whole recordings, which are cut when they are read.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the random cut.")
_ALLOW_MISSING = flags.DEFINE_bool(
    "allow_missing", False, "Leave out unpaired or empty files, with a count."
)
_NAMED_AT_MOST = 50


def _print(summary: prepare.Summary) -> None:
    for outcome in (
        prepare.WRITTEN,
        prepare.UP_TO_DATE,
        prepare.TOO_SHORT,
        prepare.BAD,
    ):
        print(f"{outcome + ':':12} {summary.count(outcome):6} pairs")
    if summary.skipped:
        print(f"left out: {layout.describe(summary.skipped)}")
    for why in summary.bad[:_NAMED_AT_MOST]:
        print(f"bad: {why}", file=sys.stderr)
    if len(summary.bad) > _NAMED_AT_MOST:
        print(f"... and {len(summary.bad) - _NAMED_AT_MOST} more", file=sys.stderr)


def main(arguments) -> None:
    """Converts what is new or changed."""
    del arguments
    for folder in (_IMAGE_DIR, _SOUND_DIR, _DATA_DIR):
        if not folder.value:
            raise ValueError(f"--{folder.name} must name a folder; received none.")
    rule = ClipRule(
        _RATE_HZ.value, _MIN_SECONDS.value, _CLIP_SECONDS.value, _SEED.value
    )
    summary = prepare.prepare(
        _IMAGE_DIR.value or "",
        _SOUND_DIR.value or "",
        _DATA_DIR.value or "",
        rule,
        allow_missing=_ALLOW_MISSING.value,
    )
    _print(summary)
    if summary.bad:
        raise ValueError(
            f"{len(summary.bad)} pairs must be repaired or removed; the others are in "
            f"{_DATA_DIR.value}."
        )


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
