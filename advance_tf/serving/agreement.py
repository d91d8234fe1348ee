"""Agreement of a quantized LiteRT model with its float32 original."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from advance_tf.metrics.scores import weighted_f
from advance_tf.serving.litert import LiteModel, main_signature
from advance_tf.serving.parity import Decoded, Probs

# Least agreement with float32, by `quantization`.
MIN_AGREEMENT = {"none": 0.99, "float16": 0.99, "dynamic": 0.99, "int8": 0.97}
# In place of the index of a scene.
_UNKNOWN = -1


def agreement(expected: np.ndarray, found: np.ndarray) -> float:
    """The share of rows with the same most probable class.

    Args:
        expected: probabilities [n, classes].
        found: probabilities [n, classes].

    Returns:
        The share, in [0, 1].

    >>> expected = np.array([[0.75, 0.25], [0.5, 0.5]])
    >>> agreement(expected, np.array([[0.5, 0.25], [0.25, 0.75]]))
    0.5
    """
    return float((expected.argmax(1) == found.argmax(1)).mean())


def measure(
    float32: LiteModel,
    quantized: LiteModel,
    decoded: Iterable[Decoded],
    true: np.ndarray,
) -> dict[str, Any]:
    """Agreement with float32 and change of the scores, for every signature.

    An answer is the most probable scene, or "unknown" where a reason applies.

    Args:
        float32: the model before quantization.
        quantized: the model after it, or `float32` again for none; it is then run
            once.
        decoded: the n pairs of a split in blocks, of which one is in memory.
        true: int [n], index of each pair's scene.

    Returns:
        `pairs` and `signatures`; for each signature the agreement of the most probable
        scene, weighted F of both models, their difference, the largest difference of a
        scene's probability, the share of pairs whose answer is "unknown" of both
        models, and the share with the same answer.
    """
    figures: dict[str, Any] = {"pairs": len(true), "signatures": {}}
    models = [float32] if quantized is float32 else [float32, quantized]
    blocks: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
        name: [] for name in quantized.signatures
    }
    for block in decoded:
        for signature, parts in blocks.items():
            outputs = [model.probs(block, signature) for model in models]
            # [models, pairs of the block, 13] and [models, pairs of the block]
            scenes = np.stack([own["scene_probs"] for own in outputs])
            flags = np.stack([own["reason_flags"] for own in outputs])
            parts.append((scenes, flags.max(axis=2) > 0))
    for signature, parts in blocks.items():
        probs, unknown = (
            np.concatenate(part, axis=1) for part in zip(*parts, strict=True)
        )
        expected, found = probs[0], probs[-1]
        answers = np.where(unknown, _UNKNOWN, probs.argmax(axis=2))
        before, after = (weighted_f(true, p.argmax(1)) for p in (expected, found))
        figures["signatures"][signature] = {
            "agreement": agreement(expected, found),
            "weighted_f_float32": before,
            "weighted_f": after,
            "weighted_f_change": after - before,
            "largest_difference": float(np.abs(expected - found).max()),
            "unknown_float32": float(unknown[0].mean()),
            "unknown": float(unknown[-1].mean()),
            "equal_answers": float((answers[0] == answers[-1]).mean()),
        }
    return figures


def check_agreement(
    figures: Mapping[str, Any], min_agreement: float, quantization: str
) -> None:
    """Raises ValueError for a model that agrees too rarely with float32.

    Args:
        figures: figures of `measure`.
        min_agreement: least share of rows with the same most probable scene, for
            the signature of both inputs, or the only one.
        quantization: for the message.

    Raises:
        ValueError: the agreement is lower.
    """
    signatures = figures["signatures"]
    main = signatures[main_signature(signatures)]
    if main["agreement"] < min_agreement:
        raise ValueError(
            f"`quantization='{quantization}'` must agree with float32 on at least "
            f"{min_agreement:.4g} of the pairs; it agrees on {main['agreement']:.4f} "
            f"of {figures['pairs']} (weighted F {main['weighted_f_change']:+.4f}). "
            "Choose another `quantization`, or lower `min_agreement`."
        )


def check_probs(probs: Probs) -> None:
    """Raises ValueError when a probability is not finite."""
    for name, values in probs.items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} must be finite; received NaN or infinity from the model. Its "
                "weights are broken: train the model again."
            )
