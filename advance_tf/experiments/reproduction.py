"""Reproduces the tables of the paper: their runs, evaluations and files."""

import pathlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import keras
from tqdm import tqdm

from advance_tf.checksums import file_sha256
from advance_tf.data.layout import join_labels
from advance_tf.experiments import paper_tables
from advance_tf.experiments.paper_tables import PaperRow, TableLine, paper_rows
from advance_tf.experiments.scheduler import Job
from advance_tf.experiments.study import Study
from advance_tf.files import replacing
from advance_tf.inference.evaluation import evaluate
from advance_tf.metrics.comparison import (
    PREDICTIONS,
    Row,
    compare,
    read_predictions,
)
from advance_tf.metrics.epochs import epochs_table
from advance_tf.metrics.repeated_splits import SplitRow
from advance_tf.reporting.evaluation_report import (
    METRICS,
    read_details,
    run_over_epochs,
    write_evaluation,
)
from advance_tf.runs.workdir import load_run
from advance_tf.training.callbacks import BEST_WEIGHTS

# Predictions of the runs of a method, of one split or of several, and their line.
_Runs = TypeVar("_Runs")
_Line = TypeVar("_Line", Row, SplitRow)
# Headings of the tables.
TITLES = {
    1: "transfer with both inputs",
    2: "one input († from random weights)",
    3: "the transfer loss alone, without L_s",
}


def table_recipes(tables: Sequence[int], recipes: Collection[str] = ()) -> list[str]:
    """The recipes of the rows of tables, each once.

    Args:
        tables: numbers of tables: 1, 2 or 3.
        recipes: recipes of the rows; empty for all rows.

    Returns:
        Recipes, with those of the references of the rows.

    Raises:
        ValueError: no table has a row with one of `recipes`, or a table has none.

    >>> table_recipes([1], ["table1_event"])
    ['table1_both', 'table1_event']
    """
    rows = {table: paper_rows(table, recipes) for table in tables}
    found = dict.fromkeys(row.recipe for own in rows.values() for row in own)
    unknown = [recipe for recipe in recipes if recipe not in found]
    empty = [str(table) for table, own in rows.items() if not own]
    if unknown or empty:
        known = dict.fromkeys(r.recipe for table in tables for r in paper_rows(table))
        raise ValueError(
            "`rows` must be recipes of rows of the tables, at least one of each table; "
            f"received {', '.join(recipes)} for table {', '.join(map(str, tables))}. "
            f"The rows are {', '.join(known)}."
        )
    return list(found)


def table_jobs(
    study: Study,
    tables: Sequence[int],
    runs: int,
    changes: Mapping[str, Mapping[str, float]] | None = None,
    recipes: Collection[str] = (),
) -> list[Job]:
    """Lists the jobs of the tables, seed by seed.

    An interrupted study thus has complete tables of fewer seeds.

    Args:
        study: the study that the jobs belong to.
        tables: numbers of tables: 1, 2 or 3.
        runs: number of seeds, 0 to runs − 1.
        changes: recipe → alpha and beta in place of its own.
        recipes: recipes of the rows, see `table_recipes`; empty for all rows.

    Returns:
        One job for each recipe and seed; rows with the same recipe share it.
    """
    changes, recipes = changes or {}, table_recipes(tables, recipes)
    return [
        study.job(recipe, seed, changes=changes.get(recipe))
        for seed in range(runs)
        for recipe in recipes
    ]


def predictions_of(job: Job) -> pathlib.Path:
    """The predictions of a job on the test split."""
    return job.workdir / "evaluation" / "test" / PREDICTIONS


def evaluate_jobs(jobs: Sequence[Job]) -> None:
    """Evaluates every trained job on the test split, unless its evaluation exists.

    Args:
        jobs: finished jobs.
    """
    remaining = [job for job in jobs if _needs_evaluation(job)]
    for job in tqdm(
        remaining, "evaluating", unit="run", disable=not sys.stderr.isatty()
    ):
        run = load_run(job.workdir, job.config.data.data_dir)
        write_evaluation(run, evaluate(run, "test"))
        # Frees the recognizer: a study has up to a hundred runs.
        keras.backend.clear_session()


