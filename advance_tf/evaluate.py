"""Evaluates a run: scores with intervals over sites, tables and pictures.

    python -m advance_tf.evaluate --workdir=runs/a
    python -m advance_tf.evaluate --workdir=runs/a --split=validation
    python -m advance_tf.evaluate --workdir=runs/a --data_dir=/other/place/ADVANCE

Writes metrics.json, report.md, scenes.csv, confusion.csv, predictions.csv,
confusion.png, curves.png and, where the model tells events, events.npz to
<workdir>/evaluation/<split>, and prints a summary.
"""

import sys

from absl import flags

from advance_tf import program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SPLIT = flags.DEFINE_enum(
    "split", "test", ("training", "validation", "test", "all"), "Pairs to evaluate on."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data set; default: as the run was trained."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Pairs in a batch; default: as the run was trained.", 1
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder to write to; default: <workdir>/evaluation/<split>."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the resamples.", 0)


def main(arguments) -> None:
    """Evaluates --workdir on --split."""
    del arguments
    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of a run; received none.")

    from advance_tf.metrics.report import summary
    from advance_tf.studies.evaluated import evaluate_run, write_evaluation
    from advance_tf.studies.taught import load_taught_run

    taught = load_taught_run(_WORKDIR.value, _DATA_DIR.value)
    evaluation = evaluate_run(
        taught,
        _SPLIT.value,
        batch_size=_BATCH_SIZE.value,
        seed=_SEED.value,
        progress=sys.stdout.isatty(),
    )
    output_dir = write_evaluation(taught, evaluation, _OUTPUT_DIR.value)
    print(f"{summary(evaluation)}\nEverything lies in {output_dir}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
