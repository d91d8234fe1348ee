"""A trained recognizer on its way into an artefact, and how it answers in graph."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize
from advance_tf.models.folding import fold_batch_norms, freeze
from advance_tf.serving.event_probs import HEADS, Knowledge, event_probs

_TOWERS = {"image": "image_tower", "sound": "audio_tower"}


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

    @property
    def may_tell_events(self) -> bool:
        """Whether events are asked for, and mean something.

        A head on the sound of a model that hears nothing says nothing.
        """
        on_sound = "audio_event_logits" in self.recognizer.output
        return self.events and not (self.modality == "image" and on_sound)

    @property
    def event_output(self) -> str:
        """The event logits that events are told from, "" without such a head."""
        heads = [name for name in HEADS if name in self.recognizer.output]
        return heads[0] if heads and self.may_tell_events else ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The logits that an artefact answers from."""
        return tuple(filter(None, ("scene_logits", self.event_output)))


class Answering:
    """A recognizer made for inference, with events, as functions of the graph.

    Batch norms are folded and the weights are constants. A tower that is given
    nothing is its embedding of zeros, a constant too. An event head that is not
    asked for, or that hears nothing, is dropped.

    Args:
        source: what to answer with.
        precise: transform sounds in float64; edge devices cannot.
    """

    def __init__(self, source: Source, *, precise: bool = True):
        self.source = source
        self.features = source.features
        self._precise = precise
        self._stats = load_stats(source.features)
        self._towers, self._silent = {}, {}
        for kind, name in _TOWERS.items():
            tower = fold_batch_norms(source.recognizer.get_layer(name))
            self._silent[kind] = tower(tf.zeros((1, *tower.input_shape[1:]))).numpy()
            self._towers[kind] = freeze(tower)
        self._event_output = source.event_output
        self._heads = {
            name: source.recognizer.get_layer(name).get_weights()
            for name in map(_head_of, source.outputs)
        }
        self._events = self._event_constants()

    def _event_constants(self) -> Mapping[str, np.ndarray] | None:
        """What events are computed from: the mask, and perhaps posteriors."""
        source = self.source
        knowledge = source.knowledge if source.may_tell_events else None
        sizes = {n: source.recognizer.output[n].shape[-1] for n in source.outputs}
        blank = {name: np.zeros((1, size), np.float32) for name, size in sizes.items()}
        described = event_probs(blank, knowledge)
        self.events_source = described.source
        self.events_of_sound = described.of_sound
        if described.probs is None:
            return None
        known = described.known
        if known is None:
            known = np.ones(described.probs.shape[1], bool)
        constants = {"known": known.astype(np.float32)}
        if not self._event_output and knowledge is not None:
            posteriors = np.where(known, knowledge.posteriors, 0)
            constants["posteriors"] = posteriors.astype(np.float32)
        return constants

    def tells_events(self, kinds: Sequence[str] = ("image", "sound")) -> bool:
        """Whether events are told of these inputs."""
        return self._events is not None and (
            "sound" in kinds or not self.events_of_sound
        )

    def log_mel(self, waveform: tf.Tensor) -> tf.Tensor:
        """Clips [B, clip_samples] → [B, frames, mel_bins], normalized."""
        with tf.name_scope("log_mel"):
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
        batch = tf.shape(waveform if image is None else image)[0]
        heard = None
        if waveform is not None:
            heard = self.log_mel(waveform)[..., None]
        embeddings = {
            kind: self._embed(kind, given, batch)
            for kind, given in (("image", image), ("sound", heard))
        }
        joined = tf.concat(list(embeddings.values()), axis=1)
        found = {"scene_probs": tf.nn.softmax(self._dense("scene_head", joined))}
        kinds = ("image",) if waveform is None else ("image", "sound")
        if self.tells_events(kinds):
            on_sound = self._event_output == "audio_event_logits"
            found["event_probs"] = self._event_probs(
                embeddings["sound"] if on_sound else joined, found["scene_probs"]
            )
        return found

    def _embed(self, kind: str, given, batch) -> tf.Tensor:
        # A tower that the model was trained without has always seen zeros.
        if given is None or kind not in self.source.kinds:
            return tf.tile(tf.constant(self._silent[kind]), [batch, 1])
        return self._towers[kind](given)

    def _dense(self, name: str, inputs) -> tf.Tensor:
        kernel, bias = (tf.constant(array) for array in self._heads[name])
        with tf.name_scope(name):
            return tf.nn.bias_add(tf.matmul(inputs, kernel), bias)

    def _event_probs(self, embedding, scene_probs) -> tf.Tensor:
        constants = self._events
        assert constants is not None
        if self._event_output:
            logits = self._dense(_head_of(self._event_output), embedding)
            return tf.sigmoid(logits) * tf.constant(constants["known"])
        probs = tf.matmul(scene_probs, tf.constant(constants["posteriors"]))
        return tf.clip_by_value(probs, 0.0, 1.0)


def _head_of(output: str) -> str:
    return output.replace("_logits", "_head")


def label_names() -> tuple[list[str], list[str]]:
    """The names of the 13 scenes and of the 527 events, in their orders."""
    return list(labels.scenes()), [event.name for event in labels.events()]
