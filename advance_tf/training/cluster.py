"""The processes that train one run together, and what they agree on."""

import contextlib
import dataclasses
import functools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import keras
import numpy as np
import tensorflow as tf

from advance_tf.training.checkpoint import Progress, state_variables

_ENVIRONMENT = "TF_CONFIG"
_FORM = (
    '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'
)
# What collective operations and the coordination of TensorFlow raise when a process
# of the cluster has ended.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
# Numbers in one collective operation, 64 MB of float32.
_PART_VALUES = 1 << 24
_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of the processes that train a run.

    Attributes:
        strategy: of the training; model and optimizer are built in its scope.
        index: place of the process, from 0.
        count: number of processes; 1 without a cluster.
    """

    strategy: tf.distribute.Strategy
    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.index == 0

    def wait(self) -> None:
        """Waits until every process of the cluster has called it."""
        if self.count > 1:
            self._total([np.ones(1)])

    def after_chief(self, function: Callable[[], _Value]) -> _Value:
        """Calls a function in the chief first, then in the other processes.

        Args:
            function: writes files that the other processes then find.

        Returns:
            The value of the function in this process.
        """
        if not self.is_chief:
            self.wait()
            return function()
        value = function()
        self.wait()
        return value

    def share_state(self, trainer: keras.Model, progress: Progress) -> Progress:
        """Gives every process the state of the chief.

        Args:
            trainer: a compiled trainer whose optimizer is built; changed in place
                except in the chief.
            progress: progress of the run as the chief has read it.

        Returns:
            The chief's progress.
        """
        if self.count == 1:
            return progress
        variables = list(state_variables(trainer).values())
        values = [np.array(dataclasses.astuple(progress), np.float64)]
        values += [keras.ops.convert_to_numpy(variable) for variable in variables]
        # The collective operations lack some of the types of integers.
        sent = [
            value.astype(np.int64) if value.dtype.kind in "iub" else value
            for value in values
        ]
        if not self.is_chief:
            sent = [np.zeros_like(value) for value in sent]
        first, *received = self._total(sent)
        for variable, value, own in zip(variables, received, values[1:], strict=True):
            variable.assign(value.astype(own.dtype))
        epochs, best_epoch, best_score = first.tolist()
        return Progress(int(epochs), int(best_epoch), best_score)

    def _total(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """The sums of the values over the processes."""
        # One vector for each type: a collective operation for every variable of a
        # network would take seconds to build.
        sums: dict[int, np.ndarray] = {}
        # In the order of the values, which is the same in every process.
        for kind in dict.fromkeys(value.dtype for value in values):
            own = [place for place, value in enumerate(values) if value.dtype == kind]
            total = self._vector_total(np.concatenate([values[p].ravel() for p in own]))
            ends = np.cumsum([values[place].size for place in own])
            parts = np.split(total, ends[:-1])
            sums |= {
                place: part.reshape(values[place].shape)
                for place, part in zip(own, parts, strict=True)
            }
        return [sums[place] for place in range(len(values))]

    def _vector_total(self, vector: np.ndarray) -> np.ndarray:
        """The sum of a vector over the processes, in parts of limited size."""

        @tf.function(
            input_signature=[tf.TensorSpec([None], vector.dtype)], autograph=False
        )
        def total(part: tf.Tensor) -> tf.Tensor:
            def on_replica(own: tf.Tensor) -> tf.Tensor:
                context = tf.distribute.get_replica_context()
                # A copy has a device, which the sum over the replicas needs.
                return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(own))

            return self.strategy.run(on_replica, args=(part,))

        starts = range(0, len(vector), _PART_VALUES)
        parts = [vector[start : start + _PART_VALUES] for start in starts]
        return np.concatenate([total(part).numpy() for part in parts])


@functools.lru_cache(1)
def join_cluster() -> Worker:
    """Joins the cluster of the environment variable TF_CONFIG, once in a process.

    It waits until all processes of the cluster have been started. Call it before
    TensorFlow computes anything in this process.

    Returns:
        This process, with a MultiWorkerMirroredStrategy over all of them.

    Raises:
        ValueError: TF_CONFIG is missing or not valid, TensorFlow is in use already,
            or this process has several GPUs.
    """
    hosts, index = _read_cluster(os.environ.get(_ENVIRONMENT, ""))
    if len(hosts) == 1:
        return Worker(tf.distribute.get_strategy())
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) > 1:
        raise ValueError(
            "A process of `strategy=multi_worker` must have one device; received "
            f"{len(gpus)} GPUs. Start a process for each GPU and show it that one with "
            "CUDA_VISIBLE_DEVICES."
        )
    implementation = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementation.AUTO if gpus else implementation.RING
    )
    try:
        with lost_processes(len(hosts)):
            strategy = tf.distribute.MultiWorkerMirroredStrategy(
                communication_options=options
            )
    except RuntimeError as error:
        raise ValueError(
            "A cluster must be joined before TensorFlow computes anything in this "
            f"process: {error}. Call `advance_tf.training.cluster.join_cluster` first."
        ) from error
    if threading.current_thread() is threading.main_thread():
        # TensorFlow's coordination handles SIGTERM as a notice: the process would run
        # until SIGKILL.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return Worker(strategy, index, len(hosts))


def _read_cluster(text: str) -> tuple[list[str], int]:
    """Hosts of the workers, and the place of this process among them."""
    try:
        values = json.loads(text)
        hosts, task = values["cluster"]["worker"], values["task"]
        index = int(task["index"])
        valid = set(values["cluster"]) == {"worker"} and task["type"] == "worker"
        if not valid or not 0 <= index < len(hosts):
            raise ValueError("it names no worker of the cluster")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"`strategy=multi_worker` needs the environment variable {_ENVIRONMENT} "
            f"with {_FORM}; received {text!r}. Set it in every process, or use "
            "`strategy=one`."
        ) from error
    return list(hosts), index


def join(strategy: str) -> Worker:
    """Joins the cluster of a run, if it has one.

    Args:
        strategy: value of `TrainingConfig.strategy`.

    Returns:
        This process; the only one with the current strategy of TensorFlow unless
        `strategy` is "multi_worker".

    >>> join("one").count
    1
    """
    if strategy == "multi_worker":
        return join_cluster()
    return Worker(tf.distribute.get_strategy())


@contextlib.contextmanager
def lost_processes(count: int) -> Iterator[None]:
    """Converts the errors of a cluster of which a process has ended.

    Args:
        count: number of processes of the cluster; with 1, nothing is converted.

    Raises:
        ValueError: another process of the cluster has ended.
    """
    try:
        yield
    except _LOST as error:
        if count == 1:
            raise
        reason = _reason(error)
        raise ValueError(
            f"All {count} processes of a cluster must stay until the run ends; "
            f"the connection to one of them is lost ({reason[:200]}). Start all of "
            "them again: the run resumes after its last finished epoch."
        ) from error


def _reason(error: tf.errors.OpError) -> str:
    """The line of an error of TensorFlow that states its cause."""
    places = ("Graph execution error", "Detected at", "node ", "File ", "<", "[", "The")
    lines = [line.strip() for line in str(error.message).splitlines()]
    causes = [line for line in lines if line and not line.startswith(places)]
    return causes[0] if causes else type(error).__name__
