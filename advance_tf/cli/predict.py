"""Predicts scene and events of image and sound files.

    advance predict --workdir=runs/a --image=a.jpg --sound=a.wav
    advance predict --workdir=runs/a --image=a.jpg
    advance predict --workdir=runs/a --data_dir=folder --json

A folder holds images and sounds, paired by stem, side by side or in ADVANCE's
layout. With --json each line is one JSON object. A file that cannot be read is
reported on standard error, the others are predicted, and the exit status is 1.
--workdir may also be an export: the folder of a SavedModel, or a .tflite or .onnx
file.
"""

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import define_workdir, require
from advance_tf.inference.formats import LITERT, find_model

if TYPE_CHECKING:
    from advance_tf.inference.examples import Example
    from advance_tf.inference.prediction import Prediction


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values, "Folder of the run, or an exported model.")
    for name, help in (
        ("image", "Image file: JPEG, PNG, BMP or WebP."),
        ("sound", "Sound file: WAV."),
        ("data_dir", "Folder of images and sounds."),
    ):
        flags.DEFINE_string(name, None, help, flag_values=values)
    flags.DEFINE_integer(
        "top", 5, "Number of scenes and events to show.", 1, flag_values=values
    )
    flags.DEFINE_bool(
        "events", True, "Show events, if the model predicts them.", flag_values=values
    )
    flags.DEFINE_bool(
        "json", False, "Print one JSON object a line.", flag_values=values
    )
    flags.DEFINE_integer(
        "batch_size", 16, "Examples in a batch.", 1, flag_values=values
    )


def run(values: FlagValues) -> None:
    """Predicts the files of --image and --sound, or of --data_dir."""
    require(values, workdir="the folder of a run")
    if bool(values.data_dir) == bool(values.image or values.sound):
        raise ValueError(
            "Give either --data_dir or --image, --sound or both; received "
            f"{'all of them' if values.data_dir else 'none'}."
        )
    try:
        kind, _ = find_model(values.workdir)
    except ValueError as error:
        # The parameter is `path`, the flag --workdir.
        message = str(error).removeprefix("path")
        raise ValueError(f"--workdir{message}") from error
    startup.load_tensorflow(litert=kind == LITERT)

    from advance_tf.inference.loading import load_model

    examples, failures = _examples(values)
    model = load_model(values.workdir)
    if model.label and not values.json:
        print(f"*** model trained on {model.label} ***")
    failed = list(failures)
    results = model.predict_batch(
        examples, events=values.events, batch_size=values.batch_size
    )
    for result in results:
        if not result.ok:
            failed.append(result)
        elif values.json:
            print(result.to_json(values.top), flush=True)
        else:
            print(result.to_text(values.top), flush=True)
    for failure in failed:
        print(f"error: {failure.status}", file=sys.stderr)
    if failed:
        sys.exit(1)


def _examples(
    values: FlagValues,
) -> tuple[tuple["Example", ...], tuple["Prediction", ...]]:
    """Examples of the flags, and predictions of files that cannot be one."""
    from advance_tf.inference.examples import Example, find_examples

    if values.data_dir:
        return find_examples(values.data_dir)
    image, sound = (
        pathlib.Path(name) if name else None for name in (values.image, values.sound)
    )
    name = pathlib.Path(values.image or values.sound).stem
    return (Example(name, image, sound),), ()
