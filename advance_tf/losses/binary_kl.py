"""The binary Kullback-Leibler divergence C of the paper, from logits."""

import tensorflow as tf

# Below it a probability is 0 for p log p; the smallest normal float32 is 1.2e-38.
_TINY = 1e-38


def binary_entropy(probs: tf.Tensor) -> tf.Tensor:
    """H(p) = −p log p − (1 − p) log(1 − p), with 0 log 0 = 0.

    Args:
        probs: float32 in [0, 1], any shape.

    Returns:
        The same shape, in [0, log 2].
    """
    return -(tf.math.xlogy(probs, tf.maximum(probs, _TINY))) - tf.math.xlog1py(
        1.0 - probs, -probs
    )


def binary_kl_from_logits(probs: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """C(p‖σ(u)) = p log(p/σ(u)) + (1−p) log((1−p)/(1−σ(u))) for each event.

    Computed as the cross-entropy of logits less the entropy of p, so that no
    sigmoid saturates: finite for every finite u. Its gradient in u is σ(u) − p,
    that of binary cross-entropy, which the authors' code minimizes instead.

    Args:
        probs: p, float [..., events] in [0, 1].
        logits: u, float [..., events].

    Returns:
        float32 of the same shape, ≥ 0 up to rounding.
    """
    probs = tf.cast(probs, tf.float32)
    logits = tf.cast(logits, tf.float32)
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(probs, logits)
    return cross_entropy - tf.stop_gradient(binary_entropy(probs))


def binary_kl_from_probs(
    probs: tf.Tensor, log_q: tf.Tensor, log_not_q: tf.Tensor
) -> tf.Tensor:
    """C(p‖q) from log q and log(1 − q), for a q that is no sigmoid.

    Args:
        probs: p, float [..., events] in [0, 1].
        log_q: log q of the same shape.
        log_not_q: log(1 − q) of the same shape.

    Returns:
        float32 of the same shape, ≥ 0 up to rounding.
    """
    probs = tf.cast(probs, tf.float32)
    cross_entropy = -probs * log_q - (1.0 - probs) * log_not_q
    return cross_entropy - tf.stop_gradient(binary_entropy(probs))
