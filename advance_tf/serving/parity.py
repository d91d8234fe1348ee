"""Parity: differences of exported models from the model in memory."""

import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import tensorflow as tf

from advance_tf.data.dataset import scene_numbers
from advance_tf.data.pairing import Pair
from advance_tf.data.shards import media_path
from advance_tf.data.splits import spread_over_scenes
from advance_tf.features.frontend import Frontend
from advance_tf.features.media_files import container, read_media_bytes
from advance_tf.models.folding import with_dtype
from advance_tf.runs.workdir import Run
from advance_tf.serving.inference_model import Source
from advance_tf.serving.signatures import DEFAULT

SAVED_MODEL_TOLERANCE, LITE_TOLERANCE = 1e-5, 1e-4
_ROUNDINGS = 4
_ROUNDING = "rounding of float32 in memory"
# Sampling rates in Hz, codings and channels of the sounds of the check.
_VARIANTS = (
    (8_000, "PCM_16", 1),
    (16_000, "PCM_16", 1),
    (22_050, "PCM_16", 1),
    (44_100, "PCM_24", 2),
    (48_000, "FLOAT", 1),
    (11_127, "PCM_U8", 2),
)
Probs = Mapping[str, np.ndarray]


class EncodedPair(NamedTuple):
    """The bytes of an image file and of a WAV file."""

    image: bytes
    sound: bytes


def with_other_rates(pairs: Sequence[EncodedPair]) -> list[EncodedPair]:
    """The pairs, with sounds written at other sampling rates, codings and channels.

    Args:
        pairs: encoded; each sound is a WAV file.

    Returns:
        As many pairs: the first one is unchanged, the sounds of the others have in
        turn the rates 8,000 to 48,000 Hz and 11,127 Hz, mono or stereo.
    """
    written = list(pairs[:1])
    for number, pair in enumerate(pairs[1:]):
        rate_hz, coding, channels = _VARIANTS[number % len(_VARIANTS)]
        samples, own_rate_hz = soundfile.read(io.BytesIO(pair.sound), always_2d=True)
        mono = soxr.resample(samples.mean(1), own_rate_hz, rate_hz)
        file = io.BytesIO()
        wide = np.repeat(np.clip(mono, -1, 1)[:, None], channels, axis=1)
        soundfile.write(file, wide, rate_hz, format="WAV", subtype=coding)
        written.append(EncodedPair(pair.image, file.getvalue()))
    return written


class Decoded(NamedTuple):
    """Decoded pairs: image uint8 [n, S, S, 3], waveform float32 [n, samples]."""

    image: np.ndarray
    waveform: np.ndarray


def decode(source: Source, pairs: Sequence[EncodedPair]) -> Decoded:
    """Decodes pairs with the front end of training and evaluation.

    Args:
        source: `features` is read.
        pairs: encoded.

    Returns:
        Levels as uint8, clips as float32.
    """
    frontend = Frontend(source.features)
    images = [frontend.read_image(pair.image) for pair in pairs]
    waveforms = [frontend.read_waveform(pair.sound) for pair in pairs]
    return Decoded(np.stack(images).astype(np.uint8), np.stack(waveforms))


def reference_probs(source: Source, decoded: Decoded) -> Probs:
    """Probabilities of the model in memory, from the predictor of evaluation.

    Args:
        source: the model, with its batch norms.
        decoded: n pairs.

    Returns:
        `scene_probs` [n, 13] and, where events are predicted, `event_probs`
        [n, 527].
    """
    found = source.predictor().predict_decoded(*decoded, batch_size=8)
    probs = {"scene_probs": found.scene_probs}
    if found.events.probs is not None:
        probs["event_probs"] = found.events.probs
    return probs


