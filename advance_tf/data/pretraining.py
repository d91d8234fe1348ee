"""Batches to pretrain a tower on: tagged clips, or a folder of classes."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data import augment, augment_sound
from advance_tf.data.dataset import epoch_indices
from advance_tf.data.tagged import TaggedClip, balanced_weights, multi_hot
from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize
from advance_tf.features.sound import waveform_from_bytes


def make_clip_dataset(
    clips: Sequence[TaggedClip],
    clips_dir: str | pathlib.Path,
    features: FeatureConfig,
    batch_size: int,
    *,
    training: bool = False,
    seed: int = 0,
    first_epoch: int = 0,
    balanced: bool = True,
    masked: bool = True,
    mixup_strength: float = 1.0,
) -> tf.data.Dataset:
    """Batches of spectrograms and the events heard in them.

    Training draws clips with replacement so that rare events are heard as often
    as common ones, cuts at random, hides stripes and mixes clips; evaluation
    does none of it.

    Args:
        clips: n tagged clips.
        clips_dir: folder of the WAV files.
        features: how to decode.
        batch_size: clips in a batch.
        training: draw and augment.
        seed: of every draw.
        first_epoch: the epoch of the first pass.
        balanced: draw by `balanced_weights`; otherwise each clip once.
        masked: apply SpecAugment.
        mixup_strength: of the Beta distribution; 0 mixes nothing.

    Returns:
        A dataset of ({"log_mel": float32 [B, frames, mel_bins]}, {"events":
        float32 [B, 527]}).
    """
    stats = load_stats(features)
    events = multi_hot(clips)
    paths = tf.constant([str(pathlib.Path(clips_dir) / clip.path) for clip in clips])
    targets = tf.constant(events)

    def element(epoch, index):
        place = augment.element_seed(seed, epoch, index)
        if training and balanced:
            index = _drawn(cumulative, place)
        path = tf.gather(paths, index)
        offset = augment.random_offset(place) if training else 0.5
        clip = waveform_from_bytes(tf.io.read_file(path), features, offset, path)
        log_mel = normalize(log_mel_db(clip, features), stats)
        if training and masked:
            log_mel = augment_sound.spec_augment(log_mel, place)
        return log_mel, tf.gather(targets, index), place

    def batch(log_mel, heard, places):
        if training and mixup_strength > 0:
            log_mel, heard = augment_sound.mixup(
                log_mel, heard, mixup_strength, places[0]
            )
        return {"log_mel": log_mel}, {"events": heard}

    cumulative = tf.constant(np.cumsum(balanced_weights(events)), tf.float64)
    indices = epoch_indices(
        len(clips), shuffle=training, seed=seed, first_epoch=first_epoch
    )
    return (
        indices.map(element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=training)
        .map(batch)
        .prefetch(2)
    )


def _drawn(cumulative: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """An index by weight, from the cumulative weights and a seed."""
    stream = place + tf.constant([1 << 40, 0], tf.int64)
    draw = tf.random.stateless_uniform([1], stream, dtype=tf.float64)
    found = tf.searchsorted(cumulative, draw * cumulative[-1], side="right")[0]
    return tf.cast(tf.minimum(found, tf.size(cumulative) - 1), tf.int64)


def make_image_dataset(
    images: Sequence[tuple[str, int]],
    images_dir: str | pathlib.Path,
    features: FeatureConfig,
    batch_size: int,
    *,
    training: bool = False,
    seed: int = 0,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Batches of images and their classes.

    Args:
        images: (path below the folder, class index) of each image.
        images_dir: the folder.
        features: image_size is read.
        batch_size: images in a batch.
        training: shuffle and augment as `make_dataset` does.
        seed: of every draw.
        first_epoch: the epoch of the first pass.

    Returns:
        A dataset of ({"image": float32 [B, S, S, 3] 0..255}, {"class": int32
        [B]}).
    """
    paths = tf.constant([str(pathlib.Path(images_dir) / path) for path, _ in images])
    classes = tf.constant([index for _, index in images], tf.int32)

    def element(epoch, index):
        path = tf.gather(paths, index)
        image = decode_image(tf.io.read_file(path), features.image_size, path)
        if training:
            place = augment.element_seed(seed, epoch, index)
            image = augment.augment_image(image, place)
        return {"image": image}, {"class": tf.gather(classes, index)}

    indices = epoch_indices(
        len(images), shuffle=training, seed=seed, first_epoch=first_epoch
    )
    return (
        indices.map(element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=training)
        .prefetch(2)
    )
