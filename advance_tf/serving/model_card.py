"""The model card: what a model is, was made from, was measured at, and is not for."""

from collections.abc import Mapping
from typing import Any

_LIMITS = """\
- It knows 13 scenes and says one of them of anything it is shown.
- It was trained on pairs of a photograph from above and a sound of the same place; with
  one input missing it is given zeros for it and is worse.
- A probability is no calibrated frequency unless someone has measured it.
- EXIF rotation is ignored; sound is cut to its central ten seconds.
- Its figures hold for places like those of its test split.
"""
_LICENCES = """\
- Software: Apache-2.0. The data set ADVANCE is CC BY 4.0 (Zenodo record 3828124);
  name its authors when you use a model trained on it.
- Weights that a tower started from keep the licence that they came with; AudioSet's
  list of events is CC BY 4.0.
- A model trained on other images or sounds is subject to their licences.
"""


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
    """A card in Markdown.

    Args:
        name: of the model.
        version: of the artefact.
        label: what every report must say of the training data, "" for nothing.
        artefact: format, hashes and figures of its own.
        data: what it was trained and tested on.
        config: the configuration of the run, by group.
        metrics: of `evaluate` on the test split, or None.
        skew: how far the artefact is from the model in memory, by way of asking.

    Returns:
        Markdown.
    """
    parts = [f"# {name}, version {version}\n"]
    if label:
        parts.append(f"**{label}**\n")
    parts.append(
        "Recognises one of 13 aerial scenes by an image from above and ten seconds of "
        "sound of the same place, and tells sound events. Method: Hu et al., "
        '"Cross-Task Transfer for Geotagged Audiovisual Aerial Scene Recognition", '
        "ECCV 2020; software: advance_tf.\n"
    )
    parts.append("## Artefact\n\n" + _table(artefact))
    parts.append("## Data\n\n" + _table(data))
    parts.append("## Measured\n\n" + _measured(metrics))
    largest = {f"largest difference from memory, {k}": v for k, v in skew.items()}
    parts.append("## Same answers as in memory\n\n" + _table(largest))
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
        return "Not evaluated: run `python -m advance_tf.evaluate` and export again.\n"
    rows = {"split": metrics["split"], "pairs": metrics["pairs"]}
    rows["sites"] = metrics["sites"]
    for score, interval in metrics["weighted"].items():
        value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
        rows[f"weighted {score}, % (95 % interval over sites)"] = (
            f"{value:.2f} ({low:.2f} to {high:.2f})"
        )
    baseline = metrics["baseline"]
    rows[f"weighted f_score of always {baseline['scene']}, %"] = (
        f"{100 * baseline['f_score']:.2f}"
    )
    return _table(rows)


def _table(values: Mapping[str, Any]) -> str:
    rows = ["| what | value |", "|---|---|"]
    for key, value in values.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        rows.append(f"| {key} | {shown.replace('|', '/')} |")
    return "\n".join(rows) + "\n"
