"""Calibration of probabilities: reliability, and temperature scaling.

Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks",
ICML 2017: reliability diagrams and expected calibration error (their §2),
temperature scaling (their §4.2).
"""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.metrics.probabilities import check_distributions
from advance_tf.metrics.scores import check_classes

# Avoids log(0); the smallest normal float32.
_FLOOR = float(np.finfo(np.float32).tiny)
# One parameter fitted by maximum likelihood on n samples costs 1 / (2 n) nats on new
# samples on average: 0.01 nats at 50, less than a useful temperature gains.
MIN_SAMPLES = 50
_LOWEST, _HIGHEST = 0.05, 20.0
# Distance in log T within which an optimum counts as the bound itself.
_AT_BOUND = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Accuracy of the predictions, by confidence.

    Attributes:
        confidence: mean top probability of each bin, float64 [bins]; NaN where
            the bin is empty.
        accuracy: fraction of correct predictions in each bin, float64 [bins]; NaN
            where the bin is empty.
        counts: samples in each bin, int64 [bins].
        edges: bin edges, float64 [bins + 1] from 0 to 1; a bin includes its
            upper edge and excludes its lower one.
        ece: expected calibration error in [0, 1].
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    ece: float


@dataclasses.dataclass(frozen=True)
class TemperatureFit:
    """A fitted temperature, or the reason why none was fitted.

    Attributes:
        temperature: T > 0; exactly 1 where the fit was refused.
        refusal: reason of the refusal and the remedy, "" where T was fitted.
    """

    temperature: float
    refusal: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration of a split before and after temperature scaling.

    Attributes:
        temperature: T, fitted on other samples; above 1 for an overconfident
            model, exactly 1 where the fit was refused.
        before: reliability of the unscaled probabilities.
        after: reliability of the probabilities at T.
        nll_before: mean of −log p(true class), in nats.
        nll_after: the same at T.
        refusal: reason why no temperature was fitted, "" where one was.
    """

    temperature: float
    before: Reliability
    after: Reliability
    nll_before: float
    nll_after: float
    refusal: str = ""


def reliability(probs: ArrayLike, true: ArrayLike, bins: int = 15) -> Reliability:
    """Accuracy by confidence, and the expected calibration error.

    ECE = Σ_b n_b / n · |acc_b − conf_b| over bins of equal width of the confidence,
    which is the largest probability of a sample.

    Args:
        probs: float [n, classes]; each row sums to 1.
        true: class indices, int [n].
        bins: number of bins, at least 1.

    Returns:
        Confidence, accuracy and count of each bin, and the ECE.

    Raises:
        ValueError: there is no sample or no bin, the lengths differ, or the rows
            are not probabilities.

    Source: Equations 3 to 5 of Guo et al.

    Example:
        >>> measured = reliability([[0.9, 0.1], [0.8, 0.2]], [0, 1], bins=2)
        >>> measured.counts.tolist(), round(measured.ece, 6)
        ([0, 2], 0.35)
    """
    probs, true = _checked(probs, true)
    if bins < 1:
        raise ValueError(f"bins must be at least 1; received {bins}.")
    top = probs.max(axis=1)
    correct = probs.argmax(axis=1) == true
    edges = np.linspace(0, 1, bins + 1)
    # Rounding may raise the largest probability slightly above 1.
    place = np.searchsorted(edges, top.clip(max=1), side="left") - 1
    counts = np.bincount(place, minlength=bins)
    confidence, accuracy = (
        np.divide(
            np.bincount(place, values, minlength=bins),
            counts,
            out=np.full(bins, np.nan),
            where=counts > 0,
        )
        for values in (top, correct)
    )
    gap = np.nan_to_num(np.abs(accuracy - confidence))
    ece = float((counts * gap).sum() / len(true))
    return Reliability(confidence, accuracy, counts, edges, ece)


def fit_temperature(probs: ArrayLike, true: ArrayLike) -> TemperatureFit:
    """Temperature with the smallest negative log-likelihood.

    T = argmin −Σ log z(log p / T)[true] with z = softmax: log-probabilities are
    logits up to a constant in each row, to which the softmax is invariant.

    A degenerate fit is refused, and T = 1 is kept:

    - Fewer than 50 samples. A parameter fitted on n samples costs about 1 / (2 n)
      nats on new ones, 0.01 nats at 50; on samples of a known temperature the
      mean cost was 0.05 to 0.13 nats at 10 and 0.01 to 0.02 at 50.
    - No wrong prediction. The likelihood then increases without limit as T
      approaches 0, and one error on other samples costs any number of nats.
    - An optimum at 0.05 or 20, the bounds of the search: the likelihood has no
      optimum between them, for example where probabilities and classes belong to
      different samples.

    Args:
        probs: float [n, classes], of samples that no result is reported on.
        true: class indices, int [n].

    Returns:
        T in (0.05, 20), 1 where no T is better; or T = 1 and the reason of the
        refusal.

    Raises:
        ValueError: there is no sample, the lengths differ, or the rows are not
            probabilities.

    Example:
        >>> probs = [[0.99, 0.01]] * 100  # 80 of 100 are correct: overconfident
        >>> round(fit_temperature(probs, [0] * 80 + [1] * 20).temperature, 2)
        3.31
    """
    probs, true = _checked(probs, true)
    if len(true) < MIN_SAMPLES:
        return _refused(
            f"the fit needs at least {MIN_SAMPLES} samples; received {len(true)}. Use "
            "more samples."
        )
    if (probs.argmax(axis=1) == true).all():
        return _refused(
            f"the fit needs at least one wrong prediction; received {len(true)} "
            "samples, all predicted correctly. Use more samples that the model was "
            "not trained on."
        )

    # Imported here: predictions load this module and fit nothing.
    from scipy import optimize

    def loss(log_temperature: float) -> float:
        return _nll(_log_probs_at(probs, math.exp(log_temperature)), true)

    optimum = optimize.minimize_scalar(
        loss,
        bounds=(math.log(_LOWEST), math.log(_HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    if not optimum.fun < loss(0.0):
        return TemperatureFit(1.0)
    for bound in (_LOWEST, _HIGHEST):
        if abs(optimum.x - math.log(bound)) < _AT_BOUND:
            return _refused(
                f"the optimum must be between {_LOWEST:g} and {_HIGHEST:g}; received "
                f"the bound {bound:g}. Check that probabilities and classes belong "
                "to the same samples, and that the model is trained."
            )
    return TemperatureFit(math.exp(optimum.x))


def with_temperature(probs: ArrayLike, temperature: float) -> np.ndarray:
    """Probabilities at another temperature, z(log p / T).

    Args:
        probs: float [n, classes]; 0 is allowed.
        temperature: T > 0; above 1 makes the probabilities more even, 1 leaves
            them unchanged.

    Returns:
        float32 [n, classes]; each row sums to 1 and keeps its order.

    Raises:
        ValueError: T is not a positive number, or the rows are not probabilities.

    Example:
        >>> with_temperature([[0.9, 0.1]], 2.0).round(3).tolist()
        [[0.75, 0.25]]
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(
            f"temperature must be a positive number; received {temperature}. Fit it "
            "with `fit_temperature`."
        )
    probs = check_distributions("probs", probs)
    return np.exp(_log_probs_at(probs, temperature)).astype(np.float32)


