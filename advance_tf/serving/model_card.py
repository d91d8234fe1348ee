"""The model card: data, scores, parity, settings, limits and licences of a model."""

import dataclasses
import json
import pathlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from advance_tf.checksums import file_sha256, verify
from advance_tf.config_io import to_dict
from advance_tf.files import reading
from advance_tf.runs.workdir import Run
from advance_tf.serving.inference_model import Source
from advance_tf.training.callbacks import BEST_WEIGHTS
from advance_tf.training.runtime import versions

CARD = "model_card.md"
_METRICS = "evaluation/test/metrics.json"

_LIMITS = """\
- It distinguishes 13 scenes. An input that shows none of them is "unknown" only where
  it is blank, silent, clipped or, by its embedding, far from the training pairs.
- It was trained on pairs of an aerial image and a sound of the same place; without
  modality_dropout a missing input is replaced by zeros, which lowers the scores.
- Probabilities have the temperatures above, fitted on validation; 1 is not fitted.
- EXIF rotation is not applied; of a longer sound the central ten seconds are used.
- Its scores hold for places similar to those of its test split.
"""
_LICENCES = """\
- Software: Apache-2.0. The data set ADVANCE is CC BY 4.0 (Zenodo record 3828124);
  name its authors when you use a model trained on it.
- Pretrained weights of a tower keep their own licence; AudioSet's list of events is
  CC BY 4.0.
- A model trained on other images or sounds is subject to their licences.
"""


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Configuration, data and scores of a run, for its model card.

    Attributes:
        config: configuration of the run, by group.
        data: what it was trained and tested on: labels, counts, hashes, versions.
        metrics: scores of `evaluate` on the test split, or None.
        weights_sha256: SHA-256 of its weights.
    """

    config: Mapping[str, Any]
    data: Mapping[str, Any]
    metrics: Mapping[str, Any] | None
    weights_sha256: str


def provenance_of(run: Run) -> Provenance:
    """The provenance of a run, for its model card.

    Args:
        run: a loaded run.

    Returns:
        Its configuration, data, scores (None before `advance evaluate`) and the
        hash of its weights.
    """
    manifest, path = run.manifest, run.workdir / _METRICS
    data: dict[str, Any] = {"data set": run.label or "as configured"}
    if manifest is not None:
        counts = Counter(manifest.splits)
        data |= {f"pairs of {split}": number for split, number in counts.items()}
        data["split by"] = manifest.protocol
        data["SHA-256 of the manifest"] = manifest.sha256
    for tower, source in run.weights.items():
        data[f"initial weights of the {tower} tower"] = (
            f"{source.backbone}: {source.source}"
            + (f" ({source.weights})" if source.weights else "")
            + (f", SHA-256 {source.sha256}" if source.sha256 else "")
        )
    data |= {f"version of {name}": version for name, version in versions().items()}
    metrics = None
    if path.exists():
        verify(path)
        way_out = "Run `advance evaluate` again, or remove it."
        with reading(path, "hold the metrics of an evaluation", way_out):
            metrics = dict(json.loads(path.read_text(encoding="utf-8")))
    return Provenance(
        config=to_dict(run.config),
        data=data,
        metrics=metrics,
        weights_sha256=file_sha256(run.workdir / BEST_WEIGHTS),
    )


def model_card(
    *,
    name: str,
    version: str,
    label: str,
    artefact: Mapping[str, Any],
    data: Mapping[str, Any],
    config: Mapping[str, Any],
    metrics: Mapping[str, Any] | None,
    skew: Mapping[str, float],
) -> str:
    """A model card in Markdown.

    Args:
        name: name of the model.
        version: version of the export.
        label: notice about the training data, shown in reports, "" for none.
        artefact: format, hashes and figures of the export.
        data: what it was trained and tested on.
        config: the configuration of the run, by group.
        metrics: scores of `evaluate` on the test split, or None.
        skew: what was compared → largest difference from the model in memory.

    Returns:
        The text.
    """
    parts = [f"# {name}, version {version}\n"]
    if label:
        parts.append(f"**{label}**\n")
    parts.append(
        "Recognizes one of 13 aerial scenes, and sound events, from an aerial image "
        "and ten seconds of sound of the same place. Method: Hu et al., "
        '"Cross-Task Transfer for Geotagged Audiovisual Aerial Scene Recognition", '
        "ECCV 2020; software: advance_tf.\n"
    )
    parts.append("## Export\n\n" + _table(artefact))
    parts.append("## Data\n\n" + _table(data))
    parts.append("## Scores\n\n" + _measured(metrics))
    largest = {f"largest difference, {k}": v for k, v in skew.items()}
    parts.append("## Parity with the model in memory\n\n" + _table(largest))
    settings = {
        f"{group}.{key}": value
        for group in ("features", "model", "transfer", "training")
        for key, value in config[group].items()
    }
    parts.append("## Configuration\n\n" + _table(settings))
    parts.append("## Limits\n\n" + _LIMITS)
    parts.append("## Licences\n\n" + _LICENCES)
    return "\n".join(parts)


def _measured(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return "Not evaluated: run `advance evaluate` and export again.\n"
    rows = {"split": metrics["split"], "pairs": metrics["pairs"]}
    rows["sites"] = metrics["sites"]
    for score, interval in metrics["weighted"].items():
        value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
        rows[f"weighted {score}, % (95 % interval over sites)"] = (
            f"{value:.2f} ({low:.2f} to {high:.2f})"
        )
    baseline = metrics["baseline"]
    rows[f"weighted f_score of always predicting {baseline['scene']}, %"] = (
        f"{100 * baseline['f_score']:.2f}"
    )
    return _table(rows)


def _table(values: Mapping[str, Any]) -> str:
    rows = ["| item | value |", "|---|---|"]
    for key, value in values.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        rows.append(f"| {key} | {shown.replace('|', '/')} |")
    return "\n".join(rows) + "\n"


def _answers(source: Source) -> dict[str, Any]:
    """Rows of the card about calibration and rejection."""
    described = source.describe_answers()
    rows = {f"temperature, {k}": t for k, t in described["temperatures"].items()}
    for kind, distance in described["largest_distances"].items():
        rows[f"largest distance of the {kind}"] = distance
    return {**rows, "least confidence": described["min_confidence"]}


def write_card(
    folder: pathlib.Path,
    source: Source,
    provenance: Provenance,
    *,
    version: str,
    artefact: Mapping[str, Any],
    skew: Mapping[str, float],
) -> None:
    """Writes the model card of an export into its folder.

    Args:
        folder: folder of the export.
        source: what it was built from.
        provenance: provenance of the run.
        version: version of the export.
        artefact: format, hashes and figures of the export.
        skew: what was compared → largest difference from the model in memory.
    """
    card = model_card(
        name=source.name,
        version=version,
        label=source.label,
        artefact={
            **artefact,
            **_answers(source),
            "SHA-256 of the weights": provenance.weights_sha256,
        },
        data=provenance.data,
        config=provenance.config,
        metrics=provenance.metrics,
        skew=skew,
    )
    (folder / CARD).write_text(card, encoding="utf-8")
