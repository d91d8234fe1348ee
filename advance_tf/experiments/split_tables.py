"""Tables over repeated splits: comparison of the rows, Markdown, CSV and JSON."""

import csv
import dataclasses
import functools
import io
import json
import pathlib
from collections.abc import Mapping, Sequence

from advance_tf.data.layout import join_labels
from advance_tf.experiments.folds import site_ratio
from advance_tf.experiments.paper_tables import PaperRow, paper_rows
from advance_tf.experiments.repeated_splits import SplitStudy
from advance_tf.experiments.reproduction import TITLES, compare_rows, predictions_of
from advance_tf.experiments.scheduler import Job
from advance_tf.files import replacing
from advance_tf.metrics.comparison import (
    SCORES,
    Predictions,
    read_predictions,
    score_cell,
)
from advance_tf.metrics.repeated_splits import SplitRow, compare_over_splits
from advance_tf.metrics.tables import markdown_table


@dataclasses.dataclass(frozen=True)
class SplitLine:
    """One line of a table over splits.

    Attributes:
        paper: the row of the paper's table.
        reference: name of the row that the difference refers to.
        row: measured scores.
        weights: alpha and beta of each split, where they were searched.
    """

    paper: PaperRow
    reference: str
    row: SplitRow
    weights: tuple[tuple[float, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class SplitTable:
    """A table over splits.

    Attributes:
        table: 1, 2 or 3.
        lines: one for each row, in the paper's order.
        test_to_training: sites in test divided by sites in training.
        label: notice about the data.
    """

    table: int
    lines: tuple[SplitLine, ...]
    test_to_training: float
    label: str


def split_table(
    splits: Sequence[SplitStudy],
    table: int,
    jobs_of: Sequence[Sequence[Job]],
    *,
    samples: int = 1000,
) -> SplitTable:
    """Compares the rows of a table over splits.

    Args:
        splits: the studies of the splits.
        table: 1, 2 or 3.
        jobs_of: the evaluated jobs of each split; those of other tables are ignored,
            and rows without jobs are left out.
        samples: number of resamples of the bootstrap.

    Returns:
        The table.

    Raises:
        ValueError: an evaluation is missing.
    """
    rows = paper_rows(table, {job.recipe for jobs in jobs_of for job in jobs})
    of_recipe: dict[str, list[list[Job]]] = {
        row.recipe: [
            [job for job in jobs if job.recipe == row.recipe] for jobs in jobs_of
        ]
        for row in rows
    }
    predictions: dict[str, list[list[Predictions]]] = {
        recipe: [[read_predictions(predictions_of(job)) for job in jobs] for jobs in of]
        for recipe, of in of_recipe.items()
    }
    ratio = site_ratio([split.manifest for split in splits])
    names = {row.recipe: row.name for row in rows}
    compare = functools.partial(
        compare_over_splits, test_to_training=ratio, samples=samples
    )
    compared = compare_rows(rows, predictions, compare)
    data_labels = {
        run.label for of in predictions.values() for runs in of for run in runs
    }
    lines = tuple(
        SplitLine(
            row, names[row.reference], compared[row.name], _weights(of_recipe, row)
        )
        for row in rows
    )
    return SplitTable(table, lines, ratio, join_labels(*sorted(data_labels)))


def _weights(
    of_recipe: Mapping[str, Sequence[Sequence[Job]]], row: PaperRow
) -> tuple[tuple[float, float], ...]:
    """Alpha and beta of each split; empty for a row without transfer."""
    configs = [jobs[0].config.transfer for jobs in of_recipe[row.recipe]]
    if configs[0].transfer == "none":
        return ()
    return tuple((config.alpha, config.beta) for config in configs)


_NOTES = (
    "Mean ± standard deviation over splits of the mean over the seeds of a split, in "
    "percent, weighted over scenes. Differences are in weighted F, paired by split, "
    "seed and site. t: corrected resampled t-test over splits (Nadeau and Bengio, "
    "{ratio:.3f} test sites for each training site), 95 % interval and p. Bootstrap: "
    "95 % interval over sites, splits and seeds. Detectable: the least difference that "
    "the t-test finds with a power of 80 % at a significance level of 5 %."
)


def markdown(table: SplitTable) -> str:
    """Formats a table over splits as Markdown, in percent.

    Args:
        table: as returned by `split_table`.

    Returns:
        Heading, label, table and notes.
    """
    first = table.lines[0].row
    title = f"Table {table.table} over {first.splits} splits: {TITLES[table.table]}"
    parts = [f"## {title}", ""]
    if table.label:
        parts += [f"> **{table.label}**", ""]
    header = [
        *("method", "runs", "P", "R", "F", "paper F", "F − L_s (95 %, t)", "p"),
        *("(95 %, bootstrap)", "better in", "detectable", "α; β"),
    ]
    parts.append(markdown_table(header, map(_cells, table.lines)))
    references = dict.fromkeys(line.reference for line in table.lines)
    notes = _NOTES.format(ratio=table.test_to_training)
    parts += ["", f"{notes} L_s of each row: {'; '.join(references)}."]
    return "\n".join(parts) + "\n"


def _cells(line: SplitLine) -> list[str]:
    row = line.row
    cells = [
        row.name,
        str(row.runs),
        *(score_cell(row.mean[score], row.deviation[score]) for score in SCORES),
        score_cell(*line.paper.scores["f_score"]),
    ]
    difference = row.difference
    if difference is None:
        return [*cells, "reference", "", "", "", "", ""]
    t = difference.t
    if t.standard_error == t.mean == 0:
        return [*cells, "+0.00, equal", "", "", "", "", _weights_cell(line.weights)]
    return [
        *cells,
        f"{100 * t.mean:+.2f} ({100 * t.low:+.2f} to {100 * t.high:+.2f})",
        f"{t.p_value:.3f}",
        f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}",
        f"{difference.better} of {row.splits}",
        f"{100 * t.detectable:.2f}",
        _weights_cell(line.weights),
    ]


def _weights_cell(weights: Sequence[tuple[float, float]]) -> str:
    """The values of α and β in the splits, each once."""
    alphas, betas = zip(*weights, strict=True) if weights else ((), ())
    texts = [
        ", ".join(f"{value:g}" for value in sorted(set(values)))
        for values in (alphas, betas)
    ]
    return "; ".join(texts) if weights else ""


def to_csv(table: SplitTable) -> str:
    """Formats a table over splits as CSV, scores in [0, 1].

    Args:
        table: as returned by `split_table`.

    Returns:
        A header and one row for each line; undefined values are empty.
    """
    rows = [_record(line) for line in table.lines]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*rows[0], "label"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shown = {
            name: f"{value:.6f}" if isinstance(value, float) else value
            for name, value in row.items()
        }
        writer.writerow(shown | {"label": table.label})
    return buffer.getvalue()


def _record(line: SplitLine) -> dict[str, object]:
    row = line.row
    record: dict[str, object] = {
        "method": row.name,
        "recipe": line.paper.recipe,
        "reference": line.reference,
        "splits": row.splits,
        "runs": row.runs,
    }
    for score in SCORES:
        mean, deviation = line.paper.scores[score]
        record |= {score: row.mean[score], f"{score}_deviation": row.deviation[score]}
        record |= {f"paper_{score}": mean, f"paper_{score}_deviation": deviation}
    found = row.difference
    t = found and found.t
    record |= {
        "difference": t and t.mean,
        "standard_error": t and t.standard_error,
        "t_low": t and t.low,
        "t_high": t and t.high,
        "p_value": t and t.p_value,
        "bootstrap_low": found and found.low,
        "bootstrap_high": found and found.high,
        "better_splits": found and found.better,
        "detectable": t and t.detectable,
    }
    return record


def to_json(table: SplitTable) -> str:
    """Formats a table over splits as JSON, with weighted F of each split.

    Args:
        table: as returned by `split_table`.

    Returns:
        JSON text; scores in [0, 1].
    """
    rows = [
        _record(line)
        | {
            "f_scores": line.row.f_scores.tolist(),
            "weights": [{"alpha": alpha, "beta": beta} for alpha, beta in line.weights],
        }
        for line in table.lines
    ]
    contents = {
        "table": table.table,
        "label": table.label,
        "test_to_training": table.test_to_training,
        "rows": rows,
    }
    return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"


def write_split_table(
    workdir: pathlib.Path, name: str, table: SplitTable, note: str = ""
) -> str:
    """Writes a table over splits as Markdown, CSV and JSON.

    Args:
        workdir: folder to write to.
        name: name of the files without ending, such as "table1_splits10".
        table: as returned by `split_table`.
        note: a paragraph below the Markdown table, "" for none.

    Returns:
        The contents of the Markdown file.
    """
    shown = markdown(table) + (f"\n{note}\n" if note else "")
    texts = {"md": shown, "csv": to_csv(table), "json": to_json(table)}
    for ending, text in texts.items():
        with replacing(workdir / f"{name}.{ending}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    return texts["md"]
