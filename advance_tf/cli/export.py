r"""Exports a run as SavedModel, LiteRT or ONNX.

    advance export --workdir=runs/a --export_dir=models/advance
    advance export --workdir=runs/a --export_dir=edge --format=tflite \
        --quantization=int8
    advance export --workdir=runs/a --export_dir=models --signing_key=signing.pem

Writes <export_dir>/<version>/ next to earlier versions, completely or not at all,
after comparing its outputs with those of the run on pairs of its data set. A quantized
file whose most probable scene agrees too rarely with float32 is an error.
export/README.md describes the files and how to serve them.
"""

from collections.abc import Callable
from typing import Any

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import define_data_dir, define_workdir, refuse, require

_QUANTIZATIONS = ("none", "float16", "dynamic", "int8")
# Format → the flags that are parameters of its function.
_COMMON = ("version", "split", "events", "min_confidence", "signing_key")
_OPTIONS = {
    "saved_model": (*_COMMON, "top", "bad_rows"),
    "tflite": (*_COMMON, "quantization", "min_agreement", "calibration_pairs"),
    "onnx": _COMMON,
}


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values)
    flags.DEFINE_string(
        "export_dir", None, "Folder of the versions.", flag_values=values
    )
    for name, choices, help in (
        ("format", tuple(_OPTIONS), "Format to write."),
        ("split", ("test", "validation"), "Pairs to compare the outputs on."),
        (
            "bad_rows",
            ("status", "error"),
            "What a SavedModel does with an input that cannot be decoded: report it "
            "in the output `status`, or fail the request.",
        ),
        ("quantization", _QUANTIZATIONS, "Quantization of a tflite file."),
    ):
        flags.DEFINE_enum(name, choices[0], choices, help, flag_values=values)
    define_data_dir(values)
    flags.DEFINE_bool(
        "events", True, "Export event probabilities too.", flag_values=values
    )
    flags.DEFINE_float(
        "min_confidence",
        0.0,
        "Least probability of the most probable scene, below which it is unknown.",
        0.0,
        1.0,
        flag_values=values,
    )
    flags.DEFINE_string(
        "signing_key",
        None,
        "PEM file of a private key, P-256, P-384 or P-521, that signs the files in "
        "<export_dir>/<version>/model.sig.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "version", None, "Number of the version; default: the next.", 1, None, values
    )
    flags.DEFINE_integer(
        "top",
        5,
        "Number of ranked scenes and events (saved_model).",
        1,
        13,
        flag_values=values,
    )
    flags.DEFINE_float(
        "min_agreement",
        None,
        "Least agreement of the most probable scene with float32, 0 to 1; default: "
        "0.99 (int8: 0.97).",
        0.0,
        1.0,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "calibration_pairs", 100, "Training pairs for int8.", 1, flag_values=values
    )


def run(values: FlagValues) -> None:
    """Exports --workdir to --export_dir."""
    require(values, workdir="the folder of a run", export_dir="the folder to write")
    _check_options(values)
    startup.load_tensorflow(litert=values.format == "tflite")

    from advance_tf.runs.workdir import load_run
    from advance_tf.serving import export

    functions: dict[str, Callable[..., export.Export]] = {
        "saved_model": export.export_saved_model,
        "tflite": export.export_litert,
        "onnx": export.export_onnx,
    }
    used = _OPTIONS[values.format]
    options: dict[str, Any] = {name: values[name].value for name in used}
    run = load_run(values.workdir, values.data_dir)
    print(functions[values.format](run, values.export_dir, **options).summary())


def _check_options(values: FlagValues) -> None:
    """Raises ValueError for a given flag that format or quantization do not use."""
    for format, options in _OPTIONS.items():
        refuse(
            values,
            [name for name in options if name not in _OPTIONS[values.format]],
            f"must be used with --format={format}; received --format={values.format}",
        )
    if values.format != "tflite":
        return
    kind = values.quantization
    received = f"received --quantization={kind}"
    if kind != "int8":
        why = f"must be used with --quantization=int8; {received}"
        refuse(values, ["calibration_pairs"], why)
    if kind == "none":
        why = f"must be used with a quantization other than none; {received}"
        refuse(values, ["min_agreement"], why)
