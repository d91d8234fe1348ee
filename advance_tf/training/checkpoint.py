"""The whole state of a run in one file, for an exact resume."""

import contextlib
import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Iterator

import keras
import numpy as np

from advance_tf.files import replacing


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        epochs: finished epochs.
        best_epoch: the epoch, counted from 1, of the best validation score; 0
            before the first.
        best_score: that score.
    """

    epochs: int = 0
    best_epoch: int = 0
    best_score: float = float("-inf")


def _variables(trainer: keras.Model) -> dict[str, keras.Variable]:
    """Every variable that decides the next step, by position.

    `Model.variables` holds the seed states of dropout, which no Keras
    checkpoint of weights does. Paths are no names: Keras counts the models of a
    process in them.
    """
    variables = [*trainer.model.variables, *trainer.optimizer.variables]
    return {f"variable_{index:05d}": v for index, v in enumerate(variables)}


def save_state(path: pathlib.Path, trainer: keras.Model, progress: Progress) -> None:
    """Writes weights, optimizer, seeds and progress, or leaves the old file.

    Args:
        path: of the `.npz` file.
        trainer: a compiled trainer whose optimizer is built.
        progress: stored beside the variables.
    """
    arrays = {
        name: keras.ops.convert_to_numpy(variable)
        for name, variable in _variables(trainer).items()
    }
    stored = json.dumps(dataclasses.asdict(progress))
    with replacing(path) as temporary:
        np.savez(temporary, progress=np.array(stored), **arrays)


def read_progress(path: pathlib.Path) -> Progress:
    """How far the run of a checkpoint has come, without its variables.

    Args:
        path: of the `.npz` file; none yet is no epoch.

    Returns:
        The stored progress.

    Raises:
        ValueError: the file is broken.
    """
    if not path.exists():
        return Progress()
    with _whole_file(path), np.load(path, allow_pickle=False) as stored:
        return _progress(stored["progress"])


def _progress(text: np.ndarray) -> Progress:
    return Progress(**json.loads(str(text)))


@contextlib.contextmanager
def _whole_file(path: pathlib.Path) -> Iterator[None]:
    """Says what to do when a checkpoint cannot be read."""
    try:
        yield
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise ValueError(
            f"The checkpoint {path} must be a whole file of this program; reading "
            f"it failed: {error}. Remove it to start the run from its beginning."
        ) from error


def restore_state(path: pathlib.Path, trainer: keras.Model) -> Progress:
    """Sets every variable of `trainer` to what `save_state` stored.

    Args:
        path: of the `.npz` file.
        trainer: a compiled trainer of the same model and optimizer.

    Returns:
        The stored progress.

    Raises:
        ValueError: the file is broken or belongs to another model.
    """
    variables = _variables(trainer)
    with _whole_file(path), np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
        progress = _progress(arrays.pop("progress"))
    mismatch = sorted(set(arrays) ^ set(variables)) or [
        name for name in arrays if arrays[name].shape != tuple(variables[name].shape)
    ]
    if mismatch:
        raise ValueError(
            f"The checkpoint {path} must hold the state of this model; "
            f"{len(mismatch)} of its variables have no counterpart of their shape. "
            "Use another --workdir for another model."
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return progress
