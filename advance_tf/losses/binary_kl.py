"""The binary Kullback-Leibler divergence C of the paper, exact near agreement.

Everything is float64: where p and q agree the divergence is the small difference
of two numbers of the size of log p, more than float32 resolves, and 1 − q is
nothing in float32 once q is within 6e-8 of 1. An event costs a few operations,
nothing beside the towers.
"""

import tensorflow as tf


def _binary_entropy(probs: tf.Tensor) -> tf.Tensor:
    """−p log p − (1 − p) log(1 − p) with 0 log 0 = 0, in [0, log 2]."""
    return -tf.math.xlogy(probs, probs) - tf.math.xlog1py(1.0 - probs, -probs)


def binary_kl_from_logits(probs: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """C(p‖σ(u)) = p log(p/σ(u)) + (1 − p) log((1 − p)/(1 − σ(u))).

    Computed from the logit, so that no σ(u) saturates: finite for every finite
    u. Its gradient in u is σ(u) − p, that of binary cross-entropy, which the
    authors' code minimizes instead.

    Args:
        probs: p, float [..., events] in [0, 1]; treated as constant.
        logits: u, float [..., events].

    Returns:
        float64 [..., events], ≥ 0 up to rounding.
    """
    probs = tf.stop_gradient(tf.cast(probs, tf.float64))
    logits = tf.cast(logits, tf.float64)
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(probs, logits)
    return cross_entropy - _binary_entropy(probs)


def binary_kl_from_probs(probs: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
    """C(p‖q) = p log(p/q) + (1 − p) log((1 − p)/(1 − q)) for a q that is no sigmoid.

    Args:
        probs: p, float [..., events] in [0, 1]; treated as constant.
        q: float64 [..., events] strictly between 0 and 1.

    Returns:
        float64 [..., events], ≥ 0 up to rounding.
    """
    probs = tf.stop_gradient(tf.cast(probs, tf.float64))
    cross_entropy = -probs * tf.math.log(q) - (1.0 - probs) * tf.math.log1p(-q)
    return cross_entropy - _binary_entropy(probs)
