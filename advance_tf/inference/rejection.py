"""When an answer is "unknown": reasons from the input, its embedding and the scores.

The functions are operations of TensorFlow: run at once for a run, and part of the
graph of an exported model, so that both give the same reasons.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from advance_tf.features.input_checks import is_blank, is_clipped, is_silent
from advance_tf.runs.calibration import StoredCalibration

# The reasons in the order of their columns; the last one depends on min_confidence.
REASONS = (
    "blank image",
    "silent sound",
    "clipped sound",
    "image far from training",
    "sound far from training",
    "low confidence",
)
_KINDS = ("image", "sound")
Tensors = Mapping[str, tf.Tensor]


def input_flags(
    image: tf.Tensor | None, waveform: tf.Tensor | None
) -> list[tf.Tensor | None]:
    """The reasons that follow from decoded inputs.

    Args:
        image: float32 [B, S, S, 3], levels 0..255; None for no image.
        waveform: float32 [B, clip_samples]; None for no sound.

    Returns:
        bool [B] for each of the first three reasons; None without the input.
    """
    return [
        None if image is None else is_blank(image),
        None if waveform is None else is_silent(waveform),
        None if waveform is None else is_clipped(waveform),
    ]


def distance_flags(
    calibration: StoredCalibration | None, distances: Mapping[str, tf.Tensor]
) -> list[tf.Tensor | None]:
    """The reasons that follow from the distances of the embeddings.

    Args:
        calibration: the thresholds.
        distances: "image" and "sound" → float32 [B], of the inputs that are there.

    Returns:
        bool [B] for image and sound; None without the distance.
    """
    flags: list[tf.Tensor | None] = []
    for kind in _KINDS:
        own = None
        if calibration is not None and kind in distances:
            own = distances[kind] > calibration.distances[kind].threshold
        flags.append(own)
    return flags


def flag_matrix(flags: Sequence[tf.Tensor | None], batch: int | tf.Tensor) -> tf.Tensor:
    """The reasons of a batch as numbers.

    Args:
        flags: bool [B] for each reason, None where it does not apply.
        batch: number of rows B.

    Returns:
        float32 [B, reasons], 1 where the reason applies.
    """
    none = tf.zeros([batch], tf.float32)
    columns = [none if flag is None else tf.cast(flag, tf.float32) for flag in flags]
    return tf.stack(columns, axis=1)


def reason_text(flags: np.ndarray) -> str:
    """The reasons of one row as text.

    >>> reason_text(np.array([1, 0, 0, 0, 0, 1]))
    'blank image; low confidence'

    Args:
        flags: [6], above 0 where the reason applies.

    Returns:
        The reasons, "" for none.
    """
    given = zip(REASONS, np.asarray(flags).tolist(), strict=True)
    return "; ".join(name for name, flag in given if flag > 0)


def check_confidence(min_confidence: float) -> float:
    """Returns min_confidence.

    Args:
        min_confidence: least probability of the most probable scene.

    Raises:
        ValueError: it is outside 0 to 1.
    """
    if not 0 <= min_confidence <= 1:
        raise ValueError(
            f"min_confidence must be 0 to 1; received {min_confidence}. Use 0 to "
            "accept every answer."
        )
    return min_confidence
