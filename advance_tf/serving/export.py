"""Exports a run as SavedModel, LiteRT or ONNX, compared with the model in memory."""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

from advance_tf.extras import check_extra
from advance_tf.models.backbones.registry import export_problems
from advance_tf.runs.workdir import Run, as_run
from advance_tf.serving import agreement, litert, onnx_model, parity, saved_model
from advance_tf.serving.inference_model import InferenceModel, Source, label_names
from advance_tf.serving.model_card import provenance_of, write_card
from advance_tf.serving.quantization import KINDS, quantize
from advance_tf.serving.signing import Signer
from advance_tf.serving.tower_layers import weight_shares

FIGURES = "figures.json"
_CHECKED_PAIRS = 8


@dataclasses.dataclass(frozen=True)
class Export:
    """A written export.

    Attributes:
        path: folder of the SavedModel, or the LiteRT or ONNX file.
        differences: what was compared → largest difference of a probability from
            the model in memory.
        figures: LiteRT: size, agreement and scores by signature; otherwise empty.
    """

    path: pathlib.Path
    differences: Mapping[str, float]
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def summary(self) -> str:
        """The path and the figures, as text for a terminal."""
        if not self.figures:
            largest = max(self.differences.values())
            return f"{self.path}\nLargest difference from the model: {largest:.1e}"
        lines = [f"{self.path}: {self.figures['bytes'] / 1e6:.1f} MB"]
        for signature, values in self.figures["signatures"].items():
            change = f"weighted F {100 * values['weighted_f_change']:+.2f}"
            agreement = f"agreement with float32 {values['agreement']:.4f}"
            lines.append(f"  {signature}: {agreement}, {change}")
        return "\n".join(lines)


def export_saved_model(
    run: Run | str | pathlib.Path,
    export_dir: str | pathlib.Path,
    *,
    version: int | None = None,
    split: str = "test",
    events: bool = True,
    min_confidence: float = 0.0,
    top: int = 5,
    bad_rows: str = "status",
    signing_key: str | pathlib.Path | None = None,
) -> Export:
    """Writes the SavedModel <export_dir>/<version>, completely or not at all.

    Args:
        run: a loaded run, or its folder.
        export_dir: folder of the versions.
        version: number of the export, at least 1; None for the next one.
        split: pairs on which the outputs are compared: "training",
            "validation", "test" or "all".
        events: whether to export event probabilities, where the run has them.
        min_confidence: least probability of the most probable scene, 0 to 1; below it
            the scene is "unknown".
        top: number of scenes and events to rank, 1 to 13.
        bad_rows: what the signatures do with an input that cannot be decoded:
            "status" reports it in the output `status`, "error" fails the request.
        signing_key: PEM file of a private key that signs the files in `model.sig`, see
            `verify_export`; None for no signature.

    Returns:
        The folder, and the largest differences from the model in memory.

    Raises:
        ImportError: the extra `serving`, or `signing` for a key, is not installed.
        ValueError: a parameter is out of range, the version exists, the outputs
            differ, or the key cannot be read.

    Example:
        >>> from advance_tf import serving
        >>> serving.export_saved_model("runs/event", "models")  # doctest: +SKIP
    """
    _check_at_least_1(version=version)
    check_extra("serving", "tensorflow_serving.apis")
    signer = Signer(signing_key) if signing_key else None
    run = _exportable(run, "SavedModel")
    source = Source.from_run(run, events=events, min_confidence=min_confidence)
    pairs = parity.EncodedPairs(run).some(split, _CHECKED_PAIRS)
    provenance = provenance_of(run)
    model = InferenceModel(source)
    final = _version_folder(export_dir, version)
    with saved_model.new_folder(final) as folder:
        saved_model.write_saved_model(
            folder,
            model,
            top=top,
            bad_rows=bad_rows,
            warmup=pairs[0]._asdict(),
            version=final.name,
            sha256_weights=provenance.weights_sha256,
        )
        checked = parity.with_other_rates(pairs)
        skew = parity.saved_model_skew(folder, source, checked)
        artefact = {
            "format": "SavedModel",
            "events from": model.events_source,
            "checked on pairs": len(checked),
        }
        write_card(
            folder,
            source,
            provenance,
            version=final.name,
            artefact=artefact,
            skew=skew,
        )
        if signer:
            signer.sign(folder)
    return Export(final, skew)


