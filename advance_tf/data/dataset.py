"""Batches for training and evaluation: reading, decoding, augmentation, targets."""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data import augment
from advance_tf.data.cache import PairCache
from advance_tf.data.layout import Pair
from advance_tf.features.frontend import Frontend

_Tensors = dict[str, tf.Tensor]
_Loader = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def epoch_indices(
    count: int, *, shuffle: bool, seed: int = 0, first_epoch: int = 0
) -> tf.data.Dataset:
    """The epoch and the index of every element; one pass is one epoch.

    The order within an epoch depends only on `seed` and the epoch number, so that a
    run resumed at `first_epoch` gets the same order as an uninterrupted run.

    Args:
        count: number of elements.
        shuffle: draw a new order in each epoch.
        seed: seed of the orders.
        first_epoch: epoch number of the first pass.

    Returns:
        A data set of (epoch, index), two int64 scalars, with `count` elements.

    Example:
        >>> indices = epoch_indices(3, shuffle=False)
        >>> [(int(epoch), int(index)) for epoch, index in indices]
        [(0, 0), (0, 1), (0, 2)]
    """
    passes = iter(range(first_epoch, 1 << 31))

    def one_pass() -> Iterator[tuple[int, int]]:
        epoch = next(passes) if shuffle else first_epoch
        order = np.arange(count)
        if shuffle:
            order = np.random.default_rng((seed, epoch)).permutation(count)
        for index in order.tolist():
            yield epoch, index

    scalar = tf.TensorSpec((), tf.int64)
    dataset = tf.data.Dataset.from_generator(
        one_pass, output_signature=(scalar, scalar)
    )
    return dataset.apply(tf.data.experimental.assert_cardinality(count))


def make_dataset(
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    batch_size: int,
    *,
    training: bool = False,
    seed: int = 0,
    targets: Mapping[str, np.ndarray] | None = None,
    cache: PairCache | None = None,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Batches of model inputs and targets.

    In training each pass uses a new order, images are augmented, recordings longer
    than a clip are cut at random, and an incomplete last batch is dropped. All random
    choices depend only on `seed`, the epoch and the pair, not on the number of
    threads. In evaluation pairs keep their order, recordings are cut at the centre
    and every pair is used. `load_advance` shows an example.

    Args:
        pairs: the pairs of one split.
        data_dir: folder of the data set.
        features: settings of image and sound.
        batch_size: pairs in a batch.
        training: shuffle and augment.
        seed: seed of order and augmentation.
        targets: name → array with one row for each pair.
        cache: decoded pairs, already filled; None decodes the files in each pass.
        first_epoch: epoch number of the first pass, for a resumed run.

    Returns:
        A data set of ({"image": float32 [B, S, S, 3] in [0, 255], "log_mel": float32
        [B, frames, mel_bins] normalized}, {"scene": int32 [B], and each of
        `targets`}).

    Raises:
        ValueError: `pairs` is empty, or a target has a different number of rows.
    """
    columns = _target_columns(pairs, targets)
    load = _pair_loader(pairs, pathlib.Path(data_dir), features, training, cache)

    def load_pair(epoch: tf.Tensor, index: tf.Tensor) -> tuple[_Tensors, _Tensors]:
        pair_seed = augment.element_seed(seed, epoch, index)
        image, log_mel = load(index, pair_seed)  # [S, S, 3], [frames, mel_bins]
        if training:
            image = augment.augment_image(image, pair_seed)
        inputs = {"image": image, "log_mel": log_mel}
        return inputs, {name: tf.gather(rows, index) for name, rows in columns.items()}

    indices = epoch_indices(
        len(pairs), shuffle=training, seed=seed, first_epoch=first_epoch
    )
    return (
        indices.map(load_pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=training)
        .prefetch(2)
    )


def _target_columns(
    pairs: Sequence[Pair], targets: Mapping[str, np.ndarray] | None
) -> _Tensors:
    """The scene index and each target of every pair: [n], [n, …]."""
    if not pairs:
        raise ValueError(
            "pairs must contain at least one pair; received none. Choose another "
            "split or add data."
        )
    scenes = labels.scenes()
    columns = {"scene": tf.constant([scenes.index(p.scene) for p in pairs], tf.int32)}
    for name, rows in (targets or {}).items():
        if len(rows) != len(pairs):
            raise ValueError(
                f"The target '{name}' must have a row for each of {len(pairs)} pairs; "
                f"received {len(rows)} rows. Compute it for the same pairs."
            )
        columns[name] = tf.constant(rows)
    return columns


def _pair_loader(
    pairs: Sequence[Pair],
    data_dir: pathlib.Path,
    features: FeatureConfig,
    training: bool,
    cache: PairCache | None,
) -> _Loader:
    """A function of index and seed: the image and the normalized log-mel."""
    frontend = Frontend(features)
    image_paths = tf.constant([str(data_dir / pair.image) for pair in pairs])
    sound_paths = tf.constant([str(data_dir / pair.sound) for pair in pairs])

    def decode_sound(index: tf.Tensor, pair_seed: tf.Tensor) -> tf.Tensor:
        path = tf.gather(sound_paths, index)
        offset = augment.random_offset(pair_seed) if training else 0.5
        clip = frontend.decode_waveform(tf.io.read_file(path), offset, path)
        return frontend.log_mel_db(clip)  # [frames, mel_bins]

    def load_files(
        index: tf.Tensor, pair_seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        path = tf.gather(image_paths, index)
        image = frontend.decode_image(tf.io.read_file(path), path)  # [S, S, 3]
        return image, frontend.normalize(decode_sound(index, pair_seed))

    if cache is None:
        return load_files
    cache_paths = tf.constant([str(cache.path(pair, data_dir)) for pair in pairs])

    def load_cached(
        index: tf.Tensor, pair_seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        image, log_mel, is_long = cache.read(tf.gather(cache_paths, index))
        if training:
            # The cache holds the centre cut; training cuts a long recording at random.
            log_mel = tf.cond(
                is_long, lambda: decode_sound(index, pair_seed), lambda: log_mel
            )
        return image, frontend.normalize(log_mel)

    return load_cached
