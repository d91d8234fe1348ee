r"""Reproduces the tables of the paper: every row, several seeds.

    advance reproduce --table=1 --runs=5 --data_dir=ADVANCE --workdir=tables \
        --teacher=weights/yamnet.h5 --image_weights=aid.npz
    advance reproduce --table=1,2,3 --workdir=tables        # resume, and add tables
    advance reproduce --table=1 --splits=10 --runs=3 --workdir=tables ...
    advance reproduce --grid --workdir=tables --runs=1 --alphas=0.1,1,10 \
        --betas=0,0.001,0.1
    advance reproduce --table=1 --splits=10 --grid --runs=3 --workdir=tables ...
    advance reproduce --table=1 --rows=table1_kl_audio,table1_event --workdir=tables ...

Rows are files in assets/recipes; other flags of `advance fit` apply to every row and
are stored in --workdir. Each run has the folder <workdir>/runs/<recipe>/<seed>; a
finished run is not repeated, an interrupted one is resumed. Writes table<N>.md, .csv
and .tex: mean ± deviation over seeds next to the values of the paper, and the
difference of weighted F from L_s with a 95 % interval by paired bootstrap.

--splits repeats everything on splits by site with the split seeds 0, 1, …; --folds
makes each fold of the sites the test split once. Writes table<N>_splits<S>.md, .csv and
.json: differences paired by split, seed and site, with intervals by the corrected
resampled t-test and by bootstrap, and the least difference that could have been seen.

--grid searches alpha and beta on folds of the training split and writes
grid-<recipe>.csv and .png; together with --table, for each row and split by itself,
before the rows are trained with the best values.

With frozen towers (--image_frozen_stages=5 --audio_frozen_stages=5) the towers are run
once and only the heads are trained, in memory; with frozen stages of efficientnet_lite0
and yamnet, these are run once and the rest is trained.
"""

import dataclasses
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
    for name, help in (
        ("table", "Tables: 1, 2, 3."),
        ("rows", "Recipes of the rows to train; their L_s is added. (default: all)"),
        ("row_alphas", "Alpha of rows, such as table1_kl_audio=0.01, for --table."),
        ("alphas", "Values of alpha for --grid. (default: 0.00001 to 1)"),
        ("betas", "Values of beta for --grid. (default: 0 to 10)"),
    ):
        flags.DEFINE_list(name, None, help, flag_values=values)
    for name, default, least, help in (
        ("runs", 5, 1, "Runs of each row: seeds 0 to runs - 1."),
        ("splits", 0, 0, "Splits by site: split seeds 0, 1, …; 0: one split."),
        ("folds", 0, 0, "Folds by site, each the test split once; 0: one split."),
        ("grid_folds", 5, 2, "Folds of the training split for --grid."),
        ("jobs", 1, 1, "Parallel runs; they share the cores."),
    ):
        flags.DEFINE_integer(name, default, help, least, flag_values=values)
    define_manifest(values)
    flags.DEFINE_string(
        "teacher",
        None,
        "YAMNet (.tflite, .h5) or tower weights; default: --audio_weights.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "grid",
        False,
        "Search alpha and beta inside the training split.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "grid_recipe",
        None,
        "Row to search. (default: table1_event; with --table every row)",
        flag_values=values,
    )
    define_config(values)


def run(values: FlagValues) -> None:
    """Trains and evaluates the rows of --table, and the points of --grid."""
    require(values, workdir="the folder of all runs")
    tables = _checked_tables(values)
    alphas, betas = (numbers(n, values[n].value or ()) for n in ("alphas", "betas"))
    # SIGTERM also ends the runs in progress.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # This process shares a GPU with its runs.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    startup.load_tensorflow(litert=bool(values.teacher))

    from advance_tf.experiments.protocol import Grid, Resources, run_grid, run_tables
    from advance_tf.experiments.study import open_study
    from advance_tf.locks import lock_folder

    manifest = values.manifest
    study = open_study(pathlib.Path(values.workdir), given_config(values))
    grid = Grid(alphas, betas, values.grid_folds, recipe=values.grid_recipe)
    with lock_folder(study.workdir, "study") as descriptor:
        resources = Resources(values.teacher, values.jobs, descriptor)
        if not tables:
            grid = dataclasses.replace(grid, runs=values.runs)
            text = run_grid(study, grid, manifest_path=manifest, resources=resources)
            print(translate(text, values))
        else:
            for text in run_tables(
                study,
                tables,
                values.runs,
                splits=values.splits,
                folds=values.folds,
                rows=values.rows or (),
                grid=grid if values.grid else None,
                row_alphas=values.row_alphas or (),
                manifest_path=manifest,
                resources=resources,
            ):
                print(text)
    print(f"All runs and tables are in {study.workdir}.")


def _checked_tables(values: FlagValues) -> list[int]:
    """The tables of --table; empty for a search without tables."""
    tables = sorted(set(values.table or ()))
    if not (tables or values.grid) or set(tables) - set("123"):
        raise ValueError(
            "Give --grid, or --table with numbers from 1 to 3 separated by commas, or "
            f"both; received --table={','.join(tables)}."
        )
    grid_flags = ("grid_recipe", "grid_folds", "alphas", "betas")
    given = [f"--{name}" for name in grid_flags if values[name].present]
    if given and not values.grid:
        raise ValueError(
            f"{', '.join(given)} may be given with --grid only; received --table."
        )
    if values.splits and values.folds:
        raise ValueError(
            f"Give either --splits or --folds; received {values.splits} and "
            f"{values.folds}."
        )
    of_tables = ("splits", "folds", "rows", "row_alphas")
    given = [f"--{name}" for name in of_tables if values[name].value]
    if given and not tables:
        raise ValueError(f"{', '.join(given)} may be given with --table only.")
    return [int(table) for table in tables]
