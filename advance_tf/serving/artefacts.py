"""Makes an artefact, checks it against the model in memory, and only then keeps it."""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from advance_tf.serving import (
    answers,
    gate,
    lite,
    onnx_model,
    quantization,
    saved_model,
)
from advance_tf.serving.answers import EncodedPair
from advance_tf.serving.model_card import model_card
from advance_tf.serving.served import Answering, Source, label_names

CARD = "model_card.md"
FIGURES = "figures.json"
_CHECKED_PAIRS = 8


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a model comes from, for its card.

    Attributes:
        config: of the run, by group.
        data: what it was trained and tested on, in words and hashes.
        metrics: of `evaluate` on the test split, or None.
        weights_sha256: hash of its weights.
    """

    config: Mapping[str, Any]
    data: Mapping[str, Any]
    metrics: Mapping[str, Any] | None
    weights_sha256: str

    def write_card(
        self, folder: pathlib.Path, source: Source, version: str, artefact, skew
    ) -> None:
        """Writes the model card of an artefact beside it."""
        card = model_card(
            name=source.name,
            version=version,
            label=source.label,
            artefact={**artefact, "SHA-256 of the weights": self.weights_sha256},
            data=self.data,
            config=self.config,
            metrics=self.metrics,
            skew=skew,
        )
        (folder / CARD).write_text(card, encoding="utf-8")


class Media(Protocol):
    """Encoded pairs of a run."""

    def some(self, split: str, number: int) -> list[EncodedPair]:
        """Pairs of a split, evenly over its scenes."""

    def all(self, split: str) -> tuple[list[EncodedPair], list[int]]:
        """Every pair of a split, and the index of its scene."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        version: of the artefact; None for the next one.
        split: whose pairs answers are compared and agreement is measured on.
        top: number of names, best first (SavedModel).
        bad_rows: "status" or "error" (SavedModel).
        quantization: "none", "float16", "dynamic" or "int8" (LiteRT).
        min_agreement: least agreement with float32; None for 0.99, int8 0.97.
        calibration_pairs: training pairs that int8 is calibrated on.
    """

    version: int | None = None
    split: str = "test"
    top: int = 5
    bad_rows: str = "status"
    quantization: str = "none"
    min_agreement: float | None = None
    calibration_pairs: int = 100

    def folder(self, export_dir: pathlib.Path) -> pathlib.Path:
        """Where the version goes."""
        version = self.version
        if version is None:
            version = saved_model.next_version(export_dir)
        return export_dir / str(version)


def export_saved_model(
    source: Source,
    provenance: Provenance,
    media: Media,
    export_dir: pathlib.Path,
    options: Options,
) -> tuple[pathlib.Path, dict[str, float]]:
    """Writes <export_dir>/<version>, whole or not at all.

    Args:
        source: the model.
        provenance: for the card.
        media: real pairs to check the answers on; one of them warms servers up.
        export_dir: holds the versions.
        options: version, split, top and bad_rows are read.

    Returns:
        The folder, and the largest differences from the model in memory.

    Raises:
        ValueError: the version exists, or the answers differ.
    """
    pairs = media.some(options.split, _CHECKED_PAIRS)
    answering = Answering(source)
    final = options.folder(export_dir)
    with saved_model.new_folder(final) as folder:
        saved_model.write_saved_model(
            folder,
            answering,
            top=options.top,
            bad_rows=options.bad_rows,
            warmup=pairs[0]._asdict(),
        )
        checked = answers.with_other_rates(pairs)
        skew = answers.saved_model_skew(folder, source, checked)
        artefact = {
            "format": "SavedModel",
            "events from": answering.events_source,
            "checked on pairs": len(checked),
        }
        provenance.write_card(folder, source, final.name, artefact, skew)
    return final, skew


def export_lite(
    source: Source,
    provenance: Provenance,
    media: Media,
    export_dir: pathlib.Path,
    options: Options,
    weighted_f: gate.Score,
) -> tuple[pathlib.Path, dict[str, Any]]:
    """Writes <export_dir>/<version>/<name>-<quantization>.tflite, figures and card.

    Args:
        source: the model.
        provenance: for the card.
        media: real pairs to check, to calibrate and to measure on.
        export_dir: holds the versions.
        options: all but top and bad_rows are read.
        weighted_f: from true and predicted indices of scenes to a score.

    Returns:
        The file, and its figures.

    Raises:
        ValueError: the version exists, the float32 answers differ from memory,
            or the agreement is too low.
    """
    kind = options.quantization
    answering = Answering(source, precise=False)
    final = options.folder(export_dir)
    name = f"{source.name}-{kind}.tflite"
    with saved_model.new_folder(final) as folder, tempfile.TemporaryDirectory() as work:
        contents = lite.convert(answering, pathlib.Path(work))
        float32 = lite.LiteModel(contents)
        checked = answers.with_other_rates(media.some(options.split, _CHECKED_PAIRS))
        skew = _lite_skew(source, float32, checked)
        if kind != "none":
            calibration = None
            if kind == "int8":
                some = media.some("training", options.calibration_pairs)
                calibration = answers.decode(source, some)
            contents = quantization.quantize(
                contents, kind, pathlib.Path(work), calibration
            )
        metadata = lite.describe(
            answering,
            version=final.name,
            quantization=kind,
            weights_sha256=provenance.weights_sha256,
        )
        lite.write_lite(folder / name, contents, metadata)
        written = (folder / name).read_bytes()
        pairs, true = media.all(options.split)
        figures = gate.measure(
            float32,
            lite.LiteModel(written),
            answers.decode(source, pairs),
            np.asarray(true),
            weighted_f,
        )
        least = options.min_agreement
        if least is None:
            least = quantization.MIN_AGREEMENT[kind]
        gate.refuse_below(figures, least, kind)
        figures |= {"bytes": len(written), "skew": skew, "min_agreement": least}
        figures["operators"] = lite.operators(contents)
        text = json.dumps(figures, indent=2) + "\n"
        (folder / FIGURES).write_text(text, encoding="utf-8")
        artefact = {"format": "LiteRT (TFLite)", "quantization": kind, **_flat(figures)}
        provenance.write_card(folder, source, final.name, artefact, skew)
    return final / name, figures


def export_onnx(
    source: Source,
    provenance: Provenance,
    media: Media,
    export_dir: pathlib.Path,
    options: Options,
) -> tuple[pathlib.Path, dict[str, float]]:
    """Writes <export_dir>/<version>/<name>.onnx with labels and card.

    Args:
        source: the model.
        provenance: for the card.
        media: real pairs to check the logits on.
        export_dir: holds the versions.
        options: version and split are read.

    Returns:
        The file, and the largest differences from the model in memory.

    Raises:
        ValueError: the version exists, the logits differ, or a package is
            missing.
    """
    final = options.folder(export_dir)
    name = f"{source.name}.onnx"
    with saved_model.new_folder(final) as folder:
        onnx_model.write_onnx(folder / name, source)
        pairs = answers.with_other_rates(media.some(options.split, _CHECKED_PAIRS))
        skew = dict(onnx_model.onnx_skew(folder / name, source, pairs))
        scenes, events = label_names()
        names = json.dumps({"scenes": scenes, "events": events}, indent=1)
        (folder / "labels.json").write_text(names + "\n", encoding="utf-8")
        artefact = {"format": "ONNX, logits of image and normalized log-mel"}
        provenance.write_card(folder, source, final.name, artefact, skew)
    return final / name, skew


def _lite_skew(source, model: lite.LiteModel, pairs) -> dict[str, float]:
    decoded = answers.decode(source, pairs)
    expected = answers.memory_probs(source, decoded)
    found = model.probs(decoded, lite.main_signature(model.signatures))
    gate.check_probs(found)
    skew = {"float32 LiteRT": answers.largest_difference(expected, found)}
    answers.check_skew("LiteRT model", skew, answers.LITE_TOLERANCE)
    return skew


def _flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    rows = {
        f"{signature}, {figure}": value
        for signature, values in figures["signatures"].items()
        for figure, value in values.items()
    }
    return {"bytes": figures["bytes"], "measured on pairs": figures["pairs"], **rows}


def summary(path: pathlib.Path, figures: Mapping[str, Any]) -> str:
    """What `export_lite` made, for a terminal."""
    lines = [f"{path}: {figures['bytes'] / 1e6:.1f} MB"]
    for signature, values in figures["signatures"].items():
        change = f"weighted F {100 * values['weighted_f_change']:+.2f}"
        lines.append(
            f"  {signature}: agreement with float32 {values['agreement']:.4f}, {change}"
        )
    return "\n".join(lines)
