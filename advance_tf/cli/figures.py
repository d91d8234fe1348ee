"""Draws the figures of the paper and the calibration for a run.

    advance figures --workdir=runs/a
    advance figures --workdir=runs/a --coordinates=coordinates.csv
    advance figures --workdir=runs/a --projector

Writes to <workdir>/figures/<split>: pairs_per_scene.png (Figure 3), world_map.png
(Figure 4, with --coordinates or sites.csv), tsne.png (Figure 7, for a model that
predicts events), confusion.png, and reliability.png with calibration.json: the
temperature is fitted on the validation split and applied to --split. With --projector
also projector/, the same events for TensorBoard.
"""

import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import define_batch_size, define_run, require
from advance_tf.cli.messages import translate
from advance_tf.files import check_output_folder


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_run(values, "to predict")
    define_batch_size(values)
    flags.DEFINE_string(
        "coordinates",
        None,
        "CSV file with the columns site (or stem), latitude and longitude in degrees; "
        "default: sites.csv of the data set.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "output_dir",
        None,
        "Folder to write; default: <workdir>/figures/<split>.",
        flag_values=values,
    )
    flags.DEFINE_integer("seed", 0, "Seed of the t-SNE.", 0, flag_values=values)
    flags.DEFINE_bool(
        "projector",
        False,
        "Write the events for the projector of TensorBoard too.",
        flag_values=values,
    )


def run(values: FlagValues) -> None:
    """Draws the figures of --workdir on --split."""
    require(values, workdir="the folder of a run")
    check_output_folder(values.output_dir)
    startup.load_tensorflow()

    from advance_tf.inference.evaluation import evaluate
    from advance_tf.reporting import figures
    from advance_tf.runs.workdir import load_run

    run = load_run(values.workdir, values.data_dir)
    evaluation = evaluate(
        run,
        values.split,
        batch_size=values.batch_size,
        progress=True,
    )
    if evaluation.label:
        print(f"*** {evaluation.label} ***")
    drawn = figures.draw_figures(
        run,
        evaluation,
        coordinates=values.coordinates,
        batch_size=values.batch_size,
        seed=values.seed,
    )
    output_dir = pathlib.Path(
        values.output_dir or run.workdir / "figures" / values.split
    )
    drawn.write(output_dir)
    for remark in drawn.remarks:
        print(translate(remark, values))
    if values.projector:
        print(figures.write_events(output_dir / figures.PROJECTOR, evaluation))
    print(f"{', '.join(drawn.files)} are in {output_dir}.")
