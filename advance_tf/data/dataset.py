"""Batches for training and evaluation: reading, decoding, augmentation, targets."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data import augment
from advance_tf.data.cache import PairCache
from advance_tf.data.pairing import Pair
from advance_tf.data.rows import ComputedRows, Rows, add_rows, path_rows
from advance_tf.data.sampling import epoch_order
from advance_tf.features.file_decoders import image_decoder, sound_decoder
from advance_tf.features.frontend import Frontend
from advance_tf.features.pipelines import as_traced, without_autotuning

_Tensors = dict[str, tf.Tensor]
_Loader = Callable[[_Tensors, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# Columns of the paths, which cannot be names of targets.
_IMAGE, _SOUND, _CACHED = "path of image", "path of sound", "path in cache"


def epoch_indices(
    count: int,
    *,
    shuffle: bool,
    seed: int = 0,
    first_epoch: int = 0,
    balance: np.ndarray | None = None,
    fixed: bool = False,
    order_of: Callable[[int], np.ndarray] | None = None,
) -> tf.data.Dataset:
    """The epoch and the index of every element; one pass is one epoch.

    The order within an epoch depends only on `seed` and the epoch number, so that a
    run resumed at `first_epoch` gets the same order as an uninterrupted run.

    Args:
        count: number of elements.
        shuffle: draw a new order in each epoch.
        seed: seed of the orders.
        first_epoch: epoch number of the first pass.
        balance: int [count], the scenes, for balanced orders, see `epoch_order`.
        fixed: one order for all epochs, see `epoch_order`.
        order_of: another function of the epoch, → int [count]; None: `epoch_order`.

    Returns:
        A data set of (epoch, index), two int64 scalars, with `count` elements.

    Example:
        >>> indices = epoch_indices(3, shuffle=False)
        >>> [(int(epoch), int(index)) for epoch, index in indices]
        [(0, 0), (0, 1), (0, 2)]
    """
    if not shuffle:
        epoch = tf.constant(first_epoch, tf.int64)
        return tf.data.Dataset.range(count).map(lambda index: (epoch, index))
    passes = iter(range(first_epoch, 1 << 31))

    def draw_order() -> tuple[np.ndarray, np.ndarray]:
        epoch = next(passes)
        order = (
            epoch_order(count, seed=seed, epoch=epoch, balance=balance, fixed=fixed)
            if order_of is None
            else order_of(epoch)
        )
        return np.full(count, epoch, np.int64), order.astype(np.int64)

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
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    batch_size: int,
    *,
    training: bool = False,
    seed: int = 0,
    targets: Mapping[str, Rows] | None = None,
    cache: PairCache | None = None,
    first_epoch: int = 0,
    sound_input: str = "log_mel",
    sampling: str = "shuffled",
    augmentation: str = "real",
    keep_last_batch: bool = False,
    rows: Sequence[int] | None = None,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Batches of model inputs and targets.

    In training each pass uses a new order, images are augmented, recordings longer
    than a clip are cut at random, and an incomplete last batch is dropped, unless
    `sampling`, `augmentation` or `keep_last_batch` differ. All random choices
    depend only on `seed`, the epoch and the pair, not on the number of
    threads. In evaluation pairs keep their order, recordings are cut at the centre
    and every pair is used. `load_advance` shows an example.

    Paths and targets are read for a few pairs at a time: neither the graph nor the
    memory grows with a copy of them.

    Args:
        pairs: the pairs of one split.
        data_dir: folder of the data set.
        features: settings of image and sound.
        batch_size: pairs in a batch.
        training: shuffle and augment.
        seed: seed of order and augmentation.
        targets: name → array, or other `Rows`, with one row for each pair.
        cache: decoded pairs, already filled; None decodes the files in each pass.
        first_epoch: epoch number of the first pass, for a resumed run.
        sound_input: input of sounds that the model has, "log_mel" or "waveform".
        sampling: order of training, "shuffled", "balanced" over the scenes, or
            "fixed" for all epochs.
        augmentation: of training, see `augment.augment_image`.
        keep_last_batch: use an incomplete last batch in training too.
        rows: positions of the pairs to use, in this order and without dropping the
            last batch. Augmentation is that of `first_epoch` in every pass and depends
            on the position in `pairs`.
        share: (i, n) for part i of n of every batch, of which batch_size is the size;
            without whole batches, the pairs i, i + n, i + 2 n, …

    Returns:
        A data set of ({"image": float32 [B, S, S, 3] in [0, 255], "log_mel": float32
        [B, frames, mel_bins] normalized}, {"scene": int32 [B], and each of
        `targets`}); with `sound_input` "waveform", "waveform" float32 [B,
        clip_samples] replaces "log_mel".

    Raises:
        ValueError: `pairs` is empty, a target has a different number of rows, or the
            cache holds sounds in another form.
    """
    if cache is not None and cache.sound_input != sound_input:
        raise ValueError(
            f"cache must hold the sounds as {sound_input}; it holds them as "
            f"{cache.sound_input}. Create the cache with `sound_input={sound_input!r}`."
        )
    columns = target_columns(pairs, targets)
    paths = path_columns(pairs, data_dir, cache)
    load = input_loader(
        Frontend(features, sound_input=sound_input),
        seed,
        augmentation if training else None,
        cache,
        paths,
    )

    @tf.autograph.experimental.do_not_convert
    def load_pair(
        epoch: tf.Tensor, index: tf.Tensor, row: _Tensors
    ) -> tuple[_Tensors, _Tensors]:
        return load(epoch, index, row), {name: row[name] for name in columns}

    shuffle = training and rows is None
    indices = epoch_indices(
        len(pairs),
        shuffle=shuffle,
        seed=seed,
        first_epoch=first_epoch,
        balance=scene_numbers(pairs) if sampling == "balanced" else None,
        fixed=sampling == "fixed",
    )
    count = len(pairs)
    if rows is not None:
        count, chosen = len(rows), np.asarray(rows, np.int64)
        indices = tf.data.Dataset.from_tensor_slices(
            (np.full_like(chosen, first_epoch), chosen)
        )
    drop = shuffle and not keep_last_batch
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


