"""How TensorFlow runs the data sets of this package.

`tf.data` adjusts itself while it runs: it optimizes the graph of every new iterator and
measures how many elements to compute at once. Both are made for pipelines of many small
operations. An element here is a few large ones, decoders, resizes and transforms, and
as many are computed at once as there are cores, so that both cost more than they gain.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

_OPTIMIZER = "disable_meta_optimizer"
_TRACING = threading.RLock()
# Tracing the decoders takes as long as some 30 pairs without a graph.
_EAGER_CALLS = 32


@contextlib.contextmanager
def as_traced() -> Iterator[None]:
    """Functions traced within are run without TensorFlow's graph optimizer (Grappler).

    Each new iterator of a `tf.data` data set optimizes the functions of its graph
    again.
    """
    options = tf.config.optimizer
    # The option is of the process: two threads must not restore each other's value.
    with _TRACING:
        before = options.get_experimental_options().get(_OPTIMIZER, False)
        options.set_experimental_options({_OPTIMIZER: True})
        try:
            yield
        finally:
            options.set_experimental_options({_OPTIMIZER: before})


class TracedLater:
    """A function of tensors that is run as a graph once it is called often.

    A command that reads one file does not wait for the graph of a decoder, and one
    that reads thousands does not pay for every operation in Python.

    Args:
        function: one tensor of tensors, with the same result in a graph.
        signature: its arguments.

    Example:
        >>> double = TracedLater(lambda x: 2 * x, [tf.TensorSpec([], tf.float32)])
        >>> float(double(tf.constant(1.5)))
        3.0
    """

    def __init__(
        self, function: Callable[..., tf.Tensor], signature: Sequence[tf.TensorSpec]
    ) -> None:
        self._function = function
        self._signature = list(signature)
        self._calls = 0
        self._graph: Callable[..., tf.Tensor] | None = None

    def __call__(self, *arguments: tf.Tensor) -> tf.Tensor:
        """The result of the function, or its error."""
        self._calls += 1
        if self._calls <= _EAGER_CALLS:
            return self._function(*arguments)
        if self._graph is None:
            # The optimizer changes the outermost function only, and so no rounding.
            inner = tf.function(
                self._function,
                self._signature,
                autograph=False,
                experimental_attributes={"_noinline": True},
            )
            outer = tf.function(
                lambda *given: inner(*given), self._signature, autograph=False
            )
            with as_traced():
                self._graph = outer.get_concrete_function()
        try:
            return self._graph(*arguments)
        except tf.errors.OpError:
            # The error without a graph is that of the operation alone.
            return self._function(*arguments)


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same elements, computed as many at once as there are cores.

    The thread that adjusts the number of parallel calls sleeps for twice as long each
    time, up to a minute, and TensorFlow 2.21 waits for it when an iterator is deleted:
    a pass can take almost twice its time, or a minute longer.

    Args:
        dataset: any data set; `tf.data.AUTOTUNE` in its calls means all cores.

    Returns:
        A data set of the same elements.

    Example:
        >>> dataset = without_autotuning(tf.data.Dataset.range(3))
        >>> dataset.options().autotune.enabled
        False
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def keep_small(
    dataset: tf.data.Dataset, most_bytes: int = 512 * 1024**2
) -> tf.data.Dataset:
    """Keeps the batches of a small data set in memory after its first pass.

    Args:
        dataset: batches that are the same in every pass, none larger than the first.
        most_bytes: limit of all batches together.

    Returns:
        The same batches, kept unless they would take more than `most_bytes` or their
        number is not known.

    Example:
        >>> dataset = tf.data.Dataset.range(6).batch(2)
        >>> [batch.numpy().tolist() for batch in keep_small(dataset)]
        [[0, 1], [2, 3], [4, 5]]
    """
    count = int(dataset.cardinality())
    if count < 0:
        return dataset
    first = next(iter(dataset.take(1)), ())
    size = sum(
        tensor.dtype.size * int(tf.size(tensor)) for tensor in tf.nest.flatten(first)
    )
    return dataset.cache() if count * size <= most_bytes else dataset