def _needs_evaluation(job: Job) -> bool:
    """Whether there is no evaluation of these weights on this data set."""
    # The metrics are the last file of an evaluation.
    path = predictions_of(job).with_name(METRICS)
    if not path.exists():
        return True
    details = read_details(path, "Remove it to evaluate again.")
    return (details.get("data_dir"), details.get("weights_sha256")) != (
        job.config.data.data_dir,
        file_sha256(job.workdir / BEST_WEIGHTS),
    )


def compare_rows(
    rows: Sequence[PaperRow],
    predictions: Mapping[str, _Runs],
    compare: Callable[[Mapping[str, _Runs], str], Sequence[_Line]],
) -> dict[str, _Line]:
    """Compares the rows of a table with the rows that they refer to.

    Args:
        rows: rows of one table.
        predictions: recipe → predictions of its runs.
        compare: a function of method → predictions and the name of the reference,
            that returns a line with a `name` for each method.

    Returns:
        Name of a row → its first line.
    """
    names = {row.recipe: row.name for row in rows}
    compared: dict[str, _Line] = {}
    for reference in dict.fromkeys(row.reference for row in rows):
        group = [row for row in rows if row.reference == reference]
        methods = {names[reference]: predictions[reference]}
        methods |= {row.name: predictions[row.recipe] for row in group}
        for line in compare(methods, names[reference]):
            compared.setdefault(line.name, line)
    return compared


def table_lines(
    study: Study, table: int, runs: int, recipes: Collection[str] = ()
) -> tuple[list[TableLine], str]:
    """Compares the scores of a table's rows with those of the paper.

    Args:
        study: a study whose runs are evaluated.
        table: 1, 2 or 3.
        runs: number of seeds, 0 to runs − 1.
        recipes: recipes of the rows, see `table_recipes`; empty for all rows.

    Returns:
        One line for each row, in the paper's order; and the label of the data.
    """
    rows = paper_rows(table, recipes)
    predictions = {
        row.recipe: [
            read_predictions(predictions_of(study.job(row.recipe, seed)))
            for seed in range(runs)
        ]
        for row in rows
    }
    names = {row.recipe: row.name for row in rows}
    compared = compare_rows(rows, predictions, compare)
    data_labels = {run.label for runs_of in predictions.values() for run in runs_of}
    lines = [
        TableLine(compared[row.name], names[row.reference], row.scores) for row in rows
    ]
    return lines, join_labels(*sorted(data_labels))


def write_table(
    study: Study,
    table: int,
    runs: int,
    recipes: Collection[str] = (),
    note: str = "",
) -> str:
    """Writes table<N>.md, .csv and .tex of a study.

    Below the Markdown table is that of `over_epochs`.

    Args:
        study: a study whose runs are evaluated.
        table: 1, 2 or 3.
        runs: number of seeds, 0 to runs − 1.
        recipes: recipes of the rows, see `table_recipes`; empty for all rows.
        note: a paragraph below the Markdown table, "" for none.

    Returns:
        The contents of the Markdown file.
    """
    lines, label = table_lines(study, table, runs, recipes)
    title = TITLES[table]
    heading = f"Table {table}: {title}"
    texts = {
        "md": paper_tables.markdown(lines, heading, label)
        + (f"\n{note}\n" if note else "")
        + over_epochs(study, table, recipes),
        "csv": paper_tables.to_csv(lines, label),
        "tex": paper_tables.latex(lines, title, label, key=f"table{table}"),
    }
    for ending, text in texts.items():
        with replacing(study.workdir / f"table{table}.{ending}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    return texts["md"]


def over_epochs(study: Study, table: int, recipes: Collection[str] = ()) -> str:
    """Formats the mean ± deviation as the authors' code computes it.

    Args:
        study: a study whose runs are trained.
        table: 1, 2 or 3.
        recipes: recipes of the rows, see `table_recipes`; empty for all rows.

    Returns:
        Markdown: for the first seed of each row, the test scores over the best epoch
        and the five after it, see `scores_over_epochs`; "" for runs without
        `test_epochs`.
    """
    found = {
        row.name: run_over_epochs(study.job(row.recipe, 0).workdir)
        for row in paper_rows(table, recipes)
    }
    rows = {name: scores for name, scores in found.items() if scores is not None}
    if not rows:
        return ""
    return (
        "\nMean ± deviation as in the authors' code, over the best epoch of one run "
        f"(seed 0) and the five after it:\n\n{epochs_table(rows)}\n"
    )
