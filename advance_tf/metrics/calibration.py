"""Whether probabilities mean what they say, and the temperature that mends them.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks",
ICML 2017: reliability diagrams and expected calibration error (their §2),
temperature scaling (their §4.2).
"""

import dataclasses
import math

import numpy as np
from scipy import optimize

from advance_tf.metrics.scores import check_classes

# log(0) would be minus infinity; float32 knows nothing smaller than this.
_FLOOR = float(np.finfo(np.float32).tiny)
# One parameter fitted by maximum likelihood on n samples costs 1 / (2 n) nats on new
# samples on average: 0.01 nats at 50, where a temperature worth having gains more.
MIN_SAMPLES = 50
_LOWEST, _HIGHEST = 0.05, 20.0
# Distance in log T within which an optimum counts as the bound itself.
_AT_BOUND = 1e-3
_OFF_ONE = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """How often predictions of a confidence are right.

    Attributes:
        confidence: mean top probability of each bin [bins] float64, NaN where
            the bin is empty.
        accuracy: share of right predictions in each bin [bins] float64, NaN
            where the bin is empty.
        counts: samples in each bin [bins] int64.
        edges: of the bins, [bins + 1] float64 from 0 to 1; a bin holds its
            upper edge and not its lower one.
        ece: expected calibration error in [0, 1].
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    ece: float


@dataclasses.dataclass(frozen=True)
class TemperatureFit:
    """A fitted temperature, or why none could be fitted.

    Attributes:
        temperature: T > 0; exactly 1 where the fit was refused.
        refusal: why it was refused and the way out, "" where it was not.
    """

    temperature: float
    refusal: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """A split before and after temperature scaling.

    Attributes:
        temperature: T, fitted on other samples; above 1 the model was too sure,
            exactly 1 where the fit was refused.
        before: of the probabilities as they came.
        after: of the probabilities at T.
        nll_before: mean of −log p(true class), in nats.
        nll_after: the same at T.
        refusal: why no temperature was fitted, "" where one was.
    """

    temperature: float
    before: Reliability
    after: Reliability
    nll_before: float
    nll_after: float
    refusal: str = ""


def reliability(probs, true, bins: int = 15) -> Reliability:
    """Accuracy by confidence, and the expected calibration error.

    ECE = Σ_b n_b / n · |acc_b − conf_b| over bins of equal width of the
    confidence, which is the largest probability of a sample.

    Args:
        probs: [n, classes]; each row sums to 1.
        true: class indices [n].
        bins: number of bins, at least 1.

    Returns:
        Confidence, accuracy and count of each bin, and the ECE.

    Raises:
        ValueError: there is no sample or no bin, lengths differ, or the
            probabilities are none.

    Source: Equations 3 to 5 of Guo et al.
    """
    probs, true = _checked(probs, true)
    if bins < 1:
        raise ValueError(f"bins must be at least 1; received {bins}.")
    top = probs.max(axis=1)
    right = probs.argmax(axis=1) == true
    edges = np.linspace(0, 1, bins + 1)
    # A sum of 1 within rounding may put the largest a little above 1.
    place = np.searchsorted(edges, top.clip(max=1), side="left") - 1
    counts = np.bincount(place, minlength=bins)
    confidence, accuracy = (
        np.divide(
            np.bincount(place, values, minlength=bins),
            counts,
            out=np.full(bins, np.nan),
            where=counts > 0,
        )
        for values in (top, right)
    )
    gap = np.nan_to_num(np.abs(accuracy - confidence))
    ece = float((counts * gap).sum() / len(true))
    return Reliability(confidence, accuracy, counts, edges, ece)


def fit_temperature(probs, true) -> TemperatureFit:
    """The temperature with the smallest negative log-likelihood.

    T = argmin −Σ log z(log p / T)[true] with z = softmax: log-probabilities are
    logits up to a constant in each row, which the softmax does not see.

    A degenerate fit is refused, and T = 1 stays:

    - Fewer than 50 samples. A parameter fitted on n samples costs about 1 / (2 n)
      nats on new ones, 0.01 nats at 50; on samples of a known temperature the
      mean cost was 0.05 to 0.13 nats at 10 and 0.01 to 0.02 at 50.
    - No wrong prediction. The likelihood then rises without end as T falls to 0,
      and one error on other samples costs any number of nats.
    - An optimum at 0.05 or 20, the bounds of the search: the likelihood has no
      optimum between them, as where predictions and classes do not match.

    Args:
        probs: [n, classes], of samples that are not reported on.
        true: class indices [n].

    Returns:
        T in (0.05, 20), 1 where no T is better; or T = 1 and the reason of the
        refusal.

    Raises:
        ValueError: there is no sample, lengths differ, or the probabilities
            are none.
    """
    probs, true = _checked(probs, true)
    if len(true) < MIN_SAMPLES:
        return _refused(
            f"it takes at least {MIN_SAMPLES} samples; received {len(true)}. Fit it on "
            "more."
        )
    if (probs.argmax(axis=1) == true).all():
        return _refused(
            "it takes at least one wrong prediction; received "
            f"{len(true)} samples, all predicted right. Fit it on more, which the "
            "model was not trained on."
        )

    def loss(log_temperature: float) -> float:
        return _nll(_scaled(probs, math.exp(log_temperature)), true)

    found = optimize.minimize_scalar(
        loss,
        bounds=(math.log(_LOWEST), math.log(_HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    if not found.fun < loss(0.0):
        return TemperatureFit(1.0)
    for bound in (_LOWEST, _HIGHEST):
        if abs(found.x - math.log(bound)) < _AT_BOUND:
            return _refused(
                f"its optimum must lie between {_LOWEST:g} and {_HIGHEST:g}; received "
                f"one at the bound {bound:g}. Check that probabilities and classes "
                "are of the same samples, and that the model is trained."
            )
    return TemperatureFit(math.exp(found.x))


def with_temperature(probs, temperature: float) -> np.ndarray:
    """Probabilities at another temperature, z(log p / T); 1 leaves them.

    Args:
        probs: [n, classes]; 0 is allowed.
        temperature: T > 0; above 1 makes them more even.

    Returns:
        [n, classes] float32; each row sums to 1 and keeps its order.

    Raises:
        ValueError: T is not a positive number, or the probabilities are none.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(
            f"temperature must be a positive number; received {temperature}. Fit it "
            "with `fit_temperature`."
        )
    return np.exp(_scaled(_checked_probs(probs), temperature)).astype(np.float32)


