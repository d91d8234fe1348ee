"""Probabilities of encoded pairs from memory and from artefacts, and their skew."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import soundfile
import soxr
import tensorflow as tf

from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize
from advance_tf.features.sound import waveform_from_bytes
from advance_tf.serving.event_probs import event_probs, softmax
from advance_tf.serving.served import Source
from advance_tf.serving.signatures import DEFAULT

SAVED_MODEL_TOLERANCE, LITE_TOLERANCE = 1e-5, 1e-4
_ROUNDINGS = 4
# Rates, codings and channels that sounds of the check are written in.
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
    """The bytes of an image and of a sound."""

    image: bytes
    sound: bytes


def with_other_rates(pairs: Sequence[EncodedPair]) -> list[EncodedPair]:
    """The pairs, with each sound written at another rate, coding or width.

    Args:
        pairs: encoded; each sound is a WAV file.

    Returns:
        As many pairs: the first keeps its sound, those behind it take the rates
        8,000 to 48,000 Hz and an odd one, mono and stereo, in turn.
    """
    made = list(pairs[:1])
    for number, pair in enumerate(pairs[1:]):
        rate_hz, coding, channels = _VARIANTS[number % len(_VARIANTS)]
        samples, own_rate_hz = soundfile.read(io.BytesIO(pair.sound), always_2d=True)
        mono = soxr.resample(samples.mean(1), own_rate_hz, rate_hz)
        file = io.BytesIO()
        wide = np.repeat(np.clip(mono, -1, 1)[:, None], channels, axis=1)
        soundfile.write(file, wide, rate_hz, format="WAV", subtype=coding)
        made.append(EncodedPair(pair.image, file.getvalue()))
    return made


class Decoded(NamedTuple):
    """Decoded pairs: image uint8 [n, S, S, 3], waveform float32 [n, samples]."""

    image: np.ndarray
    waveform: np.ndarray


def decode(source: Source, pairs: Sequence[EncodedPair]) -> Decoded:
    """Decodes pairs as training and evaluation do."""
    features = source.features
    images = [decode_image(pair.image, features.image_size) for pair in pairs]
    sounds = [waveform_from_bytes(pair.sound, features) for pair in pairs]
    return Decoded(np.stack(images).astype(np.uint8), np.stack(sounds))


def recognizer_inputs(source: Source, decoded: Decoded) -> dict[str, np.ndarray]:
    """The inputs `image` and `log_mel` of the recognizer, of decoded pairs."""
    stats = load_stats(source.features)
    log_mel = normalize(log_mel_db(decoded.waveform, source.features), stats)
    return {"image": decoded.image.astype(np.float32), "log_mel": log_mel.numpy()}


def memory_probs(source: Source, decoded: Decoded) -> Probs:
    """What the model in memory says, by way of evaluation and not of export.

    Args:
        source: the model, with its batch norms.
        decoded: pairs.

    Returns:
        `scene_probs` [n, 13] and, where events are told, `event_probs` [n, 527].
    """
    outputs = source.recognizer.predict(
        recognizer_inputs(source, decoded), batch_size=8, verbose=0
    )
    found = {"scene_probs": softmax(outputs["scene_logits"])}
    events = event_probs(outputs, source.knowledge)
    if events.probs is not None:
        found["event_probs"] = events.probs
    return found


def largest_difference(expected: Probs, found: Mapping) -> float:
    """The largest absolute difference of any probability that both tell."""
    return max(
        float(np.abs(expected[name] - np.asarray(found[name])).max())
        for name in expected
        if name in found
    )


def saved_model_skew(
    folder: pathlib.Path, source: Source, pairs: Sequence[EncodedPair]
) -> dict[str, float]:
    """How far a SavedModel is from the model in memory.

    Args:
        folder: of the SavedModel.
        source: what it was made from.
        pairs: real ones, of several rates.

    Returns:
        "bytes" and "tensors" → largest difference of a probability; and, where
        that exceeds 1e-5, how far memory itself is from float64.

    Raises:
        ValueError: one exceeds 1e-5 and four times what float32 rounds in
            memory, or a row was refused.
    """
    decoded = decode(source, pairs)
    expected = memory_probs(source, decoded)
    signatures = tf.saved_model.load(str(folder)).signatures
    answers = {
        "bytes": signatures[DEFAULT](
            image_bytes=tf.constant([pair.image for pair in pairs]),
            sound_bytes=tf.constant([pair.sound for pair in pairs]),
        ),
        "tensors": signatures["features"](
            image=tf.constant(decoded.image), waveform=tf.constant(decoded.waveform)
        ),
    }
    for name, answer in answers.items():
        refused = [text for text in answer["status"].numpy() if text != b"ok"]
        if refused:
            raise ValueError(
                f"The SavedModel must answer what evaluation reads ({name}); it says "
                f"{refused[0].decode()!r}."
            )
    skew = {name: largest_difference(expected, a) for name, a in answers.items()}
    tolerance = SAVED_MODEL_TOLERANCE
    if max(skew.values()) > tolerance:
        skew["memory's own rounding"] = rounding(source, decoded, expected)
        tolerance = max(tolerance, _ROUNDINGS * skew["memory's own rounding"])
    check_skew("SavedModel", skew, tolerance)
    return skew


def rounding(source: Source, decoded: Decoded, expected: Probs) -> float:
    """How far the model in memory is from itself in float64.

    A hundred layers amplify float32's rounding; folded batch norms round
    elsewhere, and are no further from the exact answer than memory is.

    Args:
        source: the model.
        decoded: pairs.
        expected: of `memory_probs`.

    Returns:
        The largest difference of a scene's probability.
    """

    def widen(layer):
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float64"})

    exact = keras.models.clone_model(
        source.recognizer, clone_function=widen, recursive=True
    )
    exact.set_weights(source.recognizer.get_weights())
    inputs = recognizer_inputs(source, decoded)
    logits = exact({name: tf.cast(x, tf.float64) for name, x in inputs.items()})
    probs = tf.nn.softmax(logits["scene_logits"])
    return largest_difference(expected, {"scene_probs": probs})


def check_skew(artefact: str, skew: Mapping[str, float], tolerance: float) -> None:
    """Raises ValueError when an artefact is further from memory than allowed."""
    for name, value in skew.items():
        if not value <= tolerance:
            raise ValueError(
                f"The {artefact} must answer what the model in memory answers, within "
                f"{tolerance:g}; by {name} it differs by {value:.2g}. Nothing was "
                "exported; please report this with the versions in config.json."
            )
