"""Runs that are killed and resumed: their state, and the epochs that they train."""

import csv

import numpy as np
import pytest

from advance_tf.training import callbacks
from advance_tf.training.recognition import train_recognizer


def read_rows(folder):
    """The rows of the log of a run."""
    with (folder / callbacks.LOG).open(newline="") as file:
        return list(csv.DictReader(file))


def read_state(folder):
    """Every variable of the checkpoint, and the log without the column of seconds."""
    with np.load(folder / callbacks.CHECKPOINT) as stored:
        arrays = {name: stored[name] for name in stored.files}
    rows = [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in read_rows(folder)
    ]
    return arrays, rows


def train(folder, config, manifest, knowledge=None):
    """Trains or resumes a run; returns its progress and the result of `read_state`."""
    folder.mkdir(exist_ok=True)
    progress = train_recognizer(config, manifest, folder, knowledge=knowledge)
    return progress, *read_state(folder)


def train_until_killed(epoch, *run):
    """Trains a run that is killed between log and checkpoint of an epoch.

    Args:
        epoch: counted from 1.
        *run: arguments of `train`.
    """
    saved = callbacks.save_state

    def killed(path, trainer, progress):
        if progress.epochs == epoch:
            raise KeyboardInterrupt
        saved(path, trainer, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "save_state", killed)
        with pytest.raises(KeyboardInterrupt):
            train(*run)
    assert len(read_rows(run[0])) == epoch


def assert_resumed(epoch, expected, *run):
    """Resumes a run that was killed in an epoch, and compares the states at the end.

    A restart from the first epoch ends in the same state; it is found by the epochs
    that are trained, and by the seconds of the epochs that were finished.

    Args:
        epoch: that of `train_until_killed`.
        expected: what `train` returned for an uninterrupted run.
        *run: arguments of `train`.
    """
    saved, epochs = callbacks.save_state, []

    def recorded(path, trainer, progress):
        epochs.append(progress.epochs)
        saved(path, trainer, progress)

    before = read_rows(run[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "save_state", recorded)
        progress, arrays, rows = train(*run)
    assert epochs == list(range(epoch, progress.epochs + 1))
    assert read_rows(run[0])[: epoch - 1] == before[: epoch - 1]
    assert progress == expected[0]
    assert arrays.keys() == expected[1].keys()
    for name, value in expected[1].items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name)
    assert rows == expected[2]
