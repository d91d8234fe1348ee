"""Comparison of methods over several runs, with paired differences to a reference."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf import labels
from advance_tf.checksums import verify
from advance_tf.csv_tables import read_table
from advance_tf.files import reading
from advance_tf.metrics.bootstrap import paired_difference
from advance_tf.metrics.scores import confusion_matrix, weighted_scores
from advance_tf.metrics.tables import markdown_table

PREDICTIONS = "predictions.csv"
SCORES = ("precision", "recall", "f_score")
Difference = tuple[float, float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one run on one split.

    Attributes:
        stems: names of the pairs, in the order of the file, [n].
        sites: sites of the pairs, [n].
        true: true scenes, int [n].
        predicted: predicted scenes, int [n].
        label: notice about the data that reports show, "" for none.
    """

    stems: tuple[str, ...]
    sites: tuple[str, ...]
    true: np.ndarray
    predicted: np.ndarray
    label: str


@dataclasses.dataclass(frozen=True)
class Row:
    """Scores of one method over its runs, and its difference to the reference.

    Attributes:
        name: name of the method.
        runs: number of runs.
        mean: precision, recall, f_score → mean over the runs, in [0, 1].
        deviation: the same → standard deviation over the runs (n − 1).
        difference: mean F minus that of the reference: value, lower and upper end
            of the interval over sites; None for the reference itself.
        over_runs: the same with an interval over sites and runs; None where either
            method has a single run, which does not sample the randomness of
            training.
    """

    name: str
    runs: int
    mean: Mapping[str, float]
    deviation: Mapping[str, float]
    difference: Difference | None
    over_runs: Difference | None = None


_PREDICTIONS = "contain the predictions of an evaluation"


def read_predictions(path: pathlib.Path) -> Predictions:
    """Reads the predictions.csv of an evaluation.

    Args:
        path: path of the file.

    Returns:
        Stems, sites, true and predicted scenes.

    Raises:
        ValueError: the file is missing, has another format or differs from its
            recorded checksum.
    """
    names = labels.scenes()
    if not path.is_file():
        raise ValueError(
            f"{path} must contain the predictions of an evaluation; it does not exist. "
            "Run `advance evaluate` first."
        )
    verify(path)
    rows = [row.values for row in read_table(path).rows]
    with reading(path, _PREDICTIONS, "Run `advance evaluate` again."):
        return Predictions(
            stems=tuple(row["stem"] for row in rows),
            sites=tuple(row["site"] for row in rows),
            true=np.array([names.index(row["scene"]) for row in rows]),
            predicted=np.array([names.index(row["predicted"]) for row in rows]),
            label=rows[0].get("label", "") if rows else "",
        )


def compare(
    methods: Mapping[str, Sequence[Predictions]], reference: str, *, samples: int = 1000
) -> list[Row]:
    """Scores of every method, and paired differences of weighted F.

    Args:
        methods: name → predictions of its runs, all of the same samples.
        reference: name of the method to compare with.
        samples: number of resamples over sites.

    Returns:
        One row for each method, in the order of `methods`.

    Raises:
        ValueError: `reference` is not among the methods, or the samples differ.

    Example:
        >>> stems = ("00001", "00002", "00003", "00004")
        >>> true = np.array([0, 0, 1, 1])
        >>> def run(predicted):
        ...     return Predictions(stems, stems, true, np.array(predicted), "")
        >>> methods = {"image": [run([0, 1, 1, 0])], "both": [run([0, 0, 1, 1])]}
        >>> image, both = compare(methods, "image")
        >>> both.mean["f_score"], both.difference[0]
        (1.0, 0.5)
    """
    if reference not in methods:
        raise ValueError(
            f"reference must be one of {', '.join(methods)}; received {reference!r}."
        )
    base = methods[reference][0]
    for name, runs in methods.items():
        if any(run.stems != base.stems for run in runs):
            raise ValueError(
                "All methods must be evaluated on the same samples; those of "
                f"'{name}' differ from those of '{reference}'. Use one manifest."
            )
    return [_row(name, methods, reference, samples) for name in methods]


def _row(
    name: str,
    methods: Mapping[str, Sequence[Predictions]],
    reference: str,
    samples: int,
) -> Row:
    runs, base = methods[name], methods[reference]
    scores = [
        weighted_scores(confusion_matrix(run.true, run.predicted, len(labels.scenes())))
        for run in runs
    ]
    columns = {score: [float(run[score]) for run in scores] for score in SCORES}
    row = Row(
        name,
        len(runs),
        {score: float(np.mean(values)) for score, values in columns.items()},
        {
            score: float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
            for score, values in columns.items()
        },
        None,
    )
    if name == reference:
        return row
    several = min(len(runs), len(base)) > 1
    return dataclasses.replace(
        row,
        difference=_f_difference(runs, base, samples, resample_runs=False),
        over_runs=(
            _f_difference(runs, base, samples, resample_runs=True) if several else None
        ),
    )


def _f_difference(
    runs: Sequence[Predictions],
    base: Sequence[Predictions],
    samples: int,
    *,
    resample_runs: bool,
) -> Difference:
    """Difference of weighted F between runs and those of the reference."""
    value, low, high = paired_difference(
        runs[0].true,
        np.stack([run.predicted for run in runs]),
        np.stack([run.predicted for run in base]),
        runs[0].sites,
        lambda confusion: weighted_scores(confusion)["f_score"],
        samples=samples,
        classes=len(labels.scenes()),
        resample_runs=resample_runs,
    )
    return float(value), float(low), float(high)


def score_cell(mean: float, deviation: float) -> str:
    """Formats a score as `72.71 ± 0.76` percent; without ± for a single run.

    Args:
        mean: mean over runs, in [0, 1].
        deviation: standard deviation over runs, NaN for one run.

    Returns:
        The text of a table cell.

    Example:
        >>> score_cell(0.7271, 0.0076), score_cell(0.7271, float("nan"))
        ('72.71 ± 0.76', '72.71')
    """
    shown = f"{100 * mean:.2f}"
    return shown if np.isnan(deviation) else f"{shown} ± {100 * deviation:.2f}"


def difference_cell(difference: Difference | None) -> str:
    """Formats a difference as `+1.87 (+0.42 to +3.10)` points.

    Args:
        difference: value, lower and upper end in [-1, 1]; None for the reference.

    Returns:
        The text of a table cell, "reference" for None.
    """
    if difference is None:
        return "reference"
    value, low, high = (100 * part for part in difference)
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def markdown(rows: Sequence[Row], reference: str, label: str = "") -> str:
    """The comparison as a Markdown table, in percent.

    Args:
        rows: rows of `compare`.
        reference: name of the reference, for the heading.
        label: notice about the data, above the table.

    Returns:
        Lines with mean ± deviation over runs, and the difference of F with its 95 %
        interval over sites.
    """
    lines = [f"> **{label}**", ""] if label else []
    header = ["method", "runs", "precision", "recall", "F", f"F − {reference} (95 %)"]
    cells = [
        [
            row.name,
            row.runs,
            *(score_cell(row.mean[score], row.deviation[score]) for score in SCORES),
            difference_cell(row.difference),
        ]
        for row in rows
    ]
    return "\n".join([*lines, markdown_table(header, cells)])
