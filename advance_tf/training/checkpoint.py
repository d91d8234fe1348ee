"""The complete state of a run in one file, for an exact resume."""

import dataclasses
import json
import pathlib

import keras
import numpy as np

from advance_tf.checksums import replacing_checked, verify
from advance_tf.files import reading, reserve

_RULE = "be a complete checkpoint written by `advance fit`"
_WAY_OUT = "Remove it to restart the run from its first epoch."


@dataclasses.dataclass(frozen=True)
class Progress:
    """The epochs that a run has trained.

    Attributes:
        epochs: number of finished epochs.
        best_epoch: the epoch, counted from 1, of the best validation score; 0
            before the first.
        best_score: the best validation score.
    """

    epochs: int = 0
    best_epoch: int = 0
    best_score: float = float("-inf")


def state_variables(trainer: keras.Model) -> dict[str, keras.Variable]:
    """Every variable that determines the next step, by position.

    `Model.variables` includes the seed states of dropout, which Keras' weight
    files do not hold. Variable paths cannot serve as keys: Keras numbers the
    models of a process in them.

    Args:
        trainer: a compiled trainer whose optimizer is built.

    Returns:
        Key in a checkpoint → variable.
    """
    variables = [*trainer.model.variables, *trainer.optimizer.variables]
    return {f"variable_{index:05d}": v for index, v in enumerate(variables)}


def save_state(path: pathlib.Path, trainer: keras.Model, progress: Progress) -> None:
    """Writes weights, optimizer, seeds, progress and the dtype policy of the trainer.

    On failure the old file is kept.

    Args:
        path: path of the `.npz` file.
        trainer: a compiled trainer whose optimizer is built.
        progress: stored with the variables.
    """
    arrays = {
        name: keras.ops.convert_to_numpy(variable)
        for name, variable in state_variables(trainer).items()
    }
    stored = json.dumps(dataclasses.asdict(progress))
    with replacing_checked(path) as temporary:
        reserve(temporary, sum(array.nbytes for array in arrays.values()))
        policy = np.array(trainer.dtype_policy.name)
        np.savez(temporary, progress=np.array(stored), precision=policy, **arrays)


def read_progress(path: pathlib.Path) -> Progress:
    """Reads the progress of a checkpoint without its variables.

    Args:
        path: path of the `.npz` file, which may not exist yet.

    Returns:
        The stored progress; zero epochs without a file.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return Progress()
    # The archive checks the entry that is read. The whole file is verified when its
    # variables are, which takes seconds for the paper's towers.
    with reading(path, _RULE, _WAY_OUT), np.load(path, allow_pickle=False) as stored:
        return _parse_progress(stored["progress"])


def read_precision(path: pathlib.Path) -> str:
    """Reads the dtype policy of a checkpoint without its variables.

    Args:
        path: path of the `.npz` file, which may not exist yet.

    Returns:
        The policy, such as "mixed_float16"; "" without a file, or if a version before
        0.2.0 has written it.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return ""
    with reading(path, _RULE, _WAY_OUT), np.load(path, allow_pickle=False) as stored:
        return str(stored["precision"]) if "precision" in stored.files else ""


def _parse_progress(text: np.ndarray) -> Progress:
    return Progress(**json.loads(str(text)))


def restore_state(path: pathlib.Path, trainer: keras.Model) -> Progress:
    """Sets every variable of `trainer` to the value that `save_state` stored.

    Args:
        path: path of the `.npz` file.
        trainer: a compiled trainer of the same model and optimizer.

    Returns:
        The stored progress.

    Raises:
        ValueError: the file is damaged or belongs to another model.
    """
    variables = state_variables(trainer)
    with reading(path, _RULE, _WAY_OUT):
        verify(path)
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        progress = _parse_progress(arrays.pop("progress"))
        trained = str(arrays.pop("precision", "an unknown precision"))
    mismatch = sorted(set(arrays) ^ set(variables)) or [
        name for name in arrays if arrays[name].shape != tuple(variables[name].shape)
    ]
    if mismatch:
        way_out, own = "Use another `workdir` for another model.", trainer.dtype_policy
        if trained != own.name:
            # The loss scaling of mixed_float16 has variables of its own.
            way_out = (
                f"It is of a training in {trained}, and the model is in {own.name}: "
                "set `precision` to that of the training. " + way_out
            )
        raise ValueError(
            f"The checkpoint {path} must hold the state of this model; "
            f"{len(mismatch)} of its variables have no counterpart of the same shape. "
            + way_out
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return progress
