"""A clip of fixed length from a waveform of any."""

import tensorflow as tf


def fit_clip(waveform: tf.Tensor, clip_samples: int, offset=0.5) -> tf.Tensor:
    """Repeats a shorter waveform, cuts a longer one.

    Args:
        waveform: float32 [n], n ≥ 1.
        clip_samples: samples of the clip.
        offset: where to cut, in [0, 1] of the slack; 0.5 is the centre.

    Returns:
        float32 [clip_samples].

    Source: §3 of the paper repeats recordings of 2 to 10 s and cuts 10 s at
    random; evaluation takes the centre, so that it is repeatable.
    """
    samples = tf.maximum(tf.size(waveform), 1)
    repeats = (clip_samples + samples - 1) // samples
    long_enough = tf.cond(
        repeats > 1, lambda: tf.tile(waveform, [repeats]), lambda: waveform
    )
    # What was repeated begins with its own beginning.
    slack = tf.maximum(samples - clip_samples, 0)
    place = tf.cast(offset, tf.float32) * tf.cast(slack + 1, tf.float32)
    start = tf.minimum(tf.cast(place, tf.int32), slack)
    return tf.ensure_shape(long_enough[start : start + clip_samples], [clip_samples])
