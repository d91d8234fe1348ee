"""`load_model`: opens a run, an exported SavedModel, a LiteRT or an ONNX file."""

import hashlib
import json
import pathlib

from advance_tf.checksums import file_sha256, path_sha256, verify
from advance_tf.features.log_mel import STORED_STATS
from advance_tf.files import reading
from advance_tf.inference.backends import RunModel, SavedModel
from advance_tf.inference.formats import LITERT, ONNX, RUN, SAVED_MODEL, find_model
from advance_tf.inference.model import Model
from advance_tf.inference.predictor import Predictor
from advance_tf.inference.rejection import check_confidence
from advance_tf.models.forward import read_forward_pass
from advance_tf.runs.calibration import CALIBRATION
from advance_tf.runs.workdir import (
    CONFIG,
    Run,
    find_knowledge,
    load_run,
    read_run,
)
from advance_tf.teacher.storage import POSTERIORS
from advance_tf.training.callbacks import BEST_WEIGHTS


def load_model(
    path: Run | str | pathlib.Path, *, min_confidence: float | None = None
) -> Model:
    """Loads a run, an exported SavedModel, a LiteRT or an ONNX file for prediction.

    Args:
        path: folder of a run, or the `Run` that `train` and `load_run` return;
            folder of a SavedModel or of an export, whose newest version is loaded;
            or a `.tflite` or `.onnx` file of `advance export`.
        min_confidence: least probability of the most probable scene, 0 to 1; below it
            the scene is "unknown". None for that of an export, 0 for a run.

    Returns:
        A model with `predict`, `predict_batch` and `embed`.

    Raises:
        ImportError: an `.onnx` file needs the extra `onnx`, which is not installed.
        ValueError: the path is none of these, a file of it is damaged, or
            min_confidence is outside 0 to 1.

    Example:
        >>> import advance_tf
        >>> model = advance_tf.load_model("runs/event")  # doctest: +SKIP
        >>> answer = model.predict(image="a.jpg", sound="a.wav")  # doctest: +SKIP
        >>> answer.scene, answer.scene_probs["beach"]  # doctest: +SKIP
    """
    model = _load(path)
    if min_confidence is not None:
        model.min_confidence = check_confidence(min_confidence)
    return model


def _load(path: Run | str | pathlib.Path) -> Model:
    if isinstance(path, Run):
        return _of_run(path)
    kind, found = find_model(path)
    if kind == SAVED_MODEL:
        return SavedModel(found)
    if kind == LITERT:
        from advance_tf.inference.litert_backend import LiteRTModel

        return LiteRTModel(found)
    if kind == ONNX:
        from advance_tf.inference.onnx_backend import OnnxModel

        return OnnxModel(found)
    return _of_folder(found)


def _of_folder(workdir: pathlib.Path) -> RunModel:
    """The model of a run, without its Keras model where that is possible."""
    files = read_run(workdir)
    verify(files.best_weights)
    config = files.config
    recognizer = read_forward_pass(files.best_weights, config.model, config.features)
    if recognizer is None:
        return _of_run(load_run(workdir))
    predictor = Predictor(
        recognizer,
        config.features,
        modality=config.model.modality,
        knowledge=files.knowledge,
        calibration=files.calibration,
    )
    return RunModel(predictor, files.label)


def _of_run(run: Run) -> RunModel:
    return RunModel(Predictor.from_run(run), run.label)


def load_identified(
    path: str | pathlib.Path, *, min_confidence: float | None = None
) -> tuple[Model, str]:
    """Loads a model, and identifies the files that it was loaded from.

    Args:
        path: as for `load_model`.
        min_confidence: as for `load_model`.

    Returns:
        The model and its `model_sha256`. It is loaded again if a training replaces
        its files in the meantime.

    Raises:
        ValueError: as for `load_model`.
    """
    while True:
        sha256 = model_sha256(path)
        model = load_model(path, min_confidence=min_confidence)
        if model_sha256(path) == sha256:
            return model, sha256


def model_sha256(path: str | pathlib.Path) -> str:
    """The SHA-256 that identifies a model in results.

    Args:
        path: folder of a run, or an exported model, see `load_model`.

    Returns:
        That of the weights of a run; where it has a calibration, log-mel statistics or
        event knowledge, which change its answers too, that of the hashes of all of
        them; or that of the files of an exported model.

    Raises:
        ValueError: the path is no model.
    """
    kind, found = find_model(path)
    if kind != RUN or not (found / BEST_WEIGHTS).is_file():
        return path_sha256(found)
    files = [found / name for name in (BEST_WEIGHTS, CALIBRATION, STORED_STATS)]
    with reading(found / CONFIG, "state the settings of the run", "Restore it."):
        contents = json.loads((found / CONFIG).read_text(encoding="utf-8"))
        knowledge = find_knowledge(found, contents.get("knowledge_dir", ""))
    if knowledge is not None:
        files.append(knowledge / POSTERIORS)
    hashes = {file.name: file_sha256(file) for file in files if file.is_file()}
    if len(hashes) == 1:
        return hashes[BEST_WEIGHTS]
    text = "\n".join(f"{name} {sha256}" for name, sha256 in hashes.items())
    return hashlib.sha256(text.encode()).hexdigest()
