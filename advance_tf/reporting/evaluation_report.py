"""The files of an evaluation: JSON, CSV, Markdown, and plots."""

import dataclasses
import io
import json
import logging
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from advance_tf import labels
from advance_tf.checksums import file_sha256, replacing_checked, verify
from advance_tf.csv_tables import read_table
from advance_tf.files import reading, replacing
from advance_tf.inference.evaluation import run_names
from advance_tf.metrics import tables
from advance_tf.metrics.comparison import PREDICTIONS
from advance_tf.metrics.epochs import ScoresOverEpochs, scores_over_epochs
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.runs.workdir import Run
from advance_tf.training.callbacks import BEST_WEIGHTS, LOG

METRICS = "metrics.json"
EVENTS = "events.npz"
_PLOTS = ("confusion.png", "curves.png")

_log = logging.getLogger(__name__)


def read_details(path: pathlib.Path, way_out: str) -> dict[str, Any]:
    """Reads the details of an evaluation, such as the hash of its weights.

    Args:
        path: path of its metrics.json.
        way_out: sentence of the error: how to get metrics that are not damaged.

    Returns:
        `Evaluation.details`, as JSON values.

    Raises:
        ValueError: the file is damaged.
    """
    verify(path)
    with reading(path, "hold the metrics of an evaluation", way_out):
        return dict(json.loads(path.read_text(encoding="utf-8"))["details"])


