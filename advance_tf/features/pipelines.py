"""How TensorFlow runs the data sets of this package.

`tf.data` adjusts itself while it runs: it optimizes the graph of every new iterator and
measures how many elements to compute at once. Both are made for pipelines of many small
operations. An element here is a few large ones, decoders, resizes and transforms, and
as many are computed at once as there are cores, so that both cost more than they gain.
"""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

_OPTIMIZER = "disable_meta_optimizer"


@contextlib.contextmanager
def as_traced() -> Iterator[None]:
    """Functions traced within are run without TensorFlow's graph optimizer (Grappler).

    Each new iterator of a `tf.data` data set optimizes the functions of its graph
    again.
    """
    before = tf.config.optimizer.get_experimental_options().get(_OPTIMIZER, False)
    tf.config.optimizer.set_experimental_options({_OPTIMIZER: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_OPTIMIZER: before})


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