def path_columns(
    pairs: Sequence[Pair], data_dir: str | pathlib.Path, cache: PairCache | None
) -> dict[str, ComputedRows]:
    """The paths of the files of every pair.

    Args:
        pairs: n pairs.
        data_dir: folder of the data set.
        cache: as for `make_dataset`.

    Returns:
        Name → paths, [n], for `input_loader`.
    """
    columns = {
        _IMAGE: path_rows(pairs, data_dir, "image"),
        _SOUND: path_rows(pairs, data_dir, "sound"),
    }
    if cache is not None:
        columns[_CACHED] = cache.path_rows(pairs, data_dir)
    return columns


def input_loader(
    frontend: Frontend,
    seed: int,
    augmentation: str | None,
    cache: PairCache | None,
    paths: Mapping[str, Rows],
) -> Callable[[tf.Tensor, tf.Tensor, _Tensors], _Tensors]:
    """Builds the function that loads the inputs of a pair.

    Args:
        frontend: of the model's inputs.
        seed: seed of the augmentation.
        augmentation: of training, see `augment.augment_image`; None in evaluation.
        cache: as for `make_dataset`.
        paths: result of `path_columns` for all pairs.

    Returns:
        A function of epoch, index and paths, see `path_columns`, that returns
        image and sound, the image of a cache as uint8.
    """
    training = augmentation is not None
    # A cache holds the centre cut; training cuts a long recording at random.
    cuts = training and cache is not None and cache.has_long_recordings(paths[_CACHED])
    load = _pair_loader(frontend, training, cache, cuts)

    # The functions have no Python control flow; looking for it takes a second.
    @tf.autograph.experimental.do_not_convert
    def load_inputs(epoch: tf.Tensor, index: tf.Tensor, row: _Tensors) -> _Tensors:
        pair_seed = augment.element_seed(seed, epoch, index)
        # [S, S, 3], and [frames, mel_bins] or [clip_samples]
        image, sound = load(row, pair_seed)
        if augmentation is not None:
            image = augment.augment_image(image, pair_seed, augmentation)
        return {"image": image, frontend.sound_input: sound}

    return load_inputs


def _pair_loader(
    frontend: Frontend, training: bool, cache: PairCache | None, cuts: bool
) -> _Loader:
    """A function of paths and seed: the image and the model's input of the sound.

    Images of the cache are uint8, images of files float32. `cuts` is whether
    recordings of the cache are decoded again and cut at random.
    """
    features, is_waveform = frontend.features, frontend.sound_input == "waveform"

    def finish(sound: tf.Tensor) -> tf.Tensor:
        return sound if is_waveform else frontend.normalize(sound)

    def decode_sound(row: _Tensors, pair_seed: tf.Tensor) -> tf.Tensor:
        offset = augment.random_offset(pair_seed) if training else tf.constant(0.5)
        decode = sound_decoder(features, frontend.sound_input)
        return finish(decode(row[_SOUND], offset))

    def load_files(row: _Tensors, pair_seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = image_decoder(features)(row[_IMAGE])  # [S, S, 3]
        return image, decode_sound(row, pair_seed)

    if cache is None:
        return load_files

    def load_cached(row: _Tensors, pair_seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, stored, is_long = cache.read(row[_CACHED])

        # Without the decoder the graph of a pass is ready in a tenth of the time.
        if not cuts:
            return image, finish(stored)
        sound = tf.cond(
            is_long, lambda: decode_sound(row, pair_seed), lambda: finish(stored)
        )
        return image, sound

    return load_cached
