"""Batches that the workers of a tf.data service read and decode.

A service runs the graph of a data set in other processes, so that it has no call of
Python: orders and paths are computed here and sent with the graph of each epoch;
targets are added here.
"""

import queue
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from advance_tf.data.dataset import as_float, share_rows, target_columns
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.rows import Rows
from advance_tf.data.sampling import TrainingEpochs
from advance_tf.features.pipelines import without_autotuning

_Tensors = dict[str, tf.Tensor]
# Seconds after which a dispatcher that does not respond is an error.
_CONNECT_SECONDS = 10
# Seconds without any batch after which the service is not waited for.
_BATCH_SECONDS = 300
_NUMBER = "number of batch"


class ServedBatches:
    """The batches of `make_dataset`, in the same order, from a tf.data service.

    Each pass is one epoch. The workers of the service take batches as they are
    ready; they are put in order here, so that neither the number of the workers nor
    their speed changes the result. Data and cache must have the same paths on every
    worker.

    Args:
        service: the dispatcher, "grpc://host:port".
        files: as for `make_dataset`, like the following.
        batch_size: pairs in a batch of all shares.
        training: order and augmentation; None for evaluation.
        targets: name → rows.
        share: (i, n) for part i of n of every batch.

    Raises:
        ValueError: the dispatcher does not respond, or as for `make_dataset`; while
            iterating, a worker has ended.
    """

    def __init__(
        self,
        service: str,
        files: PairFiles,
        batch_size: int,
        *,
        training: TrainingEpochs | None = None,
        targets: Mapping[str, Rows] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        check_service(service)
        self.service = service
        self._targets = target_columns(files.pairs, targets)
        self._paths = files.path_columns()
        self._load = files.loader(self._paths, training)
        self._count, self._training = len(files.pairs), training
        self._share, self._batch_size = share, batch_size
        self._epoch = training.first_epoch if training else 0

    def __iter__(self) -> Iterator[tuple[_Tensors, _Tensors]]:
        """Yields (inputs, targets) of the next epoch."""
        epoch = self._epoch
        self._epoch += bool(self._training)
        rows = self._rows(epoch)
        size = self._batch_size // self._share[1]
        waiting: dict[int, _Tensors] = {}
        following = 0
        received = iter(self._distributed(epoch, rows, size))
        for element in iter(lambda: _next_within(received, _BATCH_SECONDS), None):
            waiting[int(element[_NUMBER][0])] = element
            while (inputs := waiting.pop(following, None)) is not None:
                own = rows[following * size : (following + 1) * size]
                del inputs[_NUMBER]
                targets = {
                    name: tf.constant(np.asarray(column[own]))
                    for name, column in self._targets.items()
                }
                following += 1
                yield as_float(inputs, targets)
        batches = -(-len(rows) // size)
        if following < batches:
            raise ValueError(
                "A tf.data service must give every batch of an epoch, each within "
                f"{_BATCH_SECONDS} seconds; {self.service} gave "
                f"{following + len(waiting)} of {batches}: one of its workers has "
                "ended. Start it again; the run resumes after its last epoch."
            )

    def _rows(self, epoch: int) -> np.ndarray:
        """The pairs of this share in the order of an epoch, int64 [m]."""
        order, whole_batches = np.arange(self._count), False
        if self._training:
            scenes = np.asarray(self._targets["scene"])
            order = self._training.order(self._count, epoch, scenes)
            whole_batches = not self._training.keep_last_batch
        return share_rows(
            order.astype(np.int64), self._batch_size, self._share, whole_batches
        )

    def _distributed(self, epoch: int, rows: np.ndarray, size: int) -> tf.data.Dataset:
        """Batches of inputs with their number, in the order of their completion."""
        batches = -(-len(rows) // size)
        indices = tf.constant(rows)
        paths = {name: tf.constant(col[rows]) for name, col in self._paths.items()}
        numbers = tf.range(len(rows), dtype=tf.int64) // size

        @tf.autograph.experimental.do_not_convert
        def elements(number: tf.Tensor) -> tf.data.Dataset:
            own = slice(number * size, (number + 1) * size)
            return tf.data.Dataset.from_tensor_slices(
                (numbers[own], indices[own], {n: p[own] for n, p in paths.items()})
            )

        @tf.autograph.experimental.do_not_convert
        def load(number: tf.Tensor, index: tf.Tensor, row: _Tensors) -> _Tensors:
            inputs = self._load(tf.constant(epoch, tf.int64), index, row)
            return {**inputs, _NUMBER: number}

        distribute = tf.data.experimental.service.distribute(
            # Whole batches are divided among the workers of the service.
            processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC,
            service=self.service,
        )
        return without_autotuning(
            tf.data.Dataset.range(batches)
            .flat_map(elements)
            .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(size)
            .apply(distribute)
        )


def _next_within(elements: Iterator[_Tensors], seconds: float) -> _Tensors | None:
    """The next element; None at the end or if it takes longer.

    TensorFlow waits without limit for a worker that has ended. This cannot be
    cancelled, but left to a thread.
    """
    found: queue.SimpleQueue[_Tensors | Exception | None] = queue.SimpleQueue()

    def take() -> None:
        try:
            found.put(next(elements, None))
        except Exception as error:
            found.put(error)

    threading.Thread(target=take, daemon=True).start()
    try:
        element = found.get(timeout=seconds)
    except queue.Empty:
        return None
    if isinstance(element, Exception):
        raise element
    return element


def check_service(service: str) -> None:
    """Checks that a dispatcher responds.

    Args:
        service: "grpc://host:port".

    Raises:
        ValueError: the address is not valid, or nothing responds there.

    >>> check_service("localhost")
    Traceback (most recent call last):
    ValueError: tf_data_service must be grpc://host:port; received 'localhost'.
    """
    address = urllib.parse.urlsplit(service)
    if address.scheme != "grpc" or not address.hostname or not address.port:
        raise ValueError(
            f"tf_data_service must be grpc://host:port; received {service!r}."
        )
    try:
        place = (address.hostname, address.port)
        socket.create_connection(place, _CONNECT_SECONDS).close()
    except OSError as error:
        raise ValueError(
            f"tf_data_service must be a running dispatcher; {service} does not respond "
            f"({error}). Start it with `export/cluster/data_service.py`, or leave "
            "`tf_data_service` empty."
        ) from error
