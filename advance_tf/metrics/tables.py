"""An evaluation as text: CSV and Markdown."""

import csv
import io
import math
from collections.abc import Iterable, Sequence

from advance_tf.metrics.evaluation import Estimate, Evaluation

TITLES = {
    "precision": "Weighted precision",
    "recall": "Weighted recall",
    "f_score": "Weighted F",
    "accuracy": "Accuracy",
}


def percent_cell(estimate: Estimate) -> str:
    """A score as `72.71 (70.15 to 75.02)` percent; a dash where undefined."""
    if math.isnan(estimate.low):
        return "–"
    value, low, high = (
        f"{100 * score:.2f}" for score in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high})"


def baseline_cell(evaluation: Evaluation) -> str:
    """Weighted F in percent of always answering with the most frequent scene."""
    score = 100 * evaluation.baseline_f_score
    return f"{score:.2f} (always {evaluation.baseline_scene})"


def sample_line(evaluation: Evaluation) -> str:
    """What was evaluated and what the intervals are."""
    return (
        f"Split '{evaluation.split}': {len(evaluation.stems)} pairs of "
        f"{len(set(evaluation.sites))} sites; percent, with {evaluation.level:.0%} "
        f"intervals by bootstrap over sites ({evaluation.resamples} resamples)"
    )


def _csv(header: list[str], rows: list[list], label: str) -> str:
    """CSV text; a label becomes a last column of every line."""
    if label:
        header = [*header, "label"]
        rows = [[*row, label] for row in rows]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()


def scenes_csv(evaluation: Evaluation) -> str:
    """One line per scene; scores in [0, 1], empty where not defined."""
    header = ["scene", "support", "sites", "predicted"]
    for name in ("precision", "recall", "f_score"):
        header += [name, f"{name}_low", f"{name}_high"]
    rows = []
    for row in evaluation.per_scene:
        cells = [row.scene, row.support, row.sites, row.predicted]
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

    Nine digits bring every float32 back exactly.
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


def markdown_table(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A Markdown table: first column to the left, the others to the right."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def report(evaluation: Evaluation, pictures: tuple[str, ...] = ()) -> str:
    """The evaluation as a Markdown page.

    Args:
        evaluation: what to show.
        pictures: file names beside the page, shown at its end.

    Returns:
        Markdown; the label, if there is one, stands under the title.
    """
    parts = [f"# Evaluation: {evaluation.split}"]
    if evaluation.label:
        parts.append(f"> **{evaluation.label}**")
    parts.append(f"{sample_line(evaluation)}.")
    overall = [
        [title, percent_cell(evaluation.weighted[name])]
        for name, title in TITLES.items()
    ]
    overall.append(["F of the majority class", baseline_cell(evaluation)])
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
    parts.append("A dash: nothing there, or nothing predicted, to measure it on.")
    parts.append("## Confusion matrix")
    parts.append("Rows are true scenes, columns predicted ones.")
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
    parts += [f"![{name}]({name})" for name in pictures]
    return "\n\n".join(parts) + "\n"
