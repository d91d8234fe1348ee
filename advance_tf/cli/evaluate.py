"""Evaluates a run: scores with confidence intervals, tables, plots.

    advance evaluate --workdir=runs/a
    advance evaluate --workdir=runs/a --split=validation
    advance evaluate --workdir=runs/a --data_dir=/other/place/ADVANCE

Writes metrics.json, report.md, scenes.csv, confusion.csv, predictions.csv,
confusion.png, curves.png and, for a model that predicts events, events.npz to
<workdir>/evaluation/<split>, and prints a summary. Intervals are bootstrapped over
sites.
"""

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import define_batch_size, define_run, require
from advance_tf.files import check_output_folder


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_run(values)
    define_batch_size(values)
    flags.DEFINE_string(
        "output_dir",
        None,
        "Folder to write; default: <workdir>/evaluation/<split>.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "seed", 0, "Seed of the bootstrap's resamples.", 0, flag_values=values
    )


def run(values: FlagValues) -> None:
    """Evaluates --workdir on --split."""
    require(values, workdir="the folder of a run")
    check_output_folder(values.output_dir)
    startup.load_tensorflow()

    from advance_tf.inference.evaluation import evaluate
    from advance_tf.reporting.evaluation_report import summary, write_evaluation
    from advance_tf.runs.workdir import load_run

    run = load_run(values.workdir, values.data_dir)
    evaluation = evaluate(
        run,
        values.split,
        batch_size=values.batch_size,
        seed=values.seed,
        progress=True,
    )
    output_dir = write_evaluation(run, evaluation, values.output_dir)
    print(f"{summary(evaluation)}\nThe evaluation is in {output_dir}.")
