"""The formats of models that `load_model` opens, found without loading TensorFlow."""

import pathlib

RUN, SAVED_MODEL, LITERT, ONNX = "run", "saved_model", "litert", "onnx"
_FILES = {".tflite": LITERT, ".onnx": ONNX}


def find_model(path: str | pathlib.Path) -> tuple[str, pathlib.Path]:
    """Finds the model of a path.

    Args:
        path: folder of a run, of a SavedModel or of an export, whose newest version
            is taken; or a `.tflite` or `.onnx` file.

    Returns:
        "run", "saved_model", "litert" or "onnx"; and the folder of the run or of the
        SavedModel, or the file.

    Raises:
        ValueError: the path is none of these.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() in _FILES and path.is_file():
        return _FILES[path.suffix.lower()], path
    if (path / "config.json").is_file():
        return RUN, path
    if path.is_dir():
        folder = _newest_version(path)
        if (folder / "saved_model.pb").is_file():
            return SAVED_MODEL, folder
        files = [file for ending in _FILES for file in folder.glob(f"*{ending}")]
        if len(files) == 1:
            return _FILES[files[0].suffix], files[0]
    raise ValueError(
        "path must be the folder of a run (config.json), of a SavedModel "
        f"(saved_model.pb), or a .tflite or .onnx file; received {path}. Train a run "
        "with `advance fit`, or export one with `advance export`."
    )


def _newest_version(path: pathlib.Path) -> pathlib.Path:
    """The folder of the highest version, or the path of an export without versions."""
    versions = [p for p in path.iterdir() if p.is_dir() and p.name.isdecimal()]
    if (path / "saved_model.pb").is_file() or not versions:
        return path
    return max(versions, key=lambda version: int(version.name))
