"""Augmentation of log-mel spectrograms, in pretraining only."""

import tensorflow as tf

# Two stripes each of at most this share of the axis.
_STRIPES = 2
_TIME_SHARE = 0.16
_BAND_SHARE = 0.125


def _stripes(length: int, share: float, seed: tf.Tensor) -> tf.Tensor:
    """Whether each of `length` positions is kept: bool [length]."""
    widest = max(1, round(length * share))
    draws = tf.random.stateless_uniform([2, _STRIPES], seed)
    widths = tf.cast(draws[0] * (widest + 1), tf.int32)
    starts = tf.cast(draws[1] * tf.cast(length - widths + 1, tf.float32), tf.int32)
    position = tf.range(length)[:, None]
    hidden = (position >= starts) & (position < starts + widths)
    return ~tf.reduce_any(hidden, axis=1)


def spec_augment(log_mel: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Hides two stripes of frames and two of mel bands (SpecAugment).

    Args:
        log_mel: float32 [frames, mel_bins], normalized, so that 0 is the mean.
        seed: int [2], decides where the stripes are.

    Returns:
        The same shape with 0 in the stripes.

    Source: Park et al., "SpecAugment", Interspeech 2019, without time warping.
    """
    frames, bins = log_mel.shape
    seeds = tf.random.split(seed, 2)
    kept_frames = _stripes(frames, _TIME_SHARE, seeds[0])
    kept_bins = _stripes(bins, _BAND_SHARE, seeds[1])
    kept = kept_frames[:, None] & kept_bins[None, :]
    return tf.where(kept, log_mel, tf.zeros_like(log_mel))


def mixup(
    log_mel: tf.Tensor, targets: tf.Tensor, strength: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each clip of a batch with another one of it.

        x ← λ x + (1 − λ) x',  t ← λ t + (1 − λ) t',  λ ~ Beta(a, a)

    Args:
        log_mel: float32 [B, frames, mel_bins].
        targets: float32 [B, events].
        strength: a > 0 of the Beta distribution.
        seed: int [2], decides λ.

    Returns:
        The mixed batch and its targets.

    Source: Zhang et al., "mixup", ICLR 2018.
    """
    size = tf.shape(log_mel)[0]
    # Gamma(a) / (Gamma(a) + Gamma(a)) is Beta(a, a).
    gammas = tf.random.stateless_gamma([2, size], seed, alpha=strength)
    share = gammas[0] / tf.maximum(gammas[0] + gammas[1], 1e-30)
    wide = share[:, None, None]
    mixed = wide * log_mel + (1 - wide) * tf.reverse(log_mel, [0])
    narrow = share[:, None]
    return mixed, narrow * targets + (1 - narrow) * tf.reverse(targets, [0])
