"""A trained recognizer on its way into an artefact, and how it answers in graph."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize
from advance_tf.models.folding import fold_batch_norms, freeze
from advance_tf.serving.event_probs import HEADS, Knowledge, event_probs

NO_EVENTS = "none"


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """What an artefact is made from.

    Attributes:
        recognizer: trained, in float32.
        features: how it hears and sees.
        modality: "both", "image" or "sound".
        knowledge: posteriors and event mask of its teacher, or None.
        label: what every report must say of its training data, "" for nothing.
        name: of the model.
        events: whether it shall tell events, where it can.
    """

    recognizer: keras.Model
    features: FeatureConfig
    modality: str = "both"
    knowledge: Knowledge | None = None
    label: str = ""
    name: str = "advance"
    events: bool = True

    @property
    def kinds(self) -> tuple[str, ...]:
        """The inputs in use: "image", "sound" or both."""
        return ("image", "sound") if self.modality == "both" else (self.modality,)


class Answering:
    """A folded recognizer with events, as functions of the graph.

    Batch norms are folded and the weights are constants; an event head that is
    not asked for, or that hears nothing, is dropped.

    Args:
        source: what to answer with.
        precise: transform sounds in float64; edge devices cannot.
    """

    def __init__(self, source: Source, *, precise: bool = True):
        self.source = source
        self.features = source.features
        self._precise = precise
        self._stats = load_stats(source.features)
        kept = ["scene_logits"]
        heads = [name for name in HEADS if name in source.recognizer.output]
        deaf = source.modality == "image" and "audio_event_logits" in heads
        if heads and source.events and not deaf:
            kept += heads[:1]
        self.model = fold_batch_norms(source.recognizer, kept)
        self._function = freeze(self.model)
        self._events = self._event_constants(kept)

    def _event_constants(self, kept) -> Mapping[str, np.ndarray] | None:
        """Where events come from: the source, the mask and the posteriors."""
        source = self.source
        blank = {
            name: np.zeros((1, self.model.output[name].shape[-1]), np.float32)
            for name in kept
        }
        described = event_probs(blank, source.knowledge if source.events else None)
        self.events_source = described.source if source.events else NO_EVENTS
        self.events_of_sound = described.of_sound
        if described.probs is None or not source.events:
            return None
        known = np.ones(described.probs.shape[1], bool)
        if described.known is not None:
            known = described.known
        constants = {"known": known}
        if len(kept) == 1 and source.knowledge is not None:
            posteriors = np.where(known, source.knowledge.posteriors, 0)
            constants["posteriors"] = posteriors.astype(np.float32)
        return constants

    def tells_events(self, kinds=("image", "sound")) -> bool:
        """Whether events are told of these inputs."""
        return self._events is not None and (
            "sound" in kinds or not self.events_of_sound
        )

    def log_mel(self, waveform: tf.Tensor) -> tf.Tensor:
        """Clips [B, clip_samples] → [B, frames, mel_bins], normalized."""
        decibel = log_mel_db(waveform, self.features, precise=self._precise)
        return normalize(decibel, self._stats)

    def probs(
        self, image: tf.Tensor | None, waveform: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Probabilities of a batch.

        Args:
            image: float32 [B, S, S, 3], levels 0..255; None for zeros.
            waveform: float32 [B, clip_samples]; None for zeros in place of its
                log-mel.

        Returns:
            `scene_probs` [B, 13] and, where events are told, `event_probs`
            [B, 527], float32.
        """
        given = image if image is not None else waveform
        batch, features = tf.shape(given)[0], self.features
        if image is None:
            image = tf.zeros([batch, features.image_size, features.image_size, 3])
        log_mel = tf.zeros([batch, features.frames, features.mel_bins])
        if waveform is not None:
            log_mel = self.log_mel(waveform)
        outputs = self._function({"image": image, "log_mel": log_mel})
        found = {"scene_probs": tf.nn.softmax(outputs["scene_logits"])}
        kinds = ("image",) if waveform is None else ("image", "sound")
        if self.tells_events(kinds):
            found["event_probs"] = self._event_probs(outputs, found["scene_probs"])
        return found

    def _event_probs(self, outputs, scene_probs) -> tf.Tensor:
        constants = self._events
        assert constants is not None
        if "posteriors" in constants:
            probs = tf.matmul(scene_probs, tf.constant(constants["posteriors"]))
            return tf.clip_by_value(probs, 0.0, 1.0)
        head = next(name for name in HEADS if name in outputs)
        known = tf.constant(constants["known"].astype(np.float32))
        return tf.sigmoid(outputs[head]) * known


def label_names() -> tuple[list[str], list[str]]:
    """The names of the 13 scenes and of the 527 events, in their orders."""
    return list(labels.scenes()), [event.name for event in labels.events()]
