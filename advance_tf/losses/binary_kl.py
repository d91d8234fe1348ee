"""The binary Kullback-Leibler divergence C of the paper, computed in float64.

Where p and q are almost equal, the divergence is a small difference of two numbers
of the size of log p, which float32 does not resolve; and in float32 1 − q is 0 when q
is within 6e-8 of 1. The cost in float64 is negligible compared to the towers.
"""

import tensorflow as tf


def _binary_entropy(probs: tf.Tensor) -> tf.Tensor:
    """−p log p − (1 − p) log(1 − p) with 0 log 0 = 0, in [0, log 2]."""
    return -tf.math.xlogy(probs, probs) - tf.math.xlog1py(1.0 - probs, -probs)


def binary_kl_from_logits(probs: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """C(p‖σ(u)) = p log(p/σ(u)) + (1 − p) log((1 − p)/(1 − σ(u))).

    It is computed from the logit, so that σ(u) does not saturate: the value is
    finite for every finite u. The gradient with respect to u is σ(u) − p, as for
    binary cross-entropy, which the authors' code minimizes instead.

    >>> divergence = binary_kl_from_logits(tf.constant([0.5, 1.0]), tf.zeros(2))
    >>> divergence.numpy().round(4).tolist()
    [0.0, 0.6931]

    Args:
        probs: p, float [..., events] in [0, 1]; treated as a constant.
        logits: u, float [..., events].

    Returns:
        float64 [..., events], ≥ 0 up to rounding.
    """
    probs = tf.stop_gradient(tf.cast(probs, tf.float64))
    logits = tf.cast(logits, tf.float64)
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(probs, logits)
    return cross_entropy - _binary_entropy(probs)


def binary_kl_from_probs(probs: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
    """C(p‖q) = p log(p/q) + (1 − p) log((1 − p)/(1 − q)) for q given as probability.

    >>> q = tf.constant([0.5, 0.5], tf.float64)
    >>> binary_kl_from_probs(tf.constant([0.5, 1.0]), q).numpy().round(4).tolist()
    [0.0, 0.6931]

    Args:
        probs: p, float [..., events] in [0, 1]; treated as a constant.
        q: float64 [..., events] strictly between 0 and 1.

    Returns:
        float64 [..., events], ≥ 0 up to rounding.
    """
    probs = tf.stop_gradient(tf.cast(probs, tf.float64))
    cross_entropy = -probs * tf.math.log(q) - (1.0 - probs) * tf.math.log1p(-q)
    return cross_entropy - _binary_entropy(probs)
