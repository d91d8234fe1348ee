"""Reproduces the paper's tables: every row, several seeds, one command.

    python -m advance_tf.reproduce --table=1 --runs=5 --data_dir=ADVANCE \\
        --workdir=tables --teacher=yamnet.tflite --image_weights=aid.npz
    python -m advance_tf.reproduce --table=1,2,3 --workdir=tables   # go on
    python -m advance_tf.reproduce --grid --workdir=tables \\
        --alphas=0.1,1,10 --betas=0,0.001,0.1

Rows are flag files in assets/recipes; all other flags of `fit` hold for every
row. Each run has its folder <workdir>/runs/<recipe>/<seed>; a finished one is
never done again, a killed one goes on. Writes table<N>.md, .csv and .tex with
mean ± deviation over seeds beside the paper's figures, and the difference in
weighted F to L_s with 95 % intervals by paired bootstrap. --grid searches α and
β on the validation split alone and writes grid.csv and grid.png.
"""

import pathlib
import signal
import sys

from absl import flags

from advance_tf import config_flags, program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs.")
_TABLE = flags.DEFINE_list("table", None, "Which tables: 1, 2, 3.")
_RUNS = flags.DEFINE_integer("runs", 5, "Runs of each row: seeds 0 to runs - 1.", 1)
_JOBS = flags.DEFINE_integer("jobs", 1, "Runs at a time; they share the cores.", 1)
_MANIFEST = flags.DEFINE_string(
    "manifest", None, "Split to use; default: that of the workdir, else a new one."
)
_TEACHER = flags.DEFINE_string(
    "teacher", None, "YAMNet .tflite or tower weights; default: --audio_weights."
)
_GRID = flags.DEFINE_bool("grid", False, "Search alpha and beta on validation.")
_GRID_RECIPE = flags.DEFINE_string("grid_recipe", "table1_event", "Row to search on.")
_ALPHAS = flags.DEFINE_list("alphas", ["0.01", "0.1", "1", "10"], "Values of alpha.")
_BETAS = flags.DEFINE_list("betas", ["0", "0.001", "0.01", "0.1"], "Values of beta.")
config_flags.define()


def _train(study, jobs, parallel):
    """What all jobs share, then the jobs themselves."""
    from advance_tf.studies import lock, schedule
    from advance_tf.studies.study import prepare

    with lock.held(study.workdir) as descriptor:
        prepare(study, jobs, manifest_path=_MANIFEST.value, teacher=_TEACHER.value)
        schedule.run_jobs(jobs, parallel=parallel, lock=descriptor)


def main(arguments) -> None:
    """Trains and evaluates the rows of --table, or the points of --grid."""
    del arguments
    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of all runs; received none.")
    tables = sorted(set(_TABLE.value or ()))
    if bool(tables) == _GRID.value or set(tables) - set("123"):
        raise ValueError(
            "Give either --grid, or --table with numbers of 1 to 3 and commas between "
            f"them; received --table={','.join(tables)}."
        )

    from advance_tf.studies import grid, reproduction
    from advance_tf.studies.study import open_study

    # A study that is told to end takes its runs along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    study = open_study(
        pathlib.Path(_WORKDIR.value),
        config_flags.given(),
        config_flags.parse,
        config_flags.arguments_of,
    )
    if _GRID.value:
        search = grid.plan(
            study, _GRID_RECIPE.value, _ALPHAS.value, _BETAS.value, _RUNS.value
        )
        _train(study, search.jobs, _JOBS.value)
        print(grid.write(study, search))
        return
    numbers = [int(table) for table in tables]
    jobs = reproduction.table_jobs(study, numbers, _RUNS.value)
    _train(study, jobs, _JOBS.value)
    reproduction.evaluate_jobs(jobs)
    for table in numbers:
        print(reproduction.write_table(study, table, _RUNS.value))
    print(f"Everything lies in {study.workdir}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