class EncodedPairs:
    """The files of a run's pairs as bytes.

    Args:
        run: loaded.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def some(self, split: str, number: int) -> list[EncodedPair]:
        """Pairs spread evenly over the scenes of a split.

        Args:
            split: "training", "validation" or "test".
            number: largest number of pairs; a smaller split is returned completely.

        Returns:
            Encoded pairs, the same in every call.
        """
        pairs = self._run.pairs_of(split)
        return [self._read(pair) for pair in spread_over_scenes(pairs, number)]

    def blocks(self, split: str, size: int = 64) -> Iterator[list[EncodedPair]]:
        """Every pair of a split in blocks, which are read when they are needed.

        Args:
            split: "training", "validation" or "test".
            size: largest number of pairs of a block.

        Yields:
            Encoded pairs.
        """
        pairs = self._run.pairs_of(split)
        for start in range(0, len(pairs), size):
            yield [self._read(pair) for pair in pairs[start : start + size]]

    def scenes(self, split: str) -> np.ndarray:
        """The indices of the scenes of a split, int64 [n]."""
        return scene_numbers(self._run.pairs_of(split))

    def _read(self, pair: Pair) -> EncodedPair:
        contents = []
        for name in (pair.image, pair.sound):
            path = media_path(self._run.data_dir, name)
            if not os.path.isfile(container(path)):
                raise ValueError(
                    f"{path} must exist: an export is checked on pairs of the run's "
                    "data set. Give the folder of the data set as `data_dir`."
                )
            contents.append(read_media_bytes(path))
        return EncodedPair(*contents)


def largest_difference(expected: Probs, found: Mapping[str, npt.ArrayLike]) -> float:
    """The largest absolute difference of any probability that both hold.

    Args:
        expected: output name → probabilities.
        found: output name → probabilities; other outputs are ignored.

    Returns:
        The difference, in [0, 1]; NaN where one of them is NaN.

    >>> expected = {"scene_probs": np.array([0.25, 0.75])}
    >>> largest_difference(expected, {"scene_probs": [0.5, 0.5], "status": "ok"})
    0.25
    """
    differences = [
        np.abs(expected[name] - np.asarray(found[name])).max()
        for name in expected
        if name in found
    ]
    # Python's max() passes over NaN.
    return float(np.max(differences))


def saved_model_skew(
    folder: pathlib.Path, source: Source, pairs: Sequence[EncodedPair]
) -> dict[str, float]:
    """Differences of a SavedModel from the model in memory.

    Args:
        folder: folder of the SavedModel.
        source: what it was built from.
        pairs: encoded pairs of the data set, at several sampling rates.

    Returns:
        "bytes" and "tensors" → largest difference of a probability; and, where
        one exceeds 1e-5, the difference of the model in memory from float64.

    Raises:
        ValueError: a difference exceeds both 1e-5 and four times the rounding
            error of the model in memory, or a row has a status other than "ok".
    """
    decoded = decode(source, pairs)
    expected = reference_probs(source, decoded)
    signatures = tf.saved_model.load(str(folder)).signatures
    outputs = {
        "bytes": signatures[DEFAULT](
            image_bytes=tf.constant([pair.image for pair in pairs]),
            sound_bytes=tf.constant([pair.sound for pair in pairs]),
        ),
        "tensors": signatures["features"](
            image=tf.constant(decoded.image), waveform=tf.constant(decoded.waveform)
        ),
    }
    for name, output in outputs.items():
        problems = [text for text in output["status"].numpy() if text != b"ok"]
        if problems:
            raise ValueError(
                f"The SavedModel must read what evaluation reads ({name}); received "
                f"the status {problems[0].decode()!r}. Please report this with the "
                "versions in config.json."
            )
    skew = {name: largest_difference(expected, o) for name, o in outputs.items()}
    tolerance = SAVED_MODEL_TOLERANCE * source.rounding_factor
    problem = ""
    if max(skew.values()) > tolerance:
        tolerance, problem = _allow_rounding(source, decoded, expected, skew, tolerance)
    check_skew("SavedModel", skew, tolerance, problem)
    return skew


def litert_skew(
    source: Source, decoded: Decoded, expected: Probs, found: Probs
) -> dict[str, float]:
    """Differences of a float32 LiteRT model from the model in memory.

    LiteRT computes the log-mel in float32, and its Fourier transform rounds otherwise
    than TensorFlow's. Next to a pure tone, bands of low energy differ by 1 dB. On
    pairs where that changes a probability, the rounding of a float32 log-mel is
    measured, and differences of its size are allowed.

    Args:
        source: what the model was built from.
        decoded: pairs.
        expected: result of `reference_probs`.
        found: the probabilities of LiteRT.

    Returns:
        "float32 LiteRT" → largest difference of a probability; and, where it exceeds
        1e-4, the difference of the model with a float32 log-mel from float64.

    Raises:
        ValueError: a difference exceeds both 1e-4 and four times that rounding.
    """
    skew = {"float32 LiteRT": largest_difference(expected, found)}
    tolerance, problem = LITE_TOLERANCE * source.rounding_factor, ""
    if max(skew.values()) > tolerance:
        single, double = (
            dataclasses.replace(
                source,
                features=dataclasses.replace(
                    source.features, log_mel_precision=precision
                ),
            )
            for precision in ("float32", "float64")
        )
        rounded = reference_probs(single, decoded)
        tolerance, problem = _allow_rounding(double, decoded, rounded, skew, tolerance)
    check_skew("LiteRT model", skew, tolerance, problem)
    return skew


def _allow_rounding(
    source: Source,
    decoded: Decoded,
    expected: Probs,
    skew: dict[str, float],
    tolerance: float,
) -> tuple[float, str]:
    """Measures the rounding, adds it to the differences and allows four times as much.

    Returns:
        The tolerance, and why the rounding could not be measured, "" where it was.
    """
    try:
        skew[_ROUNDING] = rounding(source, decoded, expected)
    except (TypeError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return tolerance, lines[-1]
    return max(tolerance, _ROUNDINGS * skew[_ROUNDING]), ""


def rounding(source: Source, decoded: Decoded, expected: Probs) -> float:
    """Difference of the model in memory from the same model in float64.

    A hundred layers amplify the rounding of float32. Folded batch norms round at
    other places and are no further from the exact result than the model in memory.

    Args:
        source: the model.
        decoded: pairs.
        expected: result of `reference_probs`.

    Returns:
        The largest difference of a scene's probability.

    Raises:
        TypeError, ValueError: a layer of another package cannot be created again from
            its settings.
    """
    exact = keras.models.clone_model(
        source.recognizer,
        clone_function=lambda layer: with_dtype(layer, "float64"),
        recursive=True,
    )
    exact.set_weights(source.recognizer.get_weights())
    inputs = source.predictor().inputs(*decoded)
    logits = exact({name: tf.cast(x, tf.float64) for name, x in inputs.items()})
    scale = 1.0
    if source.calibration is not None:
        scale = 1 / source.calibration.temperatures["both"]
    probs = tf.nn.softmax(logits["scene_logits"] * scale)
    return largest_difference(expected, {"scene_probs": probs})


def check_skew(
    artefact: str, skew: Mapping[str, float], tolerance: float, problem: str = ""
) -> None:
    """Raises ValueError when a difference exceeds the tolerance.

    Args:
        artefact: its format, for the message.
        skew: what was compared → largest difference of a probability.
        tolerance: largest difference allowed.
        problem: why the rounding of the model could not be measured, "" where it was
            or need not be.

    Raises:
        ValueError: a difference is larger, or not a number.
    """
    unmeasured = ""
    if problem:
        unmeasured = (
            "The rounding of this network, which would be allowed, could not be "
            f"measured: {problem.rstrip('.')}. "
        )
    for name, value in skew.items():
        if not value <= tolerance:
            raise ValueError(
                f"The {artefact} must predict what the model in memory predicts, "
                f"within {tolerance:.2g}{_measured(skew)}; by {name} it differs by "
                f"{value:.2g}. {unmeasured}Nothing was exported. Choose another "
                "`format`, and report this with the versions in config.json."
            )


def _measured(skew: Mapping[str, float]) -> str:
    """How a tolerance follows from the measured rounding, "" where none is measured."""
    if _ROUNDING not in skew:
        return ""
    return (
        f" ({_ROUNDINGS} times the {_ROUNDING}, {skew[_ROUNDING]:.2g}, on these pairs)"
    )
