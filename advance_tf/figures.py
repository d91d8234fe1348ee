"""Draws the figures of the paper, and the calibration, for a run.

    python -m advance_tf.figures --workdir=runs/a
    python -m advance_tf.figures --workdir=runs/a --coordinates=coordinates.csv
    python -m advance_tf.figures --workdir=runs/a --projector

Writes to <workdir>/figures/<split>: pairs_per_scene.png (Figure 3), world_map.png
(Figure 4, with --coordinates), tsne.png (Figure 7, where the model tells
events), confusion.png, and reliability.png with calibration.json: the
temperature is fitted on validation and measured on --split. With --projector
also projector/, the same events for TensorBoard.
"""

import pathlib
import sys

from absl import flags

from advance_tf import program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SPLIT = flags.DEFINE_enum(
    "split", "test", ("training", "validation", "test", "all"), "Pairs to predict."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data set; default: as the run was trained."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Pairs in a batch; default: as the run was trained.", 1
)
_COORDINATES = flags.DEFINE_string(
    "coordinates",
    None,
    "CSV file with the columns site (or stem), latitude and longitude in degrees.",
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder to write to; default: <workdir>/figures/<split>."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the t-SNE.", 0)
_PROJECTOR = flags.DEFINE_bool(
    "projector", False, "Write the events for TensorBoard's projector too."
)


def main(arguments) -> None:
    """Draws the figures of --workdir on --split."""
    del arguments
    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of a run; received none.")

    from advance_tf.studies import figures
    from advance_tf.studies.evaluated import evaluate_run
    from advance_tf.studies.taught import load_taught_run

    taught = load_taught_run(_WORKDIR.value, _DATA_DIR.value)
    evaluation = evaluate_run(
        taught,
        _SPLIT.value,
        batch_size=_BATCH_SIZE.value,
        progress=sys.stdout.isatty(),
    )
    if evaluation.label:
        print(f"*** {evaluation.label} ***")
    drawn = figures.draw_figures(
        taught,
        evaluation,
        coordinates=_COORDINATES.value,
        batch_size=_BATCH_SIZE.value,
        seed=_SEED.value,
    )
    output_dir = pathlib.Path(
        _OUTPUT_DIR.value or taught.run.workdir / "figures" / _SPLIT.value
    )
    drawn.write(output_dir)
    for remark in drawn.remarks:
        print(remark)
    if _PROJECTOR.value:
        print(figures.write_events(output_dir / figures.PROJECTOR, evaluation))
    print(f"{', '.join(drawn.files)} lie in {output_dir}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
