"""`load_model`: opens a run, an exported SavedModel or a LiteRT file."""

import pathlib

from advance_tf.inference.backends import LiteRTModel, RunModel, SavedModel
from advance_tf.inference.model import Model
from advance_tf.inference.predictor import Predictor
from advance_tf.runs.workdir import Run, load_run


def load_model(path: Run | str | pathlib.Path) -> Model:
    """Loads a run, an exported SavedModel or a LiteRT file for prediction.

    Args:
        path: folder of a run, or the `Run` that `train` and `load_run` return;
            folder of a SavedModel or of an export, whose newest version is loaded;
            or a `.tflite` file of `advance export`.

    Returns:
        A model with `predict`, `predict_batch` and `embed`.

    Raises:
        ValueError: the path is none of these, or a file of it is damaged.

    Example:
        >>> import advance_tf
        >>> model = advance_tf.load_model("runs/event")  # doctest: +SKIP
        >>> answer = model.predict(image="a.jpg", sound="a.wav")  # doctest: +SKIP
        >>> answer.scene, answer.scene_probs["beach"]  # doctest: +SKIP
    """
    if isinstance(path, Run):
        return _of_run(path)
    path = pathlib.Path(path)
    if path.suffix.lower() == ".tflite" and path.is_file():
        return LiteRTModel(path)
    if (path / "config.json").is_file():
        return _of_run(load_run(path))
    if path.is_dir():
        folder = _newest_version(path)
        if (folder / "saved_model.pb").is_file():
            return SavedModel(folder)
        lite = sorted(folder.glob("*.tflite"))
        if len(lite) == 1:
            return LiteRTModel(lite[0])
    raise ValueError(
        "path must be the folder of a run (config.json), of a SavedModel "
        f"(saved_model.pb) or a .tflite file; received {path}. Train a run with "
        "`advance fit`, or export one with `advance export`."
    )


def _of_run(run: Run) -> RunModel:
    return RunModel(Predictor.from_run(run), run.label)


def _newest_version(path: pathlib.Path) -> pathlib.Path:
    """The folder of the highest version, or the path of an export without versions."""
    versions = [p for p in path.iterdir() if p.is_dir() and p.name.isdecimal()]
    if (path / "saved_model.pb").is_file() or not versions:
        return path
    return max(versions, key=lambda version: int(version.name))
