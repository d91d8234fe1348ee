r"""Converts recordings of labelled classes to clips for pretraining.

    advance prepare-clips --sound_dir=ESC-50/audio \
        --classes=ESC-50/meta/esc50.csv --data_dir=clips

Writes mono 16-bit WAV and tags.csv. The AudioSet events of ESC-50's 50 classes are
in assets/esc50_events.csv; --class_events names a file for other classes.
"""

import sys

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli.flags import require
from advance_tf.cli.messages import translate


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    for name, help in (
        ("sound_dir", "Folder of the recordings."),
        ("classes", "CSV of file and class."),
        ("class_events", "CSV of class and AudioSet events; default: ESC-50's."),
        ("data_dir", "Folder to write."),
    ):
        flags.DEFINE_string(name, None, help, flag_values=values)
    flags.DEFINE_bool(
        "allow_truncated",
        False,
        "Convert and count recordings that end before their header states.",
        flag_values=values,
    )


def run(values: FlagValues) -> None:
    """Writes clips and tags."""
    from advance_tf.data import tagged_clips

    require(
        values,
        sound_dir="the folder of the recordings",
        classes="a CSV of file and class",
        data_dir="a folder to write",
    )
    recordings = tagged_clips.read_classes(values.classes)
    bad = tagged_clips.prepare_clips(
        recordings,
        values.sound_dir,
        tagged_clips.read_class_events(values.class_events),
        values.data_dir,
        allow_truncated=values.allow_truncated,
    )
    written = len(recordings) - len(bad)
    print(f"{written} clips and {tagged_clips.TAGS} are in {values.data_dir}.")
    for name, problem in bad.items():
        print(f"{name}: {translate(problem, values)}", file=sys.stderr)
    if bad:
        raise ValueError(
            f"Every recording must be readable; {len(bad)} of {len(recordings)} are "
            f"not. Replace them, or remove them from {values.classes}."
        )
