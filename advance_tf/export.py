"""Exports a run for servers (SavedModel) or for edge devices (LiteRT).

    python -m advance_tf.export --workdir=runs/a --export_dir=models/advance
    python -m advance_tf.export --workdir=runs/a --export_dir=edge \\
        --format=tflite --quantization=int8

Writes <export_dir>/<version>/ beside earlier versions, whole or not at all, after
its answers were compared with those of the model in memory on real pairs. A
quantized file that agrees too rarely with float32 is refused. export/README.md
says what to do with the result.
"""

import pathlib
from typing import Any

from absl import flags

from advance_tf import program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_EXPORT_DIR = flags.DEFINE_string("export_dir", None, "Folder of the versions.")
_FORMAT = flags.DEFINE_enum(
    "format", "saved_model", ("saved_model", "tflite", "onnx"), "What to write."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data set; default: as the run was trained."
)
_EVENTS = flags.DEFINE_bool("events", True, "Tell events; false drops their head.")
# Fields of serving.artefacts.Options.
_OPTIONS = (
    flags.DEFINE_integer("version", None, "Default: the next one.", 1),
    flags.DEFINE_enum("split", "test", ("validation", "test"), "Pairs to measure on."),
    flags.DEFINE_integer("top", 5, "Scenes and events named best first.", 1, 13),
    flags.DEFINE_enum("bad_rows", "status", ("status", "error"), "See README."),
    flags.DEFINE_enum(
        "quantization", "none", ("none", "float16", "dynamic", "int8"), "Of tflite."
    ),
    flags.DEFINE_float(
        "min_agreement", None, "Of top-1 with float32; default 0.99 (int8 0.97)."
    ),
    flags.DEFINE_integer("calibration_pairs", 100, "Training pairs for int8.", 1),
)


def _source(taught):
    """What to export of a run."""
    from advance_tf.serving.served import Source

    return Source(
        taught.run.recognizer,
        taught.run.config.features,
        modality=taught.run.config.model.modality,
        knowledge=taught.knowledge,
        label=taught.run.label,
        events=_EVENTS.value,
    )


def main(arguments) -> None:
    """Exports --workdir to --export_dir."""
    del arguments
    if not (_WORKDIR.value and _EXPORT_DIR.value):
        raise ValueError("--workdir and --export_dir must both be given.")

    from advance_tf.metrics.scores import weighted_f
    from advance_tf.serving import artefacts
    from advance_tf.studies.taught import load_taught_run
    from advance_tf.training import provenance

    taught = load_taught_run(_WORKDIR.value, _DATA_DIR.value)
    options: dict[str, Any] = {flag.name: flag.value for flag in _OPTIONS}
    given = (
        _source(taught),
        artefacts.Provenance(**provenance.describe(taught.run)),
        provenance.Media(taught.run, taught.data_dir, artefacts.EncodedPair),
        pathlib.Path(_EXPORT_DIR.value),
        artefacts.Options(**options),
    )
    if _FORMAT.value == "tflite":
        print(artefacts.summary(*artefacts.export_lite(*given, weighted_f)))
        return
    onnx = _FORMAT.value == "onnx"
    export = artefacts.export_onnx if onnx else artefacts.export_saved_model
    path, skew = export(*given)
    print(f"{path}\nLargest difference from memory: {max(skew.values()):.1e}")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
