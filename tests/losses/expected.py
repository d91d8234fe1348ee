"""The losses in float64 NumPy, written from the equations."""

import numpy as np


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def scene_loss(scene, scene_logits):
    """L_s (Eq. 1)."""
    return -log_softmax(scene_logits)[np.arange(len(scene)), scene]


def binary_kl(p, log_q, log_not_q):
    """C(p‖q), with 0 log 0 = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(p > 0, p * (np.log(p) - log_q), 0.0)
        second = np.where(p < 1, (1 - p) * (np.log1p(-p) - log_not_q), 0.0)
    return first + second


def binary_kl_from_logits(p, u):
    return binary_kl(p, -np.logaddexp(0, -u), -np.logaddexp(0, u))


def compound_events(scene_logits, posteriors):
    """p(e) (Eq. 7)."""
    return np.exp(log_softmax(scene_logits)) @ posteriors


def compound_kl(p, scene_logits, posteriors):
    """L_E1 (Eq. 8) of every event."""
    q = compound_events(scene_logits, posteriors)
    return binary_kl(p, np.log(q), np.log1p(-q))


def alignment(scene, scene_logits, posteriors, relevance):
    """L_E2 (Eq. 9)."""
    q, d = compound_events(scene_logits, posteriors), relevance[scene]
    norms = np.linalg.norm(q, axis=1) * np.linalg.norm(d, axis=1)
    return 1 - (q * d).sum(axis=1) / norms


def numerical_gradient(function, at, step=1e-5):
    """Central differences of the sum of `function` in every entry of `at`."""
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        shifted = at.copy()
        shifted[index] += step
        above = function(shifted).sum()
        shifted[index] -= 2 * step
        gradient[index] = (above - function(shifted).sum()) / (2 * step)
    return gradient
