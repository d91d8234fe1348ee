"""The paper's tables from runs: which there are, their scores, their files."""

import json
import pathlib
import sys
from collections.abc import Sequence

import keras
from tqdm import tqdm

from advance_tf.files import replacing
from advance_tf.metrics import paper_comparison
from advance_tf.metrics.comparison import (
    PREDICTIONS,
    Row,
    compare,
    read_predictions,
)
from advance_tf.metrics.paper_comparison import BesidePaper
from advance_tf.metrics.report import METRICS, join_labels
from advance_tf.models.weights import file_sha256
from advance_tf.studies.evaluated import evaluate_run, write_evaluation
from advance_tf.studies.jobs import Job
from advance_tf.studies.paper import paper_rows
from advance_tf.studies.study import Study
from advance_tf.studies.taught import load_taught_run
from advance_tf.training.callbacks import BEST_WEIGHTS

_TITLES = {
    1: "transfer with both inputs",
    2: "one input († from random weights)",
    3: "the transfer loss alone, without L_s",
}


def table_jobs(study: Study, tables: Sequence[int], runs: int) -> list[Job]:
    """Every run of the tables, seed by seed, so that fewer seeds are whole tables.

    Args:
        study: what they belong to.
        tables: 1, 2, 3.
        runs: seeds 0 to runs − 1.

    Returns:
        One job for each recipe and seed; what two rows share is there once.
    """
    recipes = dict.fromkeys(row.recipe for table in tables for row in paper_rows(table))
    return [study.job(recipe, seed) for seed in range(runs) for recipe in recipes]


def _predictions_of(job: Job) -> pathlib.Path:
    return job.workdir / "evaluation" / "test" / PREDICTIONS


def evaluate_jobs(jobs: Sequence[Job]) -> None:
    """Evaluates every trained job on the test split, unless that is done.

    Args:
        jobs: finished runs.
    """
    left = [job for job in jobs if _is_stale(job)]
    for job in tqdm(left, "evaluating", unit="run", disable=not sys.stderr.isatty()):
        taught = load_taught_run(job.workdir, job.config.data.data_dir)
        write_evaluation(taught, evaluate_run(taught, "test"))
        # A hundred recognizers would fill the memory.
        keras.backend.clear_session()


def _is_stale(job: Job) -> bool:
    """Whether there is no evaluation of these weights on these data."""
    # It is written last.
    path = _predictions_of(job).with_name(METRICS)
    if not path.exists():
        return True
    details = json.loads(path.read_text(encoding="utf-8"))["details"]
    return (details.get("data_dir"), details.get("weights_sha256")) != (
        job.config.data.data_dir,
        file_sha256(job.workdir / BEST_WEIGHTS),
    )


def table_lines(study: Study, table: int, runs: int) -> tuple[list[BesidePaper], str]:
    """Scores of a table's rows over their runs, beside the paper's.

    Args:
        study: whose runs are evaluated.
        table: 1, 2 or 3.
        runs: seeds 0 to runs − 1.

    Returns:
        One line for each row, in the paper's order; and the label of the data.
    """
    rows = paper_rows(table)
    found = {
        row.recipe: [
            read_predictions(_predictions_of(study.job(row.recipe, seed)))
            for seed in range(runs)
        ]
        for row in rows
    }
    names = {row.recipe: row.name for row in rows}
    compared: dict[str, Row] = {}
    for reference in dict.fromkeys(row.reference for row in rows):
        group = [row for row in rows if row.reference == reference]
        methods = {names[reference]: found[reference]}
        methods |= {row.name: found[row.recipe] for row in group}
        for line in compare(methods, names[reference]):
            compared.setdefault(line.name, line)
    told = {run.label for some in found.values() for run in some}
    lines = [
        BesidePaper(compared[row.name], names[row.reference], row.scores)
        for row in rows
    ]
    return lines, join_labels(*sorted(told))


def write_table(study: Study, table: int, runs: int) -> str:
    """Writes table<N>.md, .csv and .tex of a study.

    Args:
        study: whose runs are evaluated.
        table: 1, 2 or 3.
        runs: seeds 0 to runs − 1.

    Returns:
        The Markdown.
    """
    lines, label = table_lines(study, table, runs)
    title = _TITLES[table]
    texts = {
        "md": paper_comparison.markdown(lines, f"Table {table}: {title}", label),
        "csv": paper_comparison.to_csv(lines, label),
        "tex": paper_comparison.latex(lines, title, label, key=f"table{table}"),
    }
    for ending, text in texts.items():
        with replacing(study.workdir / f"table{table}.{ending}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    return texts["md"]
