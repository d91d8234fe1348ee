"""Tables of an evaluation as CSV and Markdown."""

import csv
import html
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from advance_tf.metrics.evaluation import Estimate, Evaluation

TITLES = {
    "precision": "Weighted precision",
    "recall": "Weighted recall",
    "f_score": "Weighted F",
    "accuracy": "Accuracy",
}


def percent_cell(estimate: Estimate) -> str:
    """Formats a score as `72.71 (70.15 to 75.02)` percent; a dash where undefined.

    Args:
        estimate: score and interval, in [0, 1].

    Returns:
        The text of a table cell.

    Example:
        >>> percent_cell(Estimate(0.7271, 0.7015, 0.7502))
        '72.71 (70.15 to 75.02)'
    """
    if math.isnan(estimate.low):
        return "–"
    value, low, high = (
        f"{100 * score:.2f}" for score in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high})"


def baseline_cell(evaluation: Evaluation) -> str:
    """Formats the weighted F, in percent, of always predicting the majority scene."""
    score = 100 * evaluation.baseline_f_score
    return f"{score:.2f} (always {evaluation.baseline_scene})"


def sample_line(evaluation: Evaluation) -> str:
    """Describes the split, the number of samples and the kind of the intervals."""
    return (
        f"Split '{evaluation.split}': {len(evaluation.stems)} pairs of "
        f"{len(set(evaluation.sites))} sites; percent, with {evaluation.level:.0%} "
        f"intervals by bootstrap over sites ({evaluation.resamples} resamples)"
    )


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]], label: str) -> str:
    """CSV text; a label is added as the last column of every line."""
    if label:
        header = [*header, "label"]
        rows = [[*row, label] for row in rows]
    lines = [[csv_cell(cell) for cell in row] for row in (header, *rows)]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def csv_cell(cell: object) -> object:
    """Prevents a spreadsheet from executing text as a formula.

    Args:
        cell: a cell of any type.

    Returns:
        Text that begins like a formula with an apostrophe before it; other cells
        unchanged.

    Example:
        >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell("lake")
        ("'=1+1", '-0.5', 'lake')
    """
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        try:
            float(cell)
        except ValueError:
            return f"'{cell}"
    return cell


def markdown_text(text: object) -> str:
    r"""Escapes the characters of a text that Markdown or HTML interprets.

    Args:
        text: any value.

    Returns:
        Markdown on one line that shows the text.

    Example:
        >>> print(markdown_text("<b> | a_b"))
        &lt;b&gt; \| a_b
    """
    escaped = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*\[\]|])", r"\\\1", escaped)


def scenes_csv(evaluation: Evaluation) -> str:
    """One line per scene; scores in [0, 1], empty where undefined."""
    header = ["scene", "support", "sites", "predicted"]
    for name in ("precision", "recall", "f_score"):
        header += [name, f"{name}_low", f"{name}_high"]
    rows = []
    for row in evaluation.per_scene:
        cells: list[object] = [row.scene, row.support, row.sites, row.predicted]
        for estimate in (row.precision, row.recall, row.f_score):
            for score in (estimate.value, estimate.low, estimate.high):
                cells.append("" if math.isnan(score) else f"{score:.6f}")
        rows.append(cells)
    return _csv(header, rows, evaluation.label)


def confusion_csv(evaluation: Evaluation) -> str:
    """One line per true scene, one column of counts per predicted scene."""
    rows = [
        [scene, *counts]
        for scene, counts in zip(
            evaluation.scenes, evaluation.confusion.tolist(), strict=True
        )
    ]
    return _csv(["scene", *evaluation.scenes], rows, evaluation.label)


def predictions_csv(evaluation: Evaluation) -> str:
    """One line per pair: stem, site, scene, predicted, probability per scene.

    Nine significant digits represent every float32 exactly.
    """
    rows = [
        [
            stem,
            site,
            evaluation.scenes[true],
            evaluation.scenes[predicted],
            *(f"{prob:.9g}" for prob in probs),
        ]
        for stem, site, true, predicted, probs in zip(
            evaluation.stems,
            evaluation.sites,
            evaluation.true,
            evaluation.predicted,
            evaluation.scene_probs.tolist(),
            strict=True,
        )
    ]
    header = ["stem", "site", "scene", "predicted", *evaluation.scenes]
    return _csv(header, rows, evaluation.label)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table: first column left-aligned, the others right-aligned.

    Args:
        header: column names.
        rows: cells of each row, as many as there are columns.

    Returns:
        Markdown without a final line feed.

    Example:
        >>> print(markdown_table(["scene", "F"], [["beach", 0.5]]))
        | scene | F |
        | :-- | --: |
        | beach | 0.5 |
    """
    lines: list[Sequence[object]] = [header, [":--", *["--:"] * (len(header) - 1)]]
    lines += rows
    rules = lines[1]
    return "\n".join(
        f"| {' | '.join(map(str if cells is rules else markdown_text, cells))} |"
        for cells in lines
    )


def report(evaluation: Evaluation, images: tuple[str, ...] = ()) -> str:
    """The evaluation as a Markdown page.

    Args:
        evaluation: the evaluation to format.
        images: names of image files in the folder of the page, appended to it.

    Returns:
        Markdown; the label, if there is one, follows the title.
    """
    parts = [f"# Evaluation: {evaluation.split}"]
    if evaluation.label:
        parts.append(f"> **{markdown_text(evaluation.label)}**")
    parts.append(f"{sample_line(evaluation)}.")
    overall = [
        [title, percent_cell(evaluation.weighted[name])]
        for name, title in TITLES.items()
    ]
    overall.append(["F of the majority class", baseline_cell(evaluation)])
    inputs = evaluation.details.get("inputs")
    if isinstance(inputs, Mapping):
        # A model with modality_dropout.
        overall += [
            [f"F from {name}", f"{100 * scores['f_score']:.2f}"]
            for name, scores in inputs.items()
        ]
    parts.append(markdown_table(["Score", "%"], overall))
    parts.append("## Scenes")
    parts.append(
        markdown_table(
            ["Scene", "Pairs", "Sites", "Predicted", "Precision", "Recall", "F"],
            [
                [
                    row.scene,
                    row.support,
                    row.sites,
                    row.predicted,
                    *map(percent_cell, (row.precision, row.recall, row.f_score)),
                ]
                for row in evaluation.per_scene
            ],
        )
    )
    parts.append(
        "A dash marks an undefined score: the scene has no sample or no prediction."
    )
    parts.append("## Confusion matrix")
    parts.append("Rows are true scenes, columns are predicted scenes.")
    parts.append(
        markdown_table(
            ["", *evaluation.scenes],
            [
                [scene, *counts]
                for scene, counts in zip(
                    evaluation.scenes, evaluation.confusion.tolist(), strict=True
                )
            ],
        )
    )
    parts += [f"![{name}]({name})" for name in images]
    return "\n\n".join(parts) + "\n"