def check_evaluated_weights(workdir: pathlib.Path, split: str) -> None:
    """Checks that the evaluation of a run is that of its weights.

    Args:
        workdir: folder of the run.
        split: split of the evaluation.

    Raises:
        ValueError: the run has been trained since. Nothing is raised where there are
            no weights, no metrics, or metrics of version 0.1, which do not state them.
    """
    path = workdir / "evaluation" / split / METRICS
    weights = workdir / BEST_WEIGHTS
    if not (path.is_file() and weights.is_file()):
        return
    again = "Run `advance evaluate` again."
    evaluated = read_details(path, again).get("weights_sha256")
    if evaluated and evaluated != (sha256 := file_sha256(weights)):
        raise ValueError(
            f"{path.parent} must be the evaluation of {weights}, of SHA-256 "
            f"{sha256[:16]}; it is one of other weights, {evaluated[:16]}. {again}"
        )


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Converts an evaluation without its samples to JSON values.

    Args:
        evaluation: such as one of `evaluate`.

    Returns:
        `label`, `split`, `pairs`, `sites`, `weighted` (score → value, low,
        high), `baseline`, `per_scene`, `confusion`, `intervals` and `details`;
        null where a value is not defined.
    """
    return {
        "label": evaluation.label,
        "split": evaluation.split,
        "pairs": len(evaluation.stems),
        "sites": len(set(evaluation.sites)),
        "weighted": {
            name: _defined(dataclasses.asdict(estimate))
            for name, estimate in evaluation.weighted.items()
        },
        "baseline": {
            "scene": evaluation.baseline_scene,
            "f_score": evaluation.baseline_f_score,
        },
        "per_scene": [
            _defined(dataclasses.asdict(row)) for row in evaluation.per_scene
        ],
        "confusion": {
            "scenes": list(evaluation.scenes),
            "counts": evaluation.confusion.tolist(),
        },
        "intervals": {
            "level": evaluation.level,
            "method": "percentile bootstrap over sites",
            "resamples": evaluation.resamples,
            "seed": evaluation.seed,
        },
        "details": dict(evaluation.details),
    }


def _defined(values: Any) -> Any:
    """Replaces NaN, which JSON lacks, by None."""
    if isinstance(values, Mapping):
        return {name: _defined(value) for name, value in values.items()}
    if isinstance(values, float) and math.isnan(values):
        return None
    return values


def _events_npz(evaluation: Evaluation) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        label=np.array(evaluation.label),
        source=np.array(evaluation.event_source),
        stems=np.array(evaluation.stems),
        sites=np.array(evaluation.sites),
        scenes=np.array([evaluation.scenes[k] for k in evaluation.true]),
        event_probs=np.asarray(evaluation.event_probs),
        event_mids=np.array([event.mid for event in labels.events()]),
        event_names=np.array([event.name for event in labels.events()]),
    )
    return buffer.getvalue()


def write_report(
    directory: str | pathlib.Path,
    evaluation: Evaluation,
    pictures: Mapping[str, bytes] | None = None,
) -> None:
    """Writes an evaluation: metrics.json, report.md, three CSV files, events.npz.

    Each file is complete or absent. metrics.json is removed first and written
    last, so that a folder with metrics.json contains one evaluation, not parts of
    two. The checksums of the files that are read back are recorded. Other files in
    the folder remain.

    - metrics.json: see `metrics`.
    - report.md: scores, table per scene and confusion matrix.
    - scenes.csv: one line per scene, scores with the ends of their intervals.
    - confusion.csv: one line per true scene, one column per predicted scene.
    - predictions.csv: stem, site, scene, predicted, one probability per scene.
    - events.npz: when there are event probabilities; `event_probs` [n, 527]
      float32 with `stems`, `sites`, `scenes`, `event_mids`, `event_names`.

    Every file contains the label of the evaluation; CSV files have a last column
    `label` when the label is not empty.

    Args:
        directory: folder to write, created if it does not exist.
        evaluation: such as one of `evaluate`.
        pictures: file name, such as "confusion.png", → contents of further files.
    """
    directory = pathlib.Path(directory)
    (directory / METRICS).unlink(missing_ok=True)
    contents = {
        "report.md": tables.report(evaluation, tuple(pictures or ())).encode(),
        "scenes.csv": tables.scenes_csv(evaluation).encode(),
        "confusion.csv": tables.confusion_csv(evaluation).encode(),
        PREDICTIONS: tables.predictions_csv(evaluation).encode(),
        **(pictures or {}),
    }
    if evaluation.event_probs is not None:
        contents[EVENTS] = _events_npz(evaluation)
    else:
        (directory / EVENTS).unlink(missing_ok=True)
    values = json.dumps(metrics(evaluation), indent=2, allow_nan=False)
    contents[METRICS] = f"{values}\n".encode()
    for name, content in contents.items():
        write = replacing_checked if name in (METRICS, PREDICTIONS) else replacing
        with write(directory / name) as temporary:
            temporary.write_bytes(content)


def summary(evaluation: Evaluation) -> str:
    """Formats the scores of an evaluation for the terminal, the label first.

    Args:
        evaluation: such as one of `evaluate`.

    Returns:
        Lines of text, without a newline at the end.

    >>> from advance_tf.metrics.evaluation import evaluate_predictions
    >>> evaluation = evaluate_predictions(
    ...     ["00001", "00002"], ["00001", "00002"], [0, 1], np.eye(13)[:2]
    ... )
    >>> summary(evaluation).splitlines()[1].split()
    ['Weighted', 'precision', '100.00', '(100.00', 'to', '100.00)']
    """
    lines = [f"*** {evaluation.label} ***"] if evaluation.label else []
    lines.append(tables.sample_line(evaluation))
    for name, title in tables.TITLES.items():
        cell = tables.percent_cell(evaluation.weighted[name])
        lines.append(f"  {title:<19}{cell}")
    lines.append(f"  {'Majority class F':<19}{tables.baseline_cell(evaluation)}")
    inputs = evaluation.details.get("inputs")
    if isinstance(inputs, Mapping) and inputs:
        # A model with modality_dropout.
        scores = ", ".join(f"{k} {100 * v['f_score']:.2f}" for k, v in inputs.items())
        lines.append(f"  Weighted F by input: {scores}")
    return "\n".join(lines)


def write_evaluation(
    run: Run | str | pathlib.Path,
    evaluation: Evaluation,
    output_dir: str | pathlib.Path | None = None,
) -> pathlib.Path:
    """Writes an evaluation of a run with its plots.

    The plots need the extra `report`; without it a warning is logged and the other
    files are written.

    Args:
        run: a loaded run, or its folder.
        evaluation: evaluation of the run.
        output_dir: folder to write; by default <workdir>/evaluation/<split>.

    Returns:
        The folder.
    """
    workdir = run.workdir if isinstance(run, Run) else pathlib.Path(run)
    folder = pathlib.Path(output_dir or workdir / "evaluation" / evaluation.split)
    evaluation = _with_epochs(workdir, evaluation)
    pictures = _plots(workdir, evaluation)
    if not pictures:
        # Plots of an earlier evaluation do not belong to this one.
        for name in _PLOTS:
            (folder / name).unlink(missing_ok=True)
    write_report(folder, evaluation, pictures)
    return folder


def _with_epochs(workdir: pathlib.Path, evaluation: Evaluation) -> Evaluation:
    """Adds the scores over epochs to the details of an evaluation of the test split."""
    found = run_over_epochs(workdir)
    if found is None or evaluation.split != "test":
        return evaluation
    details = {**evaluation.details, "over_epochs": dataclasses.asdict(found)}
    return dataclasses.replace(evaluation, details=details)


def run_over_epochs(workdir: pathlib.Path) -> ScoresOverEpochs | None:
    """The test scores of a run over its best epoch and the five after it.

    Args:
        workdir: folder of a run.

    Returns:
        See `scores_over_epochs`; None for a run without `test_epochs`.
    """
    path = workdir / LOG
    if not path.exists():
        return None
    verify(path)
    columns, rows = read_table(path)
    with reading(path, "be the log of a run", "Restore it, or remove it."):
        log = {
            name: [float(row.values[name] or "nan") for row in rows] for name in columns
        }
        return scores_over_epochs(log)


def _plots(workdir: pathlib.Path, evaluation: Evaluation) -> dict[str, bytes]:
    """The plots of an evaluation by file name, none without matplotlib."""
    try:
        from advance_tf.reporting.plots import run_pictures
    except ImportError as error:
        _log.warning("%s are not written: %s", " and ".join(_PLOTS), error)
        return {}
    return run_pictures(
        workdir / LOG,
        evaluation.confusion,
        evaluation.scenes,
        f"{run_names([workdir])[0]}, {evaluation.split}",
        evaluation.label,
    )