def export_litert(
    run: Run | str | pathlib.Path,
    export_dir: str | pathlib.Path,
    *,
    version: int | None = None,
    split: str = "test",
    events: bool = True,
    min_confidence: float = 0.0,
    quantization: str = "none",
    min_agreement: float | None = None,
    calibration_pairs: int = 100,
    signing_key: str | pathlib.Path | None = None,
) -> Export:
    """Writes <export_dir>/<version>/<name>-<quantization>.tflite, figures and card.

    Args:
        run: a loaded run, or its folder.
        export_dir: folder of the versions.
        version: number of the export, at least 1; None for the next one.
        split: pairs on which the outputs are compared and agreement is measured:
            "training", "validation", "test" or "all".
        events: whether to export event probabilities, where the run has them.
        min_confidence: least probability of the most probable scene, 0 to 1; below it
            the scene is "unknown".
        quantization: "none", "float16", "dynamic" or "int8".
        min_agreement: least agreement of the most probable scene with float32, 0 to
            1; None for 0.99, with int8 0.97.
        calibration_pairs: number of training pairs that calibrate int8, at least 1.
        signing_key: PEM file of a private key that signs the files in `model.sig`, see
            `verify_export`; None for no signature.

    Returns:
        The file, its differences and its figures.

    Raises:
        ImportError: quantization needs the extra `export`, or a key the extra
            `signing`, which is not installed.
        ValueError: a parameter is out of range, the version exists, the float32
            outputs differ from those of the model in memory, the agreement is too low,
            or the key cannot be read.
    """
    if quantization not in KINDS:
        raise ValueError(
            f"quantization must be one of {', '.join(KINDS)}; received "
            f"{quantization!r}."
        )
    _check_at_least_1(version=version, calibration_pairs=calibration_pairs)
    if min_agreement is not None and not 0 <= min_agreement <= 1:
        raise ValueError(
            f"min_agreement must be 0 to 1, a share of the pairs; received "
            f"{min_agreement}. Omit it for the default of the quantization."
        )
    kind = quantization
    if kind != "none":
        check_extra("export", "ai_edge_quantizer")
    signer = Signer(signing_key) if signing_key else None
    run = _exportable(run, "LiteRT")
    source = Source.from_run(run, events=events, min_confidence=min_confidence)
    pairs, provenance = parity.EncodedPairs(run), provenance_of(run)
    model = InferenceModel(source, litert=True)
    final = _version_folder(export_dir, version)
    name = f"{source.name}-{kind}.tflite"
    with saved_model.new_folder(final) as folder, tempfile.TemporaryDirectory() as work:
        contents = litert.convert(model, pathlib.Path(work))
        float32 = litert.LiteModel(contents)
        checked = parity.with_other_rates(pairs.some(split, _CHECKED_PAIRS))
        skew = _litert_skew(source, float32, checked)
        if kind != "none":
            calibration = None
            if kind == "int8":
                some = pairs.some("training", calibration_pairs)
                calibration = parity.decode(source, some)
            contents = quantize(contents, kind, pathlib.Path(work), calibration)
        metadata = model.describe(
            version=final.name,
            quantization=kind,
            sha256_weights=provenance.weights_sha256,
        )
        litert.write_lite(folder / name, contents, metadata)
        written = (folder / name).read_bytes()
        quantized = float32 if kind == "none" else litert.LiteModel(written)
        blocks = (parity.decode(source, block) for block in pairs.blocks(split))
        figures = agreement.measure(float32, quantized, blocks, pairs.scenes(split))
        least = min_agreement
        if least is None:
            least = agreement.MIN_AGREEMENT[kind]
        agreement.check_agreement(figures, least, kind)
        figures |= {"bytes": len(written), "skew": skew, "min_agreement": least}
        figures["weights"] = weight_shares(contents)
        figures["operators"] = litert.operators(contents)
        text = json.dumps(figures, indent=2) + "\n"
        (folder / FIGURES).write_text(text, encoding="utf-8")
        artefact = {"format": "LiteRT (TFLite)", "quantization": kind, **_flat(figures)}
        write_card(
            folder,
            source,
            provenance,
            version=final.name,
            artefact=artefact,
            skew=skew,
        )
        if signer:
            signer.sign(folder)
    return Export(final / name, skew, figures)


