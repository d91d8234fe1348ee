"""The files of an evaluation: JSON and CSV for machines, Markdown for people."""

import dataclasses
import io
import json
import math
import pathlib
from collections.abc import Mapping

import numpy as np

from advance_tf import labels
from advance_tf.files import replacing
from advance_tf.metrics import tables
from advance_tf.metrics.evaluation import Evaluation

METRICS = "metrics.json"
EVENTS = "events.npz"


def metrics(evaluation: Evaluation) -> dict:
    """The evaluation without its samples, as JSON values.

    Args:
        evaluation: see `evaluation.evaluate_predictions`.

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


def _defined(values):
    """`values` with None for NaN, which JSON does not have."""
    if isinstance(values, Mapping):
        return {name: _defined(value) for name, value in values.items()}
    if isinstance(values, float) and math.isnan(values):
        return None
    return values


def _events(evaluation: Evaluation) -> bytes:
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

    Each file is whole or absent. metrics.json is removed first and written
    last, so that a folder with metrics.json holds one evaluation, not parts of
    two. Other files in the folder are left alone.

    - metrics.json: see `metrics`.
    - report.md: scores, table per scene and confusion matrix.
    - scenes.csv: one line per scene, scores with the ends of their intervals.
    - confusion.csv: one line per true scene, one column per predicted scene.
    - predictions.csv: stem, site, scene, predicted, one probability per scene.
    - events.npz: when there are event probabilities; `event_probs` [n, 527]
      float32 with `stems`, `sites`, `scenes`, `event_mids`, `event_names`.

    A label stands in every file: in the CSV files as a last column `label`,
    which is there when the label is not empty.

    Args:
        directory: made if need be.
        evaluation: see `evaluation.evaluate_predictions`.
        pictures: further files by name, such as "confusion.png".
    """
    directory = pathlib.Path(directory)
    (directory / METRICS).unlink(missing_ok=True)
    contents = {
        "report.md": tables.report(evaluation, tuple(pictures or ())).encode(),
        "scenes.csv": tables.scenes_csv(evaluation).encode(),
        "confusion.csv": tables.confusion_csv(evaluation).encode(),
        "predictions.csv": tables.predictions_csv(evaluation).encode(),
        **(pictures or {}),
    }
    if evaluation.event_probs is not None:
        contents[EVENTS] = _events(evaluation)
    else:
        (directory / EVENTS).unlink(missing_ok=True)
    values = json.dumps(metrics(evaluation), indent=2, allow_nan=False)
    contents[METRICS] = f"{values}\n".encode()
    for name, content in contents.items():
        with replacing(directory / name) as temporary:
            temporary.write_bytes(content)


def join_labels(*remarks: str) -> str:
    """One label of several, each named once.

    Args:
        *remarks: labels, "" for none.

    Returns:
        Those that are not empty and not part of an earlier one, with "; "
        between them.
    """
    label = ""
    for remark in remarks:
        if remark and remark not in label:
            label = f"{label}; {remark}" if label else remark
    return label


def summary(evaluation: Evaluation) -> str:
    """A few lines for the terminal, the label first.

    Args:
        evaluation: see `evaluation.evaluate_predictions`.

    Returns:
        Text without a newline at its end.
    """
    lines = [f"*** {evaluation.label} ***"] if evaluation.label else []
    lines.append(tables.sample_line(evaluation))
    for name, title in tables.TITLES.items():
        cell = tables.percent_cell(evaluation.weighted[name])
        lines.append(f"  {title:<19}{cell}")
    lines.append(f"  {'Majority class F':<19}{tables.baseline_cell(evaluation)}")
    return "\n".join(lines)
