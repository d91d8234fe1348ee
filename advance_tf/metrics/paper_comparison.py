"""Our runs beside a paper's figures: Markdown, CSV and LaTeX."""

import csv
import dataclasses
import io
import re
from collections.abc import Mapping, Sequence

from advance_tf.metrics.comparison import (
    SCORES,
    Difference,
    Row,
    difference_cell,
    score_cell,
)
from advance_tf.metrics.tables import markdown_table

_TITLES = {"precision": "P", "recall": "R", "f_score": "F"}
# Longer signs before their beginnings.
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
class BesidePaper:
    """One line of a table: what we measured and what the paper reports.

    Attributes:
        row: our scores over runs.
        reference: name of the row that differences are to.
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


def _cells(line: BesidePaper) -> list[str]:
    row = line.row
    return [
        row.name,
        str(row.runs),
        *(score_cell(row.mean[score], row.deviation[score]) for score in SCORES),
        *(score_cell(*line.paper[score]) for score in SCORES),
        difference_cell(row.difference),
        _ends(row.over_runs),
    ]


def _ends(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return f"{100 * difference[1]:+.2f} to {100 * difference[2]:+.2f}"


def markdown(lines: Sequence[BesidePaper], title: str, label: str = "") -> str:
    """The table as Markdown, in percent.

    Args:
        lines: of the table.
        title: above it.
        label: what must be said of the data, "" for nothing.

    Returns:
        Mean ± deviation over runs beside the paper's, and the difference in F to
        each row's reference, which is named below, with both intervals.
    """
    references = dict.fromkeys(line.reference for line in lines)
    parts = [f"## {title}", ""]
    if label:
        parts += [f"> **{label}**", ""]
    parts.append(markdown_table(_header(), map(_cells, lines)))
    parts += ["", f"L_s of each row: {'; '.join(references)}."]
    return "\n".join(parts) + "\n"


def to_csv(lines: Sequence[BesidePaper], label: str = "") -> str:
    """The table for machines: scores in [0, 1], empty where there is none."""
    header = ["method", "reference", "runs"]
    for score in SCORES:
        header += [score, f"{score}_deviation"]
        header += [f"paper_{score}", f"paper_{score}_deviation"]
    kinds = ("difference", "low", "high", "low_over_runs", "high_over_runs")
    header += [f"f_score_{kind}" for kind in kinds] + ["label"]
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
    """Text for LaTeX; each sign is replaced once, what LaTeX does not know by "?"."""
    text = _MINUS.sub("−", text)
    out, place = "", 0
    while place < len(text):
        for plain, latex in _LATEX.items():
            if text.startswith(plain, place):
                out += latex
                place += len(plain)
                break
        else:
            # Letters with accents are known since 2018, other alphabets are not.
            out += text[place] if ord(text[place]) < 0x180 else "?"
            place += 1
    return out


def latex(
    lines: Sequence[BesidePaper], title: str, label: str = "", key: str = "table"
) -> str:
    """The table as a LaTeX `table*` for the packages booktabs and graphicx.

    Args:
        lines: of the table.
        title: its caption, without a number.
        label: what must be said of the data; ends the caption.
        key: for `\\ref`.

    Returns:
        LaTeX, every special sign escaped.
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
