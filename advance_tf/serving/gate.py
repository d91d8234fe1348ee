"""Whether a smaller model still says the same, on pairs that it was not made from."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from advance_tf.serving.answers import Decoded, Probs
from advance_tf.serving.lite import LiteModel, main_signature

Score = Callable[[np.ndarray, np.ndarray], float]


def agreement(expected: np.ndarray, found: np.ndarray) -> float:
    """The share of rows whose best class is the same, in [0, 1].

    Args:
        expected: probabilities [n, classes].
        found: probabilities [n, classes].
    """
    return float((expected.argmax(1) == found.argmax(1)).mean())


def measure(
    float32: LiteModel,
    smaller: LiteModel,
    decoded: Decoded,
    true: np.ndarray,
    weighted_f: Score,
) -> dict[str, Any]:
    """Agreement with float32 and what it costs, for every signature.

    Args:
        float32: the model before quantization.
        smaller: the model after it.
        decoded: pairs of a split.
        true: index of each pair's scene, [n].
        weighted_f: from true and predicted indices to a score in [0, 1].

    Returns:
        pairs, and for each signature: agreement, weighted F of both, their
        difference, and the largest difference of a scene's probability.
    """
    figures: dict[str, Any] = {"pairs": len(true), "signatures": {}}
    for signature in smaller.signatures:
        expected, found = (
            model.probs(decoded, signature)["scene_probs"]
            for model in (float32, smaller)
        )
        before, after = (weighted_f(true, p.argmax(1)) for p in (expected, found))
        figures["signatures"][signature] = {
            "agreement": agreement(expected, found),
            "weighted_f_float32": before,
            "weighted_f": after,
            "weighted_f_change": after - before,
            "largest_difference": float(np.abs(expected - found).max()),
        }
    return figures


def refuse_below(
    figures: Mapping[str, Any], min_agreement: float, quantization: str
) -> None:
    """Refuses a model that says something else too often.

    Args:
        figures: of `measure`.
        min_agreement: least share of rows with the same best scene; it holds
            for the signature of both inputs, or the only one.
        quantization: for the error.

    Raises:
        ValueError: the agreement is lower.
    """
    signatures = figures["signatures"]
    main = signatures[main_signature(signatures)]
    if main["agreement"] < min_agreement:
        raise ValueError(
            f"--quantization={quantization} must agree with float32 on at least "
            f"{min_agreement:.4g} of the pairs; it does on {main['agreement']:.4f} of "
            f"{figures['pairs']} (weighted F {main['weighted_f_change']:+.4f}). Take "
            "another --quantization, or accept it with --min_agreement."
        )


def check_probs(probs: Probs) -> None:
    """Raises ValueError when a probability is not finite."""
    for name, values in probs.items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} must be finite; the model says NaN or infinity. Its weights "
                "are broken: train it again."
            )
