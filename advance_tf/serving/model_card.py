"""The model card: data, scores, parity, settings, limits and licences of a model."""

import dataclasses
import json
import pathlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from advance_tf.checksums import verify
from advance_tf.config_io import to_dict
from advance_tf.files import reading
from advance_tf.models.heads import takes_mask
from advance_tf.runs.workdir import Run
from advance_tf.serving.inference_model import Source
from advance_tf.training.runtime import versions

CARD = "model_card.md"
_METRICS = "evaluation/test/metrics.json"
_NOT_EVALUATED = "there are no scores of the test split"

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
        metrics: scores of `evaluate` of these weights on the test split, or None.
        weights_sha256: SHA-256 of its weights.
        not_evaluated: why there are no scores, "" where there are.
    """

    config: Mapping[str, Any]
    data: Mapping[str, Any]
    metrics: Mapping[str, Any] | None
    weights_sha256: str
    not_evaluated: str = ""


def provenance_of(run: Run) -> Provenance:
    """The provenance of a run, for its model card.

    Args:
        run: a loaded run.

    Returns:
        Its configuration, data, scores (None unless `advance evaluate` was run on
        these weights) and the hash of its weights.
    """
    manifest, path = run.manifest, run.workdir / _METRICS
    data: dict[str, Any] = {"data set": run.label or "as configured"}
    if manifest is not None:
        counts = Counter(manifest.splits)
        data |= {f"pairs of {split}": number for split, number in counts.items()}
        data["split by"] = manifest.protocol
        data["SHA-256 of the manifest"] = manifest.sha256
    for tower, source in run.initial_weights.items():
        data[f"initial weights of the {tower} tower"] = (
            f"{source.backbone}: {source.source}"
            + (f" ({source.weights})" if source.weights else "")
            + (f", SHA-256 {source.sha256}" if source.sha256 else "")
        )
    data |= {f"version of {name}": version for name, version in versions().items()}
    metrics: dict[str, Any] | None = None
    not_evaluated = _NOT_EVALUATED
    if path.exists():
        verify(path)
        way_out = "Run `advance evaluate` again, or remove it."
        with reading(path, "hold the metrics of an evaluation", way_out):
            metrics = dict(json.loads(path.read_text(encoding="utf-8")))
            evaluated = metrics.get("details", {}).get("weights_sha256")
        not_evaluated = ""
        if evaluated != run.weights_sha256:
            received = f"of others ({evaluated})" if evaluated else "of unknown weights"
            metrics = None
            not_evaluated = (
                f"the stored scores must be those of these weights; they are {received}"
            )
    return Provenance(
        config=to_dict(run.config),
        data=data,
        metrics=metrics,
        weights_sha256=run.weights_sha256,
        not_evaluated=not_evaluated,
    )


def model_card(
    source: Source,
    provenance: Provenance,
    *,
    version: str,
    artefact: Mapping[str, Any],
    skew: Mapping[str, float],
    has_answers: bool = True,
) -> str:
    """A model card in Markdown.

    Args:
        source: what the export was built from.
        provenance: provenance of the run.
        version: version of the export.
        artefact: format, hashes and figures of the export.
        skew: what was compared → largest difference from the model in memory.
        has_answers: whether the export itself applies the reasons of "unknown";
            otherwise it returns probabilities and logits only.

    Returns:
        The text.
    """
    artefact = {
        **artefact,
        **_answers(source),
        "SHA-256 of the weights": provenance.weights_sha256,
    }
    parts = [f"# {source.name}, version {version}\n"]
    if source.label:
        parts.append(f"**{source.label}**\n")
    parts.append(_summary(source))
    parts.append("## Export\n\n" + _table(artefact))
    parts.append("## Data\n\n" + _table(provenance.data))
    parts.append("## Scores\n\n" + _measured(provenance))
    largest = {f"largest difference, {k}": v for k, v in skew.items()}
    parts.append("## Parity with the model in memory\n\n" + _table(largest))
    settings = {
        f"{group}.{key}": value
        for group in ("features", "model", "transfer", "training")
        for key, value in provenance.config[group].items()
    }
    parts.append("## Configuration\n\n" + _table(settings))
    limits = "".join(f"- {text}\n" for text in _limits(source, has_answers))
    parts.append("## Limits\n\n" + limits)
    parts.append("## Licences\n\n" + _LICENCES)
    return "\n".join(parts)


def _summary(source: Source) -> str:
    """What the model recognizes, and from what."""
    seconds = f"{source.features.clip_seconds:g} seconds of sound"
    inputs = {
        "both": f"an aerial image and {seconds} of the same place",
        "image": "an aerial image",
        "sound": seconds,
    }
    events = ", and sound events," if _predicts_events(source) else ""
    return (
        f"Recognizes one of 13 aerial scenes{events} from {inputs[source.modality]}.\n"
        "Method: Hu et al., "
        '"Cross-Task Transfer for Geotagged Audiovisual Aerial Scene Recognition", '
        "ECCV 2020; software: advance_tf.\n"
    )


def _predicts_events(source: Source) -> bool:
    """Whether the export has event probabilities, of a head or of posteriors."""
    has_posteriors = source.has_events and source.knowledge is not None
    return bool(source.event_output) or has_posteriors


def _limits(source: Source, has_answers: bool) -> list[str]:
    """What the model does not do."""
    if has_answers:
        reasons = (
            'An input that shows none of them is "unknown" only where it is blank, '
            "silent, clipped or, by its embedding, far from the training pairs."
        )
        probabilities = (
            "Probabilities have the temperatures above, fitted on validation; 1 is "
            "not fitted."
        )
    else:
        reasons = "The file rejects no input; `advance_tf.load_model` does."
        probabilities = (
            "`scene_probs` and `confidence` have the temperatures above, fitted on "
            "validation; 1 is not fitted. The logits are not divided by them."
        )
    limits = [f"It distinguishes 13 scenes. {reasons}", probabilities]
    if source.modality == "both" and takes_mask(source.recognizer):
        limits.append("It was trained to answer from both inputs or from one of them.")
    elif source.modality == "both":
        limits.append(
            "It was trained on pairs of an aerial image and a sound of the same place; "
            "a missing input is replaced by zeros, which lowers the scores."
        )
    if "image" in source.kinds:
        limits.append("EXIF rotation is not applied.")
    if "sound" in source.kinds:
        limits.append(
            f"Of a longer sound the central {source.features.clip_seconds:g} seconds "
            "are used."
        )
    limits.append("Its scores hold for places similar to those of its test split.")
    return limits


def _measured(provenance: Provenance) -> str:
    metrics = provenance.metrics
    if metrics is None:
        return (
            f"Not evaluated: {provenance.not_evaluated}. Run `advance evaluate` and "
            "export again.\n"
        )
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
    **details: Any,
) -> None:
    """Writes the model card of an export into its folder.

    Args:
        folder: folder of the export.
        source: what it was built from.
        provenance: provenance of the run.
        **details: version, artefact, skew and has_answers of `model_card`.
    """
    card = model_card(source, provenance, **details)
    (folder / CARD).write_text(card, encoding="utf-8")
