r"""Reproduces the tables of the paper: every row, several seeds.

    advance reproduce --table=1 --runs=5 --data_dir=ADVANCE --workdir=tables \
        --teacher=yamnet.tflite --image_weights=aid.npz
    advance reproduce --table=1,2,3 --workdir=tables        # resume, and add tables
    advance reproduce --grid --workdir=tables --runs=1 --alphas=0.1,1,10 \
        --betas=0,0.001,0.1

Rows are files in assets/recipes; other flags of `advance fit` apply to every row and
are stored in --workdir. Each run has the folder <workdir>/runs/<recipe>/<seed>; a
finished run is not repeated, an interrupted one is resumed. Writes table<N>.md, .csv
and .tex: mean ± deviation over seeds next to the values of the paper, and the
difference of weighted F from L_s with a 95 % interval by paired bootstrap. --grid
searches alpha and beta on the validation split and writes grid.csv and grid.png.
"""

import os
import pathlib
import signal
import sys

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import (
    define_config,
    define_manifest,
    define_workdir,
    given_config,
    numbers,
    require,
)
from advance_tf.cli.messages import translate


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values, "Folder of all runs.")
    flags.DEFINE_list("table", None, "Tables: 1, 2, 3.", flag_values=values)
    flags.DEFINE_integer(
        "runs", 5, "Runs of each row: seeds 0 to runs - 1.", 1, flag_values=values
    )
    flags.DEFINE_integer(
        "jobs", 1, "Parallel runs; they share the cores.", 1, flag_values=values
    )
    define_manifest(values)
    flags.DEFINE_string(
        "teacher",
        None,
        "YAMNet .tflite or tower weights; default: --audio_weights.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "grid", False, "Search alpha and beta on validation.", flag_values=values
    )
    flags.DEFINE_string(
        "grid_recipe",
        None,
        "Row to search on. (default: table1_event)",
        flag_values=values,
    )
    flags.DEFINE_list(
        "alphas", None, "Values of alpha. (default: 0.01 to 10)", flag_values=values
    )
    flags.DEFINE_list(
        "betas", None, "Values of beta. (default: 0 to 0.1)", flag_values=values
    )
    define_config(values)


def run(values: FlagValues) -> None:
    """Trains and evaluates the rows of --table, or the points of --grid."""
    require(values, workdir="the folder of all runs")
    tables = _checked_tables(values)
    alphas, betas = (numbers(n, values[n].value or ()) for n in ("alphas", "betas"))
    # SIGTERM also ends the runs in progress.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # This process shares a GPU with its runs.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    startup.load_tensorflow(litert=bool(values.teacher))

    from advance_tf.experiments import grid_search, reproduction, scheduler
    from advance_tf.experiments.study import lock_folder, open_study, prepare_study

    runs, manifest, teacher = values.runs, values.manifest, values.teacher
    study = open_study(pathlib.Path(values.workdir), given_config(values))
    if tables:
        jobs = reproduction.table_jobs(study, tables, runs)
    else:
        search = grid_search.plan(study, values.grid_recipe, alphas, betas, runs)
        jobs = search.jobs
    with lock_folder(study.workdir) as descriptor:
        prepare_study(study, jobs, manifest_path=manifest, teacher=teacher)
        scheduler.run_jobs(jobs, parallel=values.jobs, lock=descriptor)
        if not tables:
            print(translate(grid_search.write(study, search), values))
            return
        reproduction.evaluate_jobs(jobs)
        for table in tables:
            print(reproduction.write_table(study, table, runs))
    print(f"All runs and tables are in {study.workdir}.")


def _checked_tables(values: FlagValues) -> list[int]:
    """The tables of --table; empty with --grid."""
    tables = sorted(set(values.table or ()))
    if bool(tables) == values.grid or set(tables) - set("123"):
        raise ValueError(
            "Give either --grid, or --table with numbers from 1 to 3 separated by "
            f"commas; received --table={','.join(tables)}."
        )
    grid_flags = ("grid_recipe", "alphas", "betas")
    given = [f"--{name}" for name in grid_flags if values[name].value]
    if tables and given:
        raise ValueError(
            f"{', '.join(given)} may be given with --grid only; received --table."
        )
    return [int(table) for table in tables]
