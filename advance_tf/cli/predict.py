"""Predicts scene and events of image and sound files.

    advance predict --workdir=runs/a --image=a.jpg --sound=a.wav
    advance predict --workdir=runs/a --image=a.jpg
    advance predict --workdir=runs/a --data_dir=folder --json
    advance predict --workdir=runs/a --data_dir=folder --shard=0/4 --parts_dir=out
    advance predict --workdir=runs/a --places=r.csv --raster=a.tif --output=r.geojson
    advance predict --workdir=runs/a --raster=a.tif --stride_metres=100 --output=s.tif

A folder holds images and sounds, paired by stem, side by side or in ADVANCE's
layout. With --json each line is one JSON object. A file that cannot be read is
reported on standard error, the others are predicted, and the exit status is 1.
The scene is "unknown", with the reason, where its probability is below
--min_confidence, or where the input is blank, silent, clipped or far from training.
--workdir may also be an export: the folder of a SavedModel, or a .tflite or .onnx
file. With --shard=i/n n processes, such as a job array, share the folder: each writes
its parts to --parts_dir and resumes after an interruption; the last one joins all to
predictions.jsonl.

--places is a table or a folder of recordings with coordinates (see build-dataset);
the image of a place is its column image, or is cut from --raster. --output is one or
more of .csv, .parquet, .geojson and .geoparquet. A place that is refused is a row with
its reason; the exit status is 1 if none was read. --stride_metres predicts every cell
of a grid over --raster, with the nearest recording of --places within --sound_metres,
and writes GeoTIFFs of the scenes (.tif) and of their confidence.
"""

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import (
    define_min_confidence,
    define_workdir,
    model_kind,
    require,
)
from advance_tf.cli.places import check_flags, define_places, run_places
from advance_tf.cli.prediction_parts import check_parts, define_parts, shard_results
from advance_tf.inference.formats import LITERT

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
    define_min_confidence(values)
    flags.DEFINE_bool(
        "events", True, "Show events, if the model predicts them.", flag_values=values
    )
    flags.DEFINE_bool(
        "json", False, "Print one JSON object a line.", flag_values=values
    )
    flags.DEFINE_integer(
        "batch_size", 16, "Examples in a batch.", 1, flag_values=values
    )
    define_places(values)
    define_parts(values)


def run(values: FlagValues) -> None:
    """Predicts the files of --image and --sound, or of --data_dir."""
    require(values, workdir="the folder of a run")
    places = bool(values.places or values.stride_metres)
    if places + bool(values.data_dir) + bool(values.image or values.sound) != 1:
        several = values.data_dir or places
        raise ValueError(
            "Give either --data_dir or --image, --sound or both, or --places; received "
            f"{'several of them' if several else 'none'}."
        )
    check_parts(values)
    check_flags(values)
    startup.load_tensorflow(litert=model_kind(values) == LITERT)

    from advance_tf.inference.loading import load_identified, load_model

    least = values.min_confidence
    if places:
        run_places(values, *load_identified(values.workdir, min_confidence=least))
        return
    examples, failures = _examples(values)
    sha256 = ""
    if values.shard:
        model, sha256 = load_identified(values.workdir, min_confidence=least)
    else:
        model = load_model(values.workdir, min_confidence=least)
    if model.label and not values.json:
        print(f"*** model trained on {model.label} ***")
    if values.shard:
        failed: list[Prediction] = []
        results = shard_results(values, model, sha256, examples, failures)
    else:
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
