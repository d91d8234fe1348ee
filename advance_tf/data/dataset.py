"""Pairs → batches: reads, decodes, augments in training, and attaches targets."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data import augment
from advance_tf.data.cache import PairCache
from advance_tf.data.layout import Pair
from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize
from advance_tf.features.sound import waveform_from_bytes


def epoch_indices(
    count: int, *, shuffle: bool, seed: int = 0, first_epoch: int = 0
) -> tf.data.Dataset:
    """(epoch, index) of every element, one epoch for each pass over the dataset.

    The order of an epoch depends on seed and epoch alone, so that a run that
    resumes at `first_epoch` sees what it would have seen.

    Args:
        count: number of elements.
        shuffle: draw a new order for each epoch.
        seed: of the orders.
        first_epoch: the epoch of the first pass.

    Returns:
        A dataset of two int64 scalars.
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
    """Batches of inputs and targets.

    Training reshuffles in every pass, augments the images, cuts longer sounds
    at random and drops the incomplete batch; all of it depends on seed, epoch
    and pair alone, however many threads map. Evaluation does none of it.

    Args:
        pairs: of one split.
        data_dir: folder of the data set.
        features: how to decode.
        batch_size: pairs in a batch.
        training: shuffle and augment.
        seed: of order and augmentation.
        targets: name → array with one row for each pair.
        cache: filled with these pairs; None decodes the files.
        first_epoch: the epoch of the first pass, for a resumed run.

    Returns:
        A dataset of ({"image": float32 [B, S, S, 3] 0..255, "log_mel": float32
        [B, frames, mel_bins] normalized}, {"scene": int32 [B], and each of
        `targets`}).

    Raises:
        ValueError: there are no pairs, or a target has another number of rows.
    """
    columns = _columns(pairs, targets)
    load = _loader(pairs, pathlib.Path(data_dir), features, training, cache)

    def element(epoch, index):
        place = augment.element_seed(seed, epoch, index)
        image, log_mel = load(index, place)
        if training:
            image = augment.augment_image(image, place)
        inputs = {"image": image, "log_mel": log_mel}
        return inputs, {name: tf.gather(rows, index) for name, rows in columns.items()}

    indices = epoch_indices(
        len(pairs), shuffle=training, seed=seed, first_epoch=first_epoch
    )
    return (
        indices.map(element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=training)
        .prefetch(2)
    )


def _columns(pairs, targets) -> dict[str, tf.Tensor]:
    if not pairs:
        raise ValueError("A dataset must have at least one pair; received none.")
    scenes = labels.scenes()
    columns = {"scene": tf.constant([scenes.index(p.scene) for p in pairs], tf.int32)}
    for name, rows in (targets or {}).items():
        if len(rows) != len(pairs):
            raise ValueError(
                f"The target '{name}' must have a row for each of {len(pairs)} pairs; "
                f"received {len(rows)}."
            )
        columns[name] = tf.constant(rows)
    return columns


def _loader(pairs, data_dir, features, training, cache):
    """A function from index and seed to the image and the normalized log-mel."""
    stats = load_stats(features)
    image_paths = tf.constant([str(data_dir / pair.image) for pair in pairs])
    sound_paths = tf.constant([str(data_dir / pair.sound) for pair in pairs])

    def from_sound(index, place):
        path = tf.gather(sound_paths, index)
        offset = augment.random_offset(place) if training else 0.5
        clip = waveform_from_bytes(tf.io.read_file(path), features, offset, path)
        return log_mel_db(clip, features)

    def from_files(index, place):
        path = tf.gather(image_paths, index)
        image = decode_image(tf.io.read_file(path), features.image_size, path)
        return image, normalize(from_sound(index, place), stats)

    if cache is None:
        return from_files
    cache_paths = tf.constant([str(cache.path(pair, data_dir)) for pair in pairs])

    def from_cache(index, place):
        image, log_mel, is_long = cache.read(tf.gather(cache_paths, index))
        if training:
            log_mel = tf.cond(
                is_long, lambda: from_sound(index, place), lambda: log_mel
            )
        return image, normalize(log_mel, stats)

    return from_cache
