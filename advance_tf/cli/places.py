"""Prediction at places and over rasters, a part of `advance predict`."""

import contextlib
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli.flags import refuse
from advance_tf.files import check_output

# Rejected rows that are printed.
_SHOWN = 20


def define_places(values: FlagValues) -> None:
    """Defines the flags of a prediction at places."""
    for name, help in (
        ("places", "Recordings with coordinates: CSV, vector file or folder."),
        ("tile_dir", "Folder for the images cut from --raster; default: not kept."),
    ):
        flags.DEFINE_string(name, None, help, flag_values=values)
    for name, help in (
        ("raster", "Rasters that images are cut from; the first with data is used."),
        ("output", "Files of the results at places, or one .tif."),
    ):
        flags.DEFINE_list(name, [], help, flag_values=values)
    for name, default, help in (
        ("ground_metres", 256.0, "Side of the images of --raster, as in training."),
        ("stride_metres", 0.0, "Side of a cell of the grid over --raster; 0: none."),
        ("sound_metres", 500.0, "Largest distance of a recording from a cell."),
    ):
        flags.DEFINE_float(name, default, help, 0.0, flag_values=values)


def check_flags(values: FlagValues) -> None:
    """Checks the flags of places before anything is loaded.

    Args:
        values: the flags of `advance predict`.

    Raises:
        ValueError: --output or --raster is missing or of another kind, or a flag is
            given that has no effect.
    """
    if not (values.places or values.stride_metres):
        refuse(
            values,
            ("output", "raster", "tile_dir", "ground_metres", "sound_metres"),
            "may be given with --places or --stride_metres only; answers of files are "
            "on the standard output",
        )
        return
    why = "may not be given with --places or --stride_metres"
    refuse(values, ("json", "events"), why)
    if values.stride_metres:
        why = "may not be given with --stride_metres"
        refuse(values, ("top", "tile_dir"), why)
    if not (values.places and values.stride_metres):
        why = "must be used with both --places and --stride_metres"
        refuse(values, ("sound_metres",), why)
    if not values.raster:
        refuse(values, ("ground_metres", "tile_dir"), "must be used with --raster")
    from advance_tf.geo.results import check_outputs

    if not values.stride_metres:
        check_outputs(values.output)
        return
    if not values.raster:
        raise ValueError("--stride_metres needs a raster in --raster; received none.")
    if len(values.output) != 1:
        raise ValueError(
            f"--output must be one .tif file; received {len(values.output)} files."
        )
    check_output(pathlib.Path(values.output[0]), ".tif")


def run_places(values: FlagValues, model: Any, sha256: str) -> None:
    """Predicts the places of --places, or the cells of a grid over --raster.

    Args:
        values: the flags of `advance predict`.
        model: the loaded model.
        sha256: its `model_sha256`.

    Raises:
        ValueError: nothing could be predicted.
    """
    from advance_tf.geo.imagery import Imagery
    from advance_tf.geo.recordings import read_recordings

    found, rejected = read_recordings(values.places) if values.places else ((), ())
    names = ("places", "raster", "ground_metres", "stride_metres", "sound_metres")
    parameters = {name: values[name].value for name in names} | {
        "workdir": values.workdir,
        "model_sha256": sha256,
        "label": model.label,
    }
    if model.label:
        print(f"*** model trained on {model.label} ***")
    with contextlib.ExitStack() as stack:
        imagery = stack.enter_context(Imagery(values.raster)) if values.raster else None
        if values.stride_metres:
            _print_rejected([(one.name, one.reason) for one in rejected])
            _run_raster(values, model, imagery, found, parameters)
        else:
            _run_table(values, model, imagery, (found, rejected), parameters)


def _print_rejected(rows: Sequence[tuple[str, str]]) -> None:
    """Prints the first names and reasons."""
    for name, reason in rows[:_SHOWN]:
        print(f"rejected: {name}: {reason}")


def _run_table(
    values: FlagValues, model: Any, imagery: Any, rows: Any, parameters: dict[str, Any]
) -> None:
    from advance_tf.geo.places import TileSettings, predict_places
    from advance_tf.geo.results import write_results

    found, rejected = rows
    results = list(
        predict_places(
            *(model, found, imagery, TileSettings(values.ground_metres)),
            rejections=rejected,
            top=values.top,
            batch_size=values.batch_size,
            tile_dir=values.tile_dir,
            sha256=parameters["model_sha256"],
            progress=True,
        )
    )
    write_results(results, values.output, parameters)
    answered = sum(one.ok for one in results)
    print(
        f"{len(results)} places = {answered} answered + {len(results) - answered} "
        f"rejected: {', '.join(values.output)}"
    )
    _print_rejected([(one.name, one.status) for one in results if not one.ok])
    if not answered:
        raise ValueError("No place could be predicted; the reasons are above.")


def _run_raster(
    values: FlagValues, model: Any, imagery: Any, found: Any, parameters: dict[str, Any]
) -> None:
    from advance_tf.geo.places import TileSettings
    from advance_tf.geo.scene_raster import predict_raster, summary, write_scene_raster

    result = predict_raster(
        *(model, imagery, values.stride_metres, TileSettings(values.ground_metres)),
        recordings=found,
        sound_metres=values.sound_metres,
        batch_size=values.batch_size,
        progress=True,
    )
    tags = {name: str(value) for name, value in parameters.items()}
    paths = write_scene_raster(result, values.output[0], tags)
    print(f"{summary(result)}: {' and '.join(map(str, paths))}")
    if not result.predicted:
        raise ValueError(
            "No cell could be predicted: the raster has no data there, or the cells "
            "were refused for the reasons above."
        )
