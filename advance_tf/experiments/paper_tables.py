"""The tables of the paper: reported scores, recipes, and comparison with own runs."""

import csv
import dataclasses
import functools
import io
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence

from advance_tf.labels import asset_path
from advance_tf.metrics.comparison import (
    SCORES,
    Difference,
    Row,
    difference_cell,
    score_cell,
)
from advance_tf.metrics.tables import markdown_table

TABLES = (1, 2, 3)


@dataclasses.dataclass(frozen=True)
class PaperRow:
    """One row of a table of the paper.

    Attributes:
        name: inputs and objective.
        recipe: name of its recipe; rows with the same recipe share their runs.
        reference: recipe of L_s on the same inputs.
        scores: precision, recall, f_score → mean and deviation in [0, 1].
    """

    name: str
    recipe: str
    reference: str
    scores: Mapping[str, tuple[float, float]]


@functools.cache
def _rows() -> dict[int, tuple[PaperRow, ...]]:
    tables: dict[int, list[PaperRow]] = {table: [] for table in TABLES}
    path = asset_path("paper_tables.csv")
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            scores = {
                score: (float(row[score]) / 100, float(row[f"{score}_deviation"]) / 100)
                for score in SCORES
            }
            tables[int(row["table"])].append(
                PaperRow(row["row"], row["recipe"], row["reference"], scores)
            )
    return {table: tuple(rows) for table, rows in tables.items()}


def paper_rows(table: int, recipes: Collection[str] = ()) -> tuple[PaperRow, ...]:
    """Returns the rows of a table, preceded by L_s where the table omits it.

    Args:
        table: 1, 2 or 3.
        recipes: recipes of the rows; empty for all rows. Recipes of other tables have
            no effect.

    Returns:
        The rows in the paper's order; every row's reference is among them.

    Source: Tables 1 to 3 of the paper.

    >>> [row.name for row in paper_rows(3)][:2]
    ['both, L_s', 'both, L_E1 alone']
    """
    rows = _rows()[table]
    if recipes:
        chosen = [row for row in rows if row.recipe in recipes]
        kept = {*recipes, *(row.reference for row in chosen)}
        rows = tuple(row for row in rows if row.recipe in kept)
    present = {row.recipe for row in rows}
    references = dict.fromkeys(row.reference for row in rows)
    by_recipe = {row.recipe: row for table in _rows().values() for row in table}
    missing = (name for name in references if name not in present)
    return tuple(by_recipe[name] for name in missing) + rows


def recipe_path(recipe: str) -> pathlib.Path:
    """Returns the path of a recipe.

    Args:
        recipe: its name, such as "table1_event".

    Returns:
        The path of its file, see `read_recipe`.
    """
    return asset_path(f"recipes/{recipe}.flags")


_TITLES = {"precision": "P", "recall": "R", "f_score": "F"}
# The first match is used, so that "L_E1" precedes "L_E".
_LATEX = {
    "L_E1": "$L_{E1}$",
    "L_E2": "$L_{E2}$",
    "L_s": "$L_s$",
    "L_E": "$L_E$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "†": r"$^\dagger$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "%_&#${}"},
}
_MINUS = re.compile(r"-(?=\d)")


@dataclasses.dataclass(frozen=True)
class TableLine:
    """One line of a table: measured scores and those that the paper reports.

    Attributes:
        row: measured scores over runs.
        reference: name of the row that the differences refer to.
        paper: precision, recall, f_score → mean and deviation in [0, 1].
    """

    row: Row
    reference: str
    paper: Mapping[str, tuple[float, float]]


def _header() -> list[str]:
    return [
        "method",
        "runs",
        *(_TITLES[score] for score in SCORES),
        *(f"paper {_TITLES[score]}" for score in SCORES),
        "F − L_s (95 %, sites)",
        "(95 %, sites and runs)",
    ]


def _cells(line: TableLine) -> list[str]:
    row = line.row
    return [
        row.name,
        str(row.runs),
        *(score_cell(row.mean[score], row.deviation[score]) for score in SCORES),
        *(score_cell(*line.paper[score]) for score in SCORES),
        difference_cell(row.difference),
        _interval(row.over_runs),
    ]


def _interval(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return f"{100 * difference[1]:+.2f} to {100 * difference[2]:+.2f}"


def markdown(lines: Sequence[TableLine], title: str, label: str = "") -> str:
    """Formats the table as Markdown, in percent.

    Args:
        lines: lines of the table.
        title: heading of the table.
        label: text that must be stated about the data, "" for none.

    Returns:
        Mean ± deviation over runs, the paper's scores, and the difference in F to
        each row's reference with both intervals; the references are named below
        the table.
    """
    references = dict.fromkeys(line.reference for line in lines)
    parts = [f"## {title}", ""]
    if label:
        parts += [f"> **{label}**", ""]
    parts.append(markdown_table(_header(), map(_cells, lines)))
    parts += ["", f"L_s of each row: {'; '.join(references)}."]
    return "\n".join(parts) + "\n"


def to_csv(lines: Sequence[TableLine], label: str = "") -> str:
    """Formats the table as CSV, scores in [0, 1].

    Args:
        lines: lines of the table.
        label: text that must be stated about the data, "" for none.

    Returns:
        A header and one row for each line; undefined values are empty.
    """
    header = ["method", "reference", "runs"]
    for score in SCORES:
        header += [score, f"{score}_deviation"]
        header += [f"paper_{score}", f"paper_{score}_deviation"]
    fields = ("difference", "low", "high", "low_over_runs", "high_over_runs")
    header += [f"f_score_{field}" for field in fields] + ["label"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for line in lines:
        row = line.row
        numbers: list[float | None] = []
        for score in SCORES:
            numbers += [row.mean[score], row.deviation[score], *line.paper[score]]
        numbers += row.difference or (None,) * 3
        numbers += row.over_runs[1:] if row.over_runs else (None,) * 2
        shown = ["" if n is None or n != n else f"{n:.6f}" for n in numbers]
        writer.writerow([row.name, line.reference, row.runs, *shown, label])
    return buffer.getvalue()


def _escaped(text: str) -> str:
    """Text for LaTeX: special characters are escaped, unsupported ones become "?"."""
    text = _MINUS.sub("−", text)
    escaped, position = "", 0
    while position < len(text):
        for plain, latex in _LATEX.items():
            if text.startswith(plain, position):
                escaped += latex
                position += len(plain)
                break
        else:
            # LaTeX supports accented Latin letters since 2018, no other alphabets.
            escaped += text[position] if ord(text[position]) < 0x180 else "?"
            position += 1
    return escaped


def latex(
    lines: Sequence[TableLine], title: str, label: str = "", key: str = "table"
) -> str:
    r"""Formats the table as a LaTeX `table*` with booktabs and graphicx.

    Args:
        lines: lines of the table.
        title: its caption, without a number.
        label: text that must be stated about the data; ends the caption.
        key: suffix of its `\label`, for `\ref{tab:KEY}`.

    Returns:
        LaTeX with every special character escaped.
    """
    caption = _escaped(f"{title}. {label}" if label else title)
    header = _header()
    body = [" & ".join(map(_escaped, cells)) + r" \\" for cells in map(_cells, lines)]
    return "\n".join(
        [
            r"\begin{table*}",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{key}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            " & ".join(map(_escaped, header)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )
