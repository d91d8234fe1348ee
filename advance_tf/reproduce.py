"""Reproduces the paper's tables: every row, several seeds, one command.

    python -m advance_tf.reproduce --table=1 --runs=5 --data_dir=ADVANCE \\
        --workdir=tables --teacher=yamnet.tflite --image_weights=aid.npz
    python -m advance_tf.reproduce --table=1,2,3 --workdir=tables   # go on, and more
    python -m advance_tf.reproduce --grid --workdir=tables --runs=1 \\
        --alphas=0.1,1,10 --betas=0,0.001,0.1

Rows are flag files in assets/recipes; all other flags of `fit` hold for every row
and need not be given again. Each run has its folder <workdir>/runs/<recipe>/<seed>;
a finished one is never done again, a killed one goes on. Writes table<N>.md, .csv
and .tex: mean ± deviation over seeds beside the paper's figures, and the difference
in weighted F to L_s with 95 % intervals by paired bootstrap. --grid searches α and β
on the validation split alone and writes grid.csv and grid.png.
"""

import os
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
_GRID_RECIPE = flags.DEFINE_string("grid_recipe", None, "Default: table1_event.")
_ALPHAS = flags.DEFINE_list("alphas", None, "Values of alpha (default: 0.01 to 10).")
_BETAS = flags.DEFINE_list("betas", None, "Values of beta (default: 0 to 0.1).")
config_flags.define()
_FLAGS = (config_flags.parse, config_flags.arguments_of)


def _checked_tables() -> list[int]:
    """The tables that are asked for, none for a grid."""
    tables = sorted(set(_TABLE.value or ()))
    if bool(tables) == _GRID.value or set(tables) - set("123"):
        raise ValueError(
            "Give either --grid, or --table with numbers of 1 to 3 and commas between "
            f"them; received --table={','.join(tables)}."
        )
    of_grid = {"grid_recipe": _GRID_RECIPE, "alphas": _ALPHAS, "betas": _BETAS}
    given = [f"--{name}" for name, flag in of_grid.items() if flag.value]
    if tables and given:
        raise ValueError(f"{', '.join(given)} go with --grid; received --table.")
    return [int(table) for table in tables]


def main(arguments) -> None:
    """Trains and evaluates the rows of --table, or the points of --grid."""
    del arguments
    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of all runs; received none.")
    tables = _checked_tables()
    # A study that is told to end takes its runs along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # This process and its runs share a GPU.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

    from advance_tf.studies import grid, lock, reproduction, schedule
    from advance_tf.studies.study import open_study, prepare

    runs, workdir = _RUNS.value, pathlib.Path(_WORKDIR.value)
    study = open_study(workdir, config_flags.given(), *_FLAGS)
    jobs = reproduction.table_jobs(study, tables, runs)
    if not tables:
        values = (_ALPHAS.value or (), _BETAS.value or ())
        search = grid.plan(study, _GRID_RECIPE.value, *values, runs)
        jobs = search.jobs
    with lock.held(study.workdir) as descriptor:
        prepare(study, jobs, manifest_path=_MANIFEST.value, teacher=_TEACHER.value)
        schedule.run_jobs(jobs, parallel=_JOBS.value, lock=descriptor)
        if not tables:
            print(grid.write(study, search))
            return
        reproduction.evaluate_jobs(jobs)
        for table in tables:
            print(reproduction.write_table(study, table, runs))
    print(f"Everything lies in {study.workdir}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