def export_onnx(
    run: Run | str | pathlib.Path,
    export_dir: str | pathlib.Path,
    *,
    version: int | None = None,
    split: str = "test",
    events: bool = True,
    min_confidence: float = 0.0,
    signing_key: str | pathlib.Path | None = None,
) -> Export:
    """Writes <export_dir>/<version>/<name>.onnx, labels and card.

    `load_model` opens the folder or the file: the front end of the library and ONNX
    Runtime then predict what the run predicts.

    Args:
        run: a loaded run, or its folder.
        export_dir: folder of the versions.
        version: number of the export, at least 1; None for the next one.
        split: pairs on which the outputs are compared: "training",
            "validation", "test" or "all".
        events: whether to export event probabilities, where the run has them.
        min_confidence: least probability of the most probable scene, 0 to 1; below it
            the scene is "unknown".
        signing_key: PEM file of a private key that signs the files in `model.sig`, see
            `verify_export`; None for no signature.

    Returns:
        The file, and the largest differences from the model in memory.

    Raises:
        ImportError: the extra `onnx`, or `signing` for a key, is not installed.
        ValueError: a parameter is out of range, the version exists, the outputs
            differ, or the key cannot be read.
    """
    _check_at_least_1(version=version)
    check_extra("onnx", "onnx", "onnxruntime", "tf2onnx")
    signer = Signer(signing_key) if signing_key else None
    run = _exportable(run, "ONNX")
    source = Source.from_run(run, events=events, min_confidence=min_confidence)
    final = _version_folder(export_dir, version)
    name = f"{source.name}.onnx"
    with saved_model.new_folder(final) as folder:
        provenance = provenance_of(run)
        onnx_model.write_onnx(
            folder / name,
            source,
            version=final.name,
            sha256_weights=provenance.weights_sha256,
        )
        pairs = parity.EncodedPairs(run).some(split, _CHECKED_PAIRS)
        checked = parity.with_other_rates(pairs)
        skew = dict(onnx_model.onnx_skew(folder / name, source, checked))
        lists = dict(zip(("scenes", "events"), label_names(), strict=True))
        names = json.dumps(lists, indent=1)
        (folder / "labels.json").write_text(names + "\n", encoding="utf-8")
        write_card(
            folder,
            source,
            provenance,
            version=final.name,
            artefact={
                "format": "ONNX",
                "inputs": ", ".join(source.recognizer.input),
                "outputs": ", ".join(onnx_model.output_names(source)),
            },
            skew=skew,
            has_answers=False,
        )
        if signer:
            signer.sign(folder)
    return Export(final / name, skew)


def _check_at_least_1(**given: int | None) -> None:
    """Raises ValueError for a parameter below 1; None is a default."""
    for name, value in given.items():
        if value is not None and value < 1:
            raise ValueError(
                f"{name} must be at least 1; received {value}. Omit it for the default."
            )


def _exportable(run: Run | str | pathlib.Path, kind: str) -> Run:
    """Returns the run; raises ValueError if a tower cannot be written in the format."""
    run = as_run(run)
    problem = export_problems(run.config.model).get(kind)
    if problem:
        raise ValueError(
            f"The towers of a run must be possible in {kind} to be exported as it; "
            f"received {problem}. Choose another format."
        )
    return run


def _version_folder(
    export_dir: str | pathlib.Path, version: int | None
) -> pathlib.Path:
    """The folder of a version, by default of the next one, below `export_dir`."""
    folder = pathlib.Path(export_dir)
    if version is None:
        version = saved_model.next_version(folder)
    return folder / str(version)


def _litert_skew(
    source: Source, model: litert.LiteModel, pairs: list[parity.EncodedPair]
) -> dict[str, float]:
    decoded = parity.decode(source, pairs)
    expected = parity.reference_probs(source, decoded)
    found = model.probs(decoded, litert.main_signature(model.signatures))
    agreement.check_probs(found)
    return parity.litert_skew(source, decoded, expected, found)


def _flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    rows = {
        f"{signature}, {figure}": value
        for signature, values in figures["signatures"].items()
        for figure, value in values.items()
    }
    weights = {
        f"{tower} tower, share of the bytes of weights in {bits}": share
        for tower, shares in figures["weights"].items()
        for bits, share in shares.items()
    }
    measured = {"bytes": figures["bytes"], "measured on pairs": figures["pairs"]}
    return {**measured, **weights, **rows}
