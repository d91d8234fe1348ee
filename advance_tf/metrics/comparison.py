"""Several runs of several methods, side by side and against a reference."""

import csv
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf import labels
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
        stems: of the samples, in the order of the file.
        sites: of the samples.
        true: scene indices [n].
        predicted: scene indices [n].
        label: what the report says of the data, "" for nothing.
    """

    stems: tuple[str, ...]
    sites: tuple[str, ...]
    true: np.ndarray
    predicted: np.ndarray
    label: str


@dataclasses.dataclass(frozen=True)
class Row:
    """One method: scores over its runs, and its difference to the reference.

    Attributes:
        name: of the method.
        runs: number of runs.
        mean: precision, recall, f_score → mean over the runs, in [0, 1].
        deviation: the same → standard deviation over the runs (n − 1).
        difference: of the mean F to the reference's: value, lower and upper end
            of the interval over sites; None for the reference itself.
        over_runs: the same with the interval over sites and runs; None where one
            of both has a single run, which tells nothing of training's chance.
    """

    name: str
    runs: int
    mean: Mapping[str, float]
    deviation: Mapping[str, float]
    difference: Difference | None
    over_runs: Difference | None = None


def read_predictions(path: pathlib.Path) -> Predictions:
    """Reads predictions.csv of `python -m advance_tf.evaluate`.

    Args:
        path: of the file.

    Returns:
        Stems, sites, true and predicted scenes.

    Raises:
        ValueError: the file is missing or not of that form.
    """
    names = labels.scenes()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return Predictions(
            stems=tuple(row["stem"] for row in rows),
            sites=tuple(row["site"] for row in rows),
            true=np.array([names.index(row["scene"]) for row in rows]),
            predicted=np.array([names.index(row["predicted"]) for row in rows]),
            label=rows[0].get("label", "") if rows else "",
        )
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} must be predictions of `python -m advance_tf.evaluate`; "
            f"reading it failed: {error!r}. Evaluate the run first."
        ) from error


def compare(
    methods: Mapping[str, Sequence[Predictions]], reference: str, *, samples: int = 1000
) -> list[Row]:
    """Scores of every method, and paired differences of weighted F.

    Args:
        methods: name → predictions of its runs, all of the same samples.
        reference: name of the method to compare with.
        samples: resamples over sites.

    Returns:
        One row for each method, in their order.

    Raises:
        ValueError: the reference is none of them, or samples differ.
    """
    if reference not in methods:
        raise ValueError(
            f"--reference must be one of {', '.join(methods)}; received {reference!r}."
        )
    base = methods[reference][0]
    for name, runs in methods.items():
        if any(run.stems != base.stems for run in runs):
            raise ValueError(
                "Methods are compared on the same samples; those of "
                f"'{name}' differ from those of '{reference}'. Use one manifest."
            )
    return [
        _row(name, runs, methods, reference, samples) for name, runs in methods.items()
    ]


def _row(name, runs, methods, reference, samples) -> Row:
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
    compared = methods[reference]
    several = min(len(runs), len(compared)) > 1
    return dataclasses.replace(
        row,
        difference=_difference(runs, compared, samples, False),
        over_runs=_difference(runs, compared, samples, True) if several else None,
    )


def _difference(runs, compared, samples, resample_runs) -> Difference:
    value, low, high = paired_difference(
        runs[0].true,
        np.stack([run.predicted for run in runs]),
        np.stack([run.predicted for run in compared]),
        runs[0].sites,
        lambda confusion: weighted_scores(confusion)["f_score"],
        samples=samples,
        classes=len(labels.scenes()),
        resample_runs=resample_runs,
    )
    return float(value), float(low), float(high)


def score_cell(mean: float, deviation: float) -> str:
    """A score as `72.71 ± 0.76` percent; without ± for a single run.

    Args:
        mean: in [0, 1].
        deviation: standard deviation over runs, NaN for one run.
    """
    shown = f"{100 * mean:.2f}"
    return shown if np.isnan(deviation) else f"{shown} ± {100 * deviation:.2f}"


def difference_cell(difference: Difference | None) -> str:
    """A difference as `+1.87 (+0.42 to +3.10)` points; "reference" for None."""
    if difference is None:
        return "reference"
    value, low, high = (100 * part for part in difference)
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def markdown(rows: Sequence[Row], reference: str, label: str = "") -> str:
    """The comparison as a Markdown table, in percent.

    Args:
        rows: of `compare`.
        reference: its name, for the heading.
        label: what to say of the data above the table.

    Returns:
        Lines with mean ± deviation over runs and F's difference with its 95 %
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
