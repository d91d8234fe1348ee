"""Brings recordings of named classes into clips that `pretrain` reads.

    python -m advance_tf.prepare_clips --sound_dir=ESC-50/audio \\
        --classes=ESC-50/meta/esc50.csv --data_dir=clips

Writes mono 16-bit WAV and tags.csv. The events of ESC-50's 50 classes are in
assets/esc50_events.csv; for other classes give a map of your own.
"""

import sys

from absl import flags

from advance_tf import program

_SOUND_DIR = flags.DEFINE_string("sound_dir", None, "Folder of the recordings.")
_CLASSES = flags.DEFINE_string("classes", None, "CSV of file and class.")
_CLASS_EVENTS = flags.DEFINE_string(
    "class_events", None, "CSV of class and AudioSet events; default: ESC-50's."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder to write.")


def main(arguments) -> None:
    """Writes clips and tags."""
    del arguments
    from advance_tf.data import clips

    if not (_SOUND_DIR.value and _CLASSES.value and _DATA_DIR.value):
        raise ValueError("--sound_dir, --classes and --data_dir must all be given.")
    recordings = clips.read_classes(_CLASSES.value)
    bad = clips.prepare_clips(
        recordings,
        _SOUND_DIR.value,
        clips.read_class_events(_CLASS_EVENTS.value),
        _DATA_DIR.value,
    )
    print(f"{len(recordings) - len(bad)} clips and {clips.TAGS} in {_DATA_DIR.value}.")
    for name, problem in bad.items():
        print(f"{name}: {problem}", file=sys.stderr)
    if bad:
        raise ValueError(f"{len(bad)} of {len(recordings)} recordings cannot be read.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