def calibrate(
    validation_probs, validation_true, probs, true, bins: int = 15
) -> Calibration:
    """Fits the temperature on validation and measures it on another split.

    Args:
        validation_probs: [m, classes]; all that T is fitted on.
        validation_true: class indices [m].
        probs: [n, classes], what is reported.
        true: class indices [n].
        bins: of the reliability.

    Returns:
        The temperature, and the reliability of `probs` without and with it. Where
        the fit is refused both are the same, and `refusal` says why.

    Raises:
        ValueError: see `fit_temperature` and `reliability`.
    """
    fit = fit_temperature(validation_probs, validation_true)
    probs, true = _checked(probs, true)
    # In float64 no two probabilities become one, and no prediction changes.
    scaled = _scaled(probs, fit.temperature)
    before = reliability(probs, true, bins)
    after = before
    if fit.temperature != 1:
        after = reliability(np.exp(scaled), true, bins)
    return Calibration(
        temperature=fit.temperature,
        before=before,
        after=after,
        nll_before=_nll(_scaled(probs, 1.0), true),
        nll_after=_nll(scaled, true),
        refusal=fit.refusal,
    )


def _refused(reason: str) -> TemperatureFit:
    return TemperatureFit(1.0, f"temperature not fitted, 1 stays: {reason}")


def _scaled(probs: np.ndarray, temperature: float) -> np.ndarray:
    """log z(log p / T), [n, classes] float64."""
    logits = np.log(np.maximum(probs, _FLOOR)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def _nll(log_probs: np.ndarray, true: np.ndarray) -> float:
    return -float(log_probs[np.arange(len(true)), true].mean())


def _checked(probs, true) -> tuple[np.ndarray, np.ndarray]:
    probs = _checked_probs(probs)
    true = check_classes("true", true, probs.shape[1])
    if len(true) != len(probs):
        raise ValueError(
            "probs and true must be of the same samples; received "
            f"{len(probs)} and {len(true)}."
        )
    return probs, true


def _checked_probs(probs) -> np.ndarray:
    probs = np.asarray(probs, np.float64)
    if probs.ndim != 2 or not probs.size:
        raise ValueError(
            "probs must be [samples, classes] with at least one sample; received "
            f"shape {probs.shape}."
        )
    off = np.abs(probs.sum(axis=1) - 1)
    wrong = ~((probs >= 0).all(axis=1) & (off <= _OFF_ONE))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            "Each row of probs must be probabilities with a sum of 1; received a "
            f"sum of {probs[row].sum():.4g} and a smallest value of "
            f"{probs[row].min():.4g} in row {row}, {int(wrong.sum())} rows in all. "
            "Give probabilities, not logits."
        )
    return probs
