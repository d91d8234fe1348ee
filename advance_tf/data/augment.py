"""Augmentation of images and the random cut of sounds, in training only."""

import tensorflow as tf

# Factors of brightness and colour are uniform between these.
LOWEST_FACTOR, HIGHEST_FACTOR = 0.7, 1.3
# ITU-R 601 luma, the grey that PIL blends with.
_LUMA = (0.299, 0.587, 0.114)


def element_seed(seed: int, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """A seed that depends on run, epoch and pair, and on nothing else.

    Args:
        seed: of the run.
        epoch: int scalar.
        index: int scalar, position of the pair in its split.

    Returns:
        int64 [2], for stateless operations.
    """
    place = tf.cast(epoch, tf.int64) * (1 << 32) + tf.cast(index, tf.int64)
    return tf.stack([tf.constant(seed, tf.int64), place])


def flip(image: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """The image mirrored left to right where draw < 0.5.

    Args:
        image: float32 [S, S, 3].
        draw: float32 scalar in [0, 1).

    Returns:
        float32 [S, S, 3].
    """
    return tf.cond(draw < 0.5, lambda: tf.reverse(image, [1]), lambda: image)


def brighten(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Every level times a factor, kept in 0..255.

    Args:
        image: float32 [S, S, 3], 0..255.
        factor: float32 scalar ≥ 0; 1 changes nothing, 0 gives black.

    Returns:
        float32 [S, S, 3], 0..255.
    """
    return tf.clip_by_value(image * factor, 0.0, 255.0)


def saturate(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Colours away from or towards their grey, kept in 0..255.

    Args:
        image: float32 [S, S, 3], 0..255.
        factor: float32 scalar ≥ 0; 1 changes nothing, 0 gives grey.

    Returns:
        float32 [S, S, 3], 0..255.
    """
    grey = tf.tensordot(image, tf.constant(_LUMA), 1)[..., None]
    return tf.clip_by_value(grey + factor * (image - grey), 0.0, 255.0)


def augment_image(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A random flip, brightness and saturation, repeatable by seed.

    Args:
        image: float32 [S, S, 3], 0..255.
        seed: int64 [2] of `element_seed`.

    Returns:
        float32 [S, S, 3], 0..255.

    Source: the paper; its code also augments validation and test, a fault that
    is not repeated here.
    """
    draws = tf.random.stateless_uniform([3], seed)
    factors = LOWEST_FACTOR + (HIGHEST_FACTOR - LOWEST_FACTOR) * draws
    return saturate(brighten(flip(image, draws[0]), factors[1]), factors[2])


def random_offset(seed: tf.Tensor) -> tf.Tensor:
    """Where to cut a sound that is longer than a clip.

    Args:
        seed: int64 [2] of `element_seed`.

    Returns:
        float32 scalar in [0, 1).
    """
    # Another stream than the image's three draws.
    return tf.random.stateless_uniform([], seed + tf.constant([0, 1 << 62], tf.int64))
