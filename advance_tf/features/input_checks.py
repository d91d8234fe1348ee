"""Checks of decoded inputs: blank images, silent and clipped sounds."""

import tensorflow as tf

# Standard deviation of the levels, of 255, below which an image is blank.
BLANK_LEVELS = 1.0
# Root mean square, of a full scale of 1, below which a sound is silent: −80 dB.
SILENT_RMS = 1e-4
# A sound is clipped where this share of its samples is at full scale.
CLIPPED_SHARE = 0.05
_FULL_SCALE = 0.999


def is_blank(image: tf.Tensor) -> tf.Tensor:
    """Whether images have a single colour.

    >>> is_blank(tf.fill([1, 8, 8, 3], 40.0)).numpy().tolist()
    [True]

    Args:
        image: float32 [B, S, S, 3], levels 0..255.

    Returns:
        bool [B]: the deviation of the levels in each channel is below 1.
    """
    mean = tf.reduce_mean(image, axis=[1, 2], keepdims=True)
    variance = tf.reduce_mean((image - mean) * (image - mean), axis=[1, 2])  # [B, 3]
    return tf.reduce_max(variance, axis=1) < BLANK_LEVELS**2


def is_silent(waveform: tf.Tensor) -> tf.Tensor:
    """Whether clips have no sound, apart from an offset of their samples.

    >>> is_silent(tf.constant([[0.0, 0.0], [0.5, -0.5]])).numpy().tolist()
    [True, False]

    Args:
        waveform: float32 [B, n] in [-1, 1].

    Returns:
        bool [B]: the root mean square is below 1e-4.
    """
    centred = waveform - tf.reduce_mean(waveform, axis=1, keepdims=True)
    return tf.reduce_mean(centred * centred, axis=1) < SILENT_RMS**2


def is_clipped(waveform: tf.Tensor) -> tf.Tensor:
    """Whether 5 % of the samples of clips are at full scale.

    >>> is_clipped(tf.constant([[1.0, -1.0, 0.1, 0.0], [0.9, 0.1, 0.0, 0.1]])).numpy()
    array([ True, False])

    Args:
        waveform: float32 [B, n] in [-1, 1].

    Returns:
        bool [B].
    """
    full = tf.cast(tf.abs(waveform) >= _FULL_SCALE, tf.float32)
    return tf.reduce_mean(full, axis=1) >= CLIPPED_SHARE
