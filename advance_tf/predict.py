"""Predicts the scene, and the events, of images and sounds.

    python -m advance_tf.predict --workdir=runs/a --image=a.jpg --sound=a.wav
    python -m advance_tf.predict --workdir=runs/a --image=a.jpg
    python -m advance_tf.predict --workdir=runs/a --data_dir=folder --json

A folder holds images and sounds, paired by stem, side by side or in ADVANCE's
layout. With --json each line is one JSON object. A file that cannot be read is
named on stderr, the others are predicted, and the exit status is 1.
"""

import pathlib
import sys

from absl import flags

from advance_tf import program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_IMAGE = flags.DEFINE_string("image", None, "Image file: JPEG, PNG, BMP or WebP.")
_SOUND = flags.DEFINE_string("sound", None, "Sound file: WAV.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of images and sounds.")
_TOP = flags.DEFINE_integer("top", 5, "Scenes and events to name.", 1)
_EVENTS = flags.DEFINE_bool("events", True, "Name events, where the model tells them.")
_JSON = flags.DEFINE_bool("json", False, "One JSON object a line, for machines.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Examples in a batch.", 1)


def _examples():
    """Examples and failures of the flags."""
    from advance_tf.serving.examples import Example, find_examples

    files = [name and pathlib.Path(name) for name in (_IMAGE.value, _SOUND.value)]
    if bool(_DATA_DIR.value) == any(files):
        raise ValueError(
            "Give either --data_dir or --image, --sound or both; received "
            f"{'all of them' if _DATA_DIR.value else 'none'}."
        )
    if _DATA_DIR.value:
        return find_examples(_DATA_DIR.value)
    name = next(path for path in files if path).stem
    return (Example(name, *(path or None for path in files)),), ()


def main(arguments) -> None:
    """Predicts the files of --image and --sound, or of --data_dir."""
    del arguments
    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of a run; received none.")
    examples, failures = _examples()

    from advance_tf.serving.examples import Failure
    from advance_tf.serving.prediction import json_line, text
    from advance_tf.serving.predictor import Predictor
    from advance_tf.studies.taught import load_taught_run

    taught = load_taught_run(_WORKDIR.value)
    run = taught.run
    predictor = Predictor(
        run.recognizer,
        run.config.features,
        modality=run.config.model.modality,
        knowledge=taught.knowledge,
    )
    if run.label and not _JSON.value:
        print(f"*** model trained on {run.label} ***")
    failed = list(failures)
    results = predictor.predict(
        examples, top=_TOP.value, events=_EVENTS.value, batch_size=_BATCH_SIZE.value
    )
    for result in results:
        if isinstance(result, Failure):
            failed.append(result)
        else:
            shown = json_line(result, run.label) if _JSON.value else text(result)
            print(shown, flush=True)
    for failure in failed:
        print(f"error: {failure.message}", file=sys.stderr)
    if failed:
        sys.exit(1)


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
