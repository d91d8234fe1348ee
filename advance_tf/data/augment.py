"""Augmentation of images and log-mel spectrograms as stateless operations.

Every function gets its random numbers or its seed as an argument, so that the result
does not depend on the number of threads.
"""

import math

import numpy as np
import tensorflow as tf

# Range of the uniform factors of brightness and saturation.
MIN_FACTOR, MAX_FACTOR = 0.7, 1.3
# ITU-R 601 luma, the grey value that PIL uses.
_LUMA = (0.299, 0.587, 0.114)
_LUMA_16_BITS = (19595, 38470, 7471)
# Largest number of pixels that one row of `saturate`'s product has.
_ROW_PIXELS = 4


def element_seed(seed: int, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """A seed that depends only on run, epoch and element.

    Args:
        seed: seed of the run.
        epoch: int scalar.
        index: int scalar, position of the element in its split.

    Returns:
        int64 [2], for stateless operations.

    Example:
        >>> element_seed(3, epoch=tf.constant(1), index=tf.constant(2)).numpy().tolist()
        [3, 4294967298]
    """
    position = tf.cast(epoch, tf.int64) * (1 << 32) + tf.cast(index, tf.int64)
    return tf.stack([tf.constant(seed, tf.int64), position])


def flip(image: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """Mirrors the image left to right when `draw` < 0.5.

    Args:
        image: [S, S, 3], any type.
        draw: float32 scalar in [0, 1).

    Returns:
        [S, S, 3] of the same type.
    """
    return tf.cond(draw < 0.5, lambda: tf.reverse(image, [1]), lambda: image)


def brighten(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies every value by a factor and clips to [0, 255].

    Args:
        image: float32 [S, S, 3] in [0, 255].
        factor: float32 scalar ≥ 0; 1 changes nothing, 0 gives black.

    Returns:
        float32 [S, S, 3] in [0, 255].

    Example:
        >>> brighten(tf.constant([[[100.0, 200.0, 250.0]]]), 1.5).numpy().tolist()
        [[[150.0, 255.0, 255.0]]]
    """
    return tf.clip_by_value(image * factor, 0.0, 255.0)


def saturate(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Moves every colour away from its grey value or towards it.

    Args:
        image: float32 [S, S, 3] in [0, 255].
        factor: float32 scalar ≥ 0; 1 changes nothing, 0 gives grey.

    Returns:
        float32 [S, S, 3], clipped to [0, 255].
    """
    # f x + (1 − f) luma(x) is one matrix [3, 3] for each pixel. A row of the product
    # has several pixels: products of a few columns do not use the vector units.
    count = math.gcd(math.prod(image.shape[:-1]), _ROW_PIXELS)
    grey = np.kron(np.eye(count), np.outer(_LUMA, np.ones(3)))
    same = np.eye(3 * count)
    # [3 · count, 3 · count]
    matrix = factor * same.astype(np.float32) + (1.0 - factor) * grey.astype(np.float32)
    # [S² / count, 3 · count]
    mixed = tf.matmul(tf.reshape(image, [-1, 3 * count]), matrix)
    return tf.reshape(tf.clip_by_value(mixed, 0.0, 255.0), image.shape)


def brighten_levels(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies levels by a factor, as PIL's `ImageEnhance.Brightness`.

        y = floor(clip(f x, 0, 255))

    Args:
        image: float32 [S, S, 3], integers 0..255.
        factor: float32 scalar ≥ 0.

    Returns:
        float32 [S, S, 3], integers 0..255.

    Example:
        >>> brighten_levels(tf.constant([[[101.0, 200.0, 3.0]]]), 0.7).numpy().tolist()
        [[[70.0, 140.0, 2.0]]]
    """
    return tf.floor(brighten(image, factor))


def saturate_levels(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Moves colours away from grey or towards it, as PIL's `ImageEnhance.Color`.

        y = floor(clip(g + f (x − g), 0, 255)),  g = luma(x) rounded to a level

    Args:
        image: float32 [S, S, 3], integers 0..255.
        factor: float32 scalar ≥ 0.

    Returns:
        float32 [S, S, 3], integers 0..255.
    """
    # PIL's luma is an integer sum of 16 bits: [S, S, 1].
    weighted = tf.cast(image, tf.int32) * tf.constant(_LUMA_16_BITS)
    half = 1 << 15
    grey = tf.bitwise.right_shift(tf.reduce_sum(weighted, -1, keepdims=True) + half, 16)
    grey = tf.cast(grey, tf.float32)
    return tf.floor(tf.clip_by_value(grey + factor * (image - grey), 0.0, 255.0))


def augment_image(image: tf.Tensor, seed: tf.Tensor, mode: str = "real") -> tf.Tensor:
    """Applies a random flip, brightness and saturation.

    Flips with probability 0.5; both factors are uniform in [0.7, 1.3].

    Args:
        image: uint8 or float32 [S, S, 3] in [0, 255], integers with mode "levels".
        seed: int64 [2], see `element_seed`; the same seed gives the same image.
        mode: "real"; "levels" for whole levels after each step; "none" changes
            nothing.

    Returns:
        float32 [S, S, 3] in [0, 255].

    Source: the paper; its code uses PIL, as "levels" does. The authors' code also
    augments validation and test; here these are not augmented.
    """
    if mode == "none":
        return tf.cast(image, tf.float32)
    draws = tf.random.stateless_uniform([3], seed)
    factors = MIN_FACTOR + (MAX_FACTOR - MIN_FACTOR) * draws
    # Bytes are mirrored in a quarter of the time of floats.
    flipped = tf.cast(flip(image, draws[0]), tf.float32)
    if mode == "levels":
        return saturate_levels(brighten_levels(flipped, factors[1]), factors[2])
    return saturate(brighten(flipped, factors[1]), factors[2])


def random_offset(seed: tf.Tensor) -> tf.Tensor:
    """The position at which a recording longer than a clip is cut.

    Args:
        seed: int64 [2], see `element_seed`.

    Returns:
        float32 scalar in [0, 1), a fraction of the possible start positions.
    """
    # A separate stream, independent of the three draws of `augment_image`.
    return tf.random.stateless_uniform([], seed + tf.constant([0, 1 << 62], tf.int64))


# SpecAugment: masks on each axis, and the largest width of one as a fraction of it.
_MASKS = 2
_MAX_TIME_FRACTION = 0.16
_MAX_MEL_FRACTION = 0.125


def _unmasked(length: int, max_fraction: float, seed: tf.Tensor) -> tf.Tensor:
    """Whether each of `length` positions is outside all masks: bool [length]."""
    max_width = max(1, round(length * max_fraction))
    draws = tf.random.stateless_uniform([2, _MASKS], seed)
    widths = tf.cast(draws[0] * (max_width + 1), tf.int32)  # [masks]
    starts = tf.cast(draws[1] * tf.cast(length - widths + 1, tf.float32), tf.int32)
    position = tf.range(length)[:, None]  # [length, 1]
    masked = (position >= starts) & (position < starts + widths)  # [length, masks]
    return ~tf.reduce_any(masked, axis=1)


def spec_augment(log_mel: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Masks two ranges of frames and two of mel bands (SpecAugment).

    Args:
        log_mel: float32 [frames, mel_bins], normalized, so that 0 is the mean.
        seed: int [2], determines the masks.

    Returns:
        float32 [frames, mel_bins] with 0 in the masks.

    Source: Park et al., "SpecAugment", Interspeech 2019, without time warping.

    Example:
        >>> masked = spec_augment(tf.ones([400, 64]), seed=tf.constant([1, 2]))
        >>> masked.shape, sorted(set(masked.numpy().ravel().tolist()))
        (TensorShape([400, 64]), [0.0, 1.0])
    """
    frames, bins = log_mel.shape
    seeds = tf.random.split(seed, 2)
    frames_kept = _unmasked(frames, _MAX_TIME_FRACTION, seeds[0])  # [frames]
    bins_kept = _unmasked(bins, _MAX_MEL_FRACTION, seeds[1])  # [mel_bins]
    kept = frames_kept[:, None] & bins_kept[None, :]  # [frames, mel_bins]
    return tf.where(kept, log_mel, tf.zeros_like(log_mel))


def mixup(
    log_mel: tf.Tensor, targets: tf.Tensor, strength: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each clip of a batch with another clip of the batch.

        x ← λ x + (1 − λ) x',  t ← λ t + (1 − λ) t',  λ ~ Beta(a, a)

    λ is drawn for each clip; x' is the batch in reverse order.

    Args:
        log_mel: float32 [B, frames, mel_bins].
        targets: float32 [B, events].
        strength: a > 0 of the Beta distribution.
        seed: int [2], determines λ.

    Returns:
        The mixed log-mel spectrograms, float32 [B, frames, mel_bins], and their
        targets, float32 [B, events].

    Source: Zhang et al., "mixup", ICLR 2018.
    """
    batch_size = tf.shape(log_mel)[0]
    # Gamma(a) / (Gamma(a) + Gamma(a)) is Beta(a, a).
    gammas = tf.random.stateless_gamma([2, batch_size], seed, alpha=strength)
    weights = gammas[0] / tf.maximum(gammas[0] + gammas[1], 1e-30)  # [B]

    def mix(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return weights * values + (1 - weights) * tf.reverse(values, [0])

    return mix(log_mel, weights[:, None, None]), mix(targets, weights[:, None])