def calibrate(
    validation_probs: ArrayLike,
    validation_true: ArrayLike,
    probs: ArrayLike,
    true: ArrayLike,
    bins: int = 15,
) -> Calibration:
    """Fits the temperature on the validation split and measures it on another split.

    Args:
        validation_probs: float [m, classes]; T is fitted on these alone.
        validation_true: class indices, int [m].
        probs: float [n, classes] of the split that is reported.
        true: class indices, int [n].
        bins: number of bins of the reliability.

    Returns:
        The temperature, and the reliability of `probs` without and with it. Where
        the fit is refused both are the same, and `refusal` gives the reason.

    Raises:
        ValueError: see `fit_temperature` and `reliability`.
    """
    fit = fit_temperature(validation_probs, validation_true)
    probs, true = _checked(probs, true)
    # Scaled in float64: distinct probabilities stay distinct, and no prediction
    # changes.
    scaled = _log_probs_at(probs, fit.temperature)
    before = reliability(probs, true, bins)
    after = before
    if fit.temperature != 1:
        after = reliability(np.exp(scaled), true, bins)
    return Calibration(
        temperature=fit.temperature,
        before=before,
        after=after,
        nll_before=_nll(_log_probs_at(probs, 1.0), true),
        nll_after=_nll(scaled, true),
        refusal=fit.refusal,
    )


def _refused(reason: str) -> TemperatureFit:
    return TemperatureFit(1.0, f"temperature not fitted, T = 1 is kept: {reason}")


def _log_probs_at(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Log-probabilities log z(log p / T), float64 [n, classes]."""
    logits = np.log(np.maximum(probs, _FLOOR)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def _nll(log_probs: np.ndarray, true: np.ndarray) -> float:
    """Mean negative log-likelihood in nats."""
    return -float(log_probs[np.arange(len(true)), true].mean())


def _checked(probs: ArrayLike, true: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Validated probabilities, float64 [n, classes], and classes, int64 [n]."""
    probs = check_distributions("probs", probs)
    true = check_classes("true", true, probs.shape[1])
    if len(true) != len(probs):
        raise ValueError(
            "probs and `true` must have the same samples; received "
            f"{len(probs)} and {len(true)}."
        )
    return probs, true
