"""Batches for training and evaluation: pairs in an order, with their targets."""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.data.rows import Rows, add_rows
from advance_tf.data.sampling import TrainingEpochs
from advance_tf.features.pipelines import as_traced, without_autotuning

_Tensors = dict[str, tf.Tensor]


def epoch_indices(
    count: int,
    order_of: Callable[[int], np.ndarray] | None = None,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """The epoch and the index of every element; one pass is one epoch.

    Args:
        count: number of elements.
        order_of: the order of an epoch, → int [count], such as that of
            `TrainingEpochs`; None: the elements in order, always of `first_epoch`.
        first_epoch: epoch number of the first pass.

    Returns:
        A data set of (epoch, index), two int64 scalars, with `count` elements.

    Example:
        >>> indices = epoch_indices(3)
        >>> [(int(epoch), int(index)) for epoch, index in indices]
        [(0, 0), (0, 1), (0, 2)]
    """
    if order_of is None:
        epoch = tf.constant(first_epoch, tf.int64)
        return tf.data.Dataset.range(count).map(lambda index: (epoch, index))
    passes = iter(range(first_epoch, 1 << 31))

    def draw_order() -> tuple[np.ndarray, np.ndarray]:
        epoch = next(passes)
        return np.full(count, epoch, np.int64), order_of(epoch).astype(np.int64)

    def one_pass(_: tf.Tensor) -> tf.data.Dataset:
        # Python is called once in an epoch, not for every element.
        columns = tf.numpy_function(draw_order, [], [tf.int64, tf.int64])
        return tf.data.Dataset.from_tensor_slices(
            tuple(tf.ensure_shape(column, [count]) for column in columns)
        )

    dataset = tf.data.Dataset.range(1).flat_map(one_pass)
    return dataset.apply(tf.data.experimental.assert_cardinality(count))


@as_traced()
def make_dataset(
    files: PairFiles,
    batch_size: int,
    *,
    training: TrainingEpochs | None = None,
    targets: Mapping[str, Rows] | None = None,
    rows: Sequence[int] | None = None,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Batches of model inputs and targets.

    In training each pass uses a new order, images are augmented, recordings longer
    than a clip are cut at random, and an incomplete last batch is dropped, unless
    `TrainingEpochs` states otherwise. All random choices depend only on its seed, the
    epoch and the pair, not on the number of threads. In evaluation pairs keep their
    order, recordings are cut at the centre and every pair is used.

    Paths and targets are read for a few pairs at a time: neither the graph nor the
    memory grows with a copy of them.

    Args:
        files: the pairs of one split, with their folder, settings and cache.
        batch_size: pairs in a batch.
        training: order and augmentation of the epochs of training; None for
            evaluation.
        targets: name → array, or other `Rows`, with one row for each pair.
        rows: positions of the pairs to use, in this order and without dropping the
            last batch. Augmentation is that of `training.first_epoch` in every pass
            and depends on the position in the pairs.
        share: (i, n) for part i of n of every batch, of which batch_size is the size;
            without whole batches, the pairs i, i + n, i + 2 n, …

    Returns:
        A data set of ({"image": float32 [B, S, S, 3] in [0, 255], "log_mel": float32
        [B, frames, mel_bins] normalized}, {"scene": int32 [B], and each of
        `targets`}); with `sound_input` "waveform" of `files`, "waveform" float32 [B,
        clip_samples] replaces "log_mel".

    Raises:
        ValueError: there is no pair, or a target has a different number of rows.

    Example:
        >>> import tempfile
        >>> from advance_tf.config import FeatureConfig
        >>> from advance_tf.data.layout import scan
        >>> from advance_tf.data.synthetic.pairs import write_pairs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_pairs(folder, sites_per_scene=1, progress=False)
        ...     files = PairFiles(scan(folder).pairs, folder, FeatureConfig())
        ...     dataset = make_dataset(files, 4, training=TrainingEpochs(seed=1))
        ...     inputs, targets = next(iter(dataset))
        >>> inputs["image"].shape, targets["scene"].shape
        (TensorShape([4, 256, 256, 3]), TensorShape([4]))
    """
    columns = target_columns(files.pairs, targets)
    paths = files.path_columns()
    load = files.loader(paths, training)

    @tf.autograph.experimental.do_not_convert
    def load_pair(
        epoch: tf.Tensor, index: tf.Tensor, row: _Tensors
    ) -> tuple[_Tensors, _Tensors]:
        return load(epoch, index, row), {name: row[name] for name in columns}

    count, order_of, drop = len(files.pairs), None, False
    first_epoch = training.first_epoch if training else 0
    if training and rows is None:
        scenes = np.asarray(columns["scene"])
        order_of = functools.partial(training.order, count, classes=scenes)
        drop = not training.keep_last_batch
    indices = epoch_indices(count, order_of, first_epoch)
    if rows is not None:
        count, chosen = len(rows), np.asarray(rows, np.int64)
        indices = tf.data.Dataset.from_tensor_slices(
            (np.full_like(chosen, first_epoch), chosen)
        )
    if share != (0, 1):
        indices, count = _share(indices, count, batch_size, share, drop)
        batch_size //= share[1]
    batches = (
        add_rows(indices, columns | paths, count)
        .map(load_pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=drop)
    )
    return without_autotuning(batches.map(as_float).prefetch(2))


def _share(
    indices: tf.data.Dataset,
    count: int,
    batch_size: int,
    share: tuple[int, int],
    whole_batches: bool,
) -> tuple[tf.data.Dataset, int]:
    """One part of the indices, and its number of indices, see `share_rows`."""
    part, parts = share
    if not whole_batches:
        return indices.shard(parts, part), len(range(part, count, parts))
    own = batch_size // parts

    def take(*columns: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(column[part * own : (part + 1) * own] for column in columns)

    batches = indices.batch(batch_size, drop_remainder=True)
    return batches.map(take).unbatch(), count // batch_size * own


def share_rows(
    order: np.ndarray, batch_size: int, share: tuple[int, int], whole_batches: bool
) -> np.ndarray:
    """The rows of one part of an epoch.

    Args:
        order: int [n], rows in the order of the epoch.
        batch_size: rows in a batch of all parts.
        share: (i, n) for part i of n.
        whole_batches: every part has batch_size / n consecutive rows of each batch,
            and an incomplete batch is dropped; otherwise every n-th row.

    Returns:
        int [m].

    >>> share_rows(np.arange(9), 4, (1, 2), True).tolist()
    [2, 3, 6, 7]
    >>> share_rows(np.arange(5), 4, (1, 2), False).tolist()
    [1, 3]
    """
    part, parts = share
    if not whole_batches:
        return order[part::parts]
    whole = order[: len(order) // batch_size * batch_size]
    return whole.reshape(-1, parts, batch_size // parts)[:, part].reshape(-1)


@tf.autograph.experimental.do_not_convert
def as_float(inputs: _Tensors, targets: _Tensors) -> tuple[_Tensors, _Tensors]:
    """Converts images that were batched as bytes, a quarter of the memory.

    Args:
        inputs: "image", uint8 or float32, and others.
        targets: returned as they are.

    Returns:
        Both, with the image as float32.
    """
    return {**inputs, "image": tf.cast(inputs["image"], tf.float32)}, targets


def scene_numbers(pairs: Sequence[Pair]) -> np.ndarray:
    """The indices of the scenes of pairs, int64 [n] in 0..12."""
    index_of = {scene: index for index, scene in enumerate(labels.scenes())}
    return np.array([index_of[pair.scene] for pair in pairs], np.int64)


def target_columns(
    pairs: Sequence[Pair], targets: Mapping[str, Rows] | None
) -> dict[str, Rows]:
    """The scene index and each target of every pair.

    Args:
        pairs: n pairs.
        targets: name → rows, one for each pair.

    Returns:
        Name → rows: "scene", int32 [n], and the targets, [n, …].

    Raises:
        ValueError: there is no pair, or a target has a different number of rows.
    """
    if not pairs:
        raise ValueError(
            "pairs must contain at least one pair; received none. Choose another "
            "split or add data."
        )
    columns: dict[str, Rows] = {"scene": scene_numbers(pairs).astype(np.int32)}
    for name, rows in (targets or {}).items():
        if len(rows) != len(pairs):
            raise ValueError(
                f"The target '{name}' must have a row for each of {len(pairs)} pairs; "
                f"received {len(rows)} rows. Compute it for the same pairs."
            )
        columns[name] = rows
    return columns
