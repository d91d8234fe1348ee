"""The inference model: what SavedModel and LiteRT compute, as graph functions."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.features.frontend import Frontend
from advance_tf.inference.events import HEADS, describe_events
from advance_tf.inference.predictor import Predictor
from advance_tf.inference.rejection import (
    REASONS,
    check_confidence,
    distance_flags,
    flag_matrix,
    input_flags,
)
from advance_tf.models.folding import fold_batch_norms, freeze_graph
from advance_tf.models.forward import TOWERS
from advance_tf.models.heads import absent_embeddings, dense_layers, takes_mask
from advance_tf.models.recognizer import sound_input_of, tower_sound
from advance_tf.runs.calibration import MASKS, StoredCalibration
from advance_tf.runs.workdir import Run
from advance_tf.teacher.knowledge import EventKnowledge


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """What an export is built from.

    Attributes:
        recognizer: trained, in float32.
        features: settings of image and sound.
        modality: "both", "image" or "sound".
        knowledge: posteriors and event mask of its teacher, or None.
        label: notice about the training data, shown in reports, "" for none.
        name: name of the model.
        events: whether to predict events, where the recognizer can.
        calibration: temperatures and distances of its answers; None for T = 1.
        min_confidence: least probability of a scene that is not "unknown".
    """

    recognizer: keras.Model
    features: FeatureConfig
    modality: str = "both"
    knowledge: EventKnowledge | None = None
    label: str = ""
    name: str = "advance"
    events: bool = True
    calibration: StoredCalibration | None = None
    min_confidence: float = 0.0

    @classmethod
    def from_run(
        cls, run: Run, *, events: bool = True, min_confidence: float = 0.0
    ) -> "Source":
        """The source of a loaded run."""
        return cls(
            run.recognizer,
            run.config.features,
            modality=run.config.model.modality,
            knowledge=run.knowledge,
            label=run.label,
            events=events,
            calibration=run.calibration,
            min_confidence=check_confidence(min_confidence),
        )

    def predictor(self) -> Predictor:
        """The predictor of the model in memory, the reference of parity checks."""
        return Predictor(
            self.recognizer,
            self.features,
            modality=self.modality,
            knowledge=self.knowledge,
            calibration=self.calibration,
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The inputs in use: "image", "sound" or both."""
        return ("image", "sound") if self.modality == "both" else (self.modality,)

    @property
    def has_events(self) -> bool:
        """Whether events are requested and can be predicted.

        An event head on the audio tower has no meaning in a model that was
        trained without sound.
        """
        on_sound = "audio_event_logits" in self.recognizer.output
        return self.events and not (self.modality == "image" and on_sound)

    @property
    def event_output(self) -> str:
        """The event logits that are exported, "" without such a head."""
        heads = [name for name in HEADS if name in self.recognizer.output]
        return heads[0] if heads and self.has_events else ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The logits that an export computes."""
        return tuple(filter(None, ("scene_logits", self.event_output)))

    @property
    def rounding_factor(self) -> float:
        """By how much a temperature below 1 increases the rounding of the logits."""
        if self.calibration is None:
            return 1.0
        return max(1.0, 1 / self.calibration.temperatures["both"])

    def describe_answers(self) -> dict[str, Any]:
        """The entries of the metadata about calibration and rejection."""
        temperatures = dict.fromkeys(MASKS, 1.0)
        distances = {}
        if self.calibration is not None:
            temperatures = dict(self.calibration.temperatures)
            found = self.calibration.distances
            distances = {kind: each.threshold for kind, each in found.items()}
        return {
            "modality_dropout": takes_mask(self.recognizer),
            "temperatures": temperatures,
            "largest_distances": distances,
            "min_confidence": self.min_confidence,
            "reasons": list(REASONS),
        }


class InferenceModel:
    """A recognizer prepared for inference, as functions of the graph.

    Batch norms are folded and the weights are constants. The embedding of a missing
    input is a constant too: the trained one of a model with modality_dropout, whose
    mask is in the biases of its heads; otherwise that of zeros. An event head that is
    not requested, or has no meaning, is left out.

    Args:
        source: what to export.
        litert: compute log-mels with the operators of LiteRT, see `log_mel_db`.

    Attributes:
        events_source: where event probabilities come from, or why there are none.
        events_from_sound: whether they are predicted from the sound alone.
    """

    def __init__(self, source: Source, *, litert: bool = False) -> None:
        self.source = source
        self.features = source.features
        self.frontend = Frontend(
            source.features,
            litert=litert,
            sound_input=sound_input_of(source.recognizer),
        )
        self._towers: dict[str, Any] = {}
        self._zero_embeddings: dict[str, np.ndarray] = {}
        for kind, name in TOWERS.items():
            tower = fold_batch_norms(source.recognizer.get_layer(name))
            zeros = tf.zeros((1, *tower.input_shape[1:]))
            self._zero_embeddings[kind] = tower(zeros).numpy()
            self._towers[kind] = freeze_graph(tower)
        has_mask = takes_mask(source.recognizer)
        if has_mask:
            absent = absent_embeddings(source.recognizer).values()
            self._zero_embeddings = {
                kind: value[None] for kind, value in zip(TOWERS, absent, strict=True)
            }
        self._event_output = source.event_output
        # Inputs → output → matrices; without a mask they are the same.
        self._heads = {
            inputs: {
                name: dense_layers(source.recognizer, name, mask)
                for name in source.outputs
            }
            for inputs, mask in MASKS.items()
        }
        self._events = self._event_constants()

    def _event_constants(self) -> Mapping[str, np.ndarray] | None:
        """The event mask, and the posteriors where there is no event head."""
        source = self.source
        knowledge = source.knowledge if source.has_events else None
        sizes = {n: source.recognizer.output[n].shape[-1] for n in source.outputs}
        described = describe_events(sizes, knowledge)
        self.events_source = described.source
        self.events_from_sound = described.from_sound
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

    def has_events(self, kinds: Sequence[str] = ("image", "sound")) -> bool:
        """Whether events are predicted from these inputs, "image" and "sound"."""
        return self._events is not None and (
            "sound" in kinds or not self.events_from_sound
        )

    def describe(self, *, version: str, **details: Any) -> dict[str, Any]:
        """The contents of metadata.json: form of the inputs, names of the outputs.

        Args:
            version: version of the export.
            **details: further entries, such as `quantization`.

        Returns:
            Values for JSON.
        """
        scenes, events = label_names()
        source, features = self.source, self.features
        return {
            "name": source.name,
            "version": version,
            "sample_rate_hz": features.sample_rate_hz,
            "clip_samples": features.clip_samples,
            "image_size": features.image_size,
            "image_resize": features.image_resize,
            "jpeg_scaling": features.jpeg_scaling,
            "max_image_pixels": features.max_image_pixels,
            "modality": source.modality,
            "scenes": scenes,
            "events": events if self.has_events(source.kinds) else [],
            "events_source": self.events_source,
            "events_of_sound": self.events_from_sound,
            "label": source.label,
            **source.describe_answers(),
            **details,
        }

    def encode_sound(self, waveform: tf.Tensor) -> tf.Tensor:
        """Clips [B, clip_samples] → input of the audio tower, such as its log-mel."""
        with tf.name_scope("log_mel"):
            sound = self.frontend.encode_sound(waveform)
        return tower_sound(self.source.recognizer, sound)

    def embed(
        self, image: tf.Tensor | None, waveform: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Embeddings of both towers.

        Args:
            image: float32 [B, S, S, 3], levels 0..255; None for zeros.
            waveform: float32 [B, clip_samples]; None for zeros in place of the
                input of the audio tower.

        Returns:
            "image" → float32 [B, D_v] and "sound" → float32 [B, D_a].
        """
        batch = tf.shape(waveform if image is None else image)[0]
        # [B, frames, mel_bins, 1] or [B, clip_samples]
        sound = None if waveform is None else self.encode_sound(waveform)
        given = {"image": image, "sound": sound}
        return {kind: self._embed(kind, given[kind], batch) for kind in TOWERS}

    def probs(
        self, image: tf.Tensor | None, waveform: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Probabilities of a batch.

        Args:
            image: float32 [B, S, S, 3], levels 0..255; None for zeros.
            waveform: float32 [B, clip_samples]; None for zeros in place of the
                input of the audio tower.

        Returns:
            `scene_probs` [B, 13] at the temperature of the calibration and, where
            events are predicted, `event_probs` [B, 527]; `confidence` [B], the
            largest probability; and `reason_flags` [B, 6], 1 for each reason of
            `rejection.REASONS` that applies; float32.
        """
        given = {"image": image, "sound": waveform}
        used = [k for k in self.source.kinds if given[k] is not None]
        inputs = used[0] if len(used) == 1 else "both"
        embeddings = self.embed(image, waveform)
        joint = tf.concat(list(embeddings.values()), axis=1)  # [B, D_v + D_a]
        logits = self._dense("scene_logits", joint, inputs)
        calibration = self.source.calibration
        if calibration is not None and calibration.temperatures[inputs] != 1:
            logits = logits / calibration.temperatures[inputs]
        found = {"scene_probs": tf.nn.softmax(logits)}
        kinds = ("image",) if waveform is None else ("image", "sound")
        if self.has_events(kinds):
            on_sound = self._event_output == "audio_event_logits"
            found["event_probs"] = self._event_probs(
                embeddings["sound"] if on_sound else joint, found["scene_probs"], inputs
            )
        found["confidence"] = tf.reduce_max(found["scene_probs"], axis=1)
        with tf.name_scope("reasons"):
            of_inputs = {k: given[k] if k in used else None for k in given}
            found["reason_flags"] = self._reasons(
                of_inputs, embeddings, found["confidence"]
            )
        return found

    def _reasons(
        self,
        given: Mapping[str, tf.Tensor | None],
        embeddings: Mapping[str, tf.Tensor],
        confidence: tf.Tensor,
    ) -> tf.Tensor:
        """The reasons of `rejection.REASONS`, [B, 6]."""
        calibration = self.source.calibration
        fitted = calibration.distances if calibration is not None else {}
        distances = {
            kind: distance(embeddings[kind])
            for kind, distance in fitted.items()
            if given[kind] is not None
        }
        flags: list[tf.Tensor | None] = [
            *input_flags(given["image"], given["sound"]),
            *distance_flags(calibration, distances),
            confidence < self.source.min_confidence,
        ]
        return flag_matrix(flags, tf.shape(confidence)[0])

    def _embed(self, kind: str, given: tf.Tensor | None, batch: tf.Tensor) -> tf.Tensor:
        # In training a tower that is not in use receives zeros.
        if given is None or kind not in self.source.kinds:
            return tf.tile(tf.constant(self._zero_embeddings[kind]), [batch, 1])
        return self._towers[kind](given)

    def _dense(self, name: str, embedding: tf.Tensor, inputs: str) -> tf.Tensor:
        x = embedding
        with tf.name_scope(name.replace("_logits", "_head")):
            for number, (kernel, bias) in enumerate(self._heads[inputs][name]):
                # [B, units] of the hidden layer, if there is one
                x = tf.nn.relu(x) if number else x
                x = tf.nn.bias_add(tf.matmul(x, tf.constant(kernel)), tf.constant(bias))
        return x  # [B, outputs]

    def _event_probs(
        self, embedding: tf.Tensor, scene_probs: tf.Tensor, inputs: str
    ) -> tf.Tensor:
        constants = self._events
        assert constants is not None
        if self._event_output:
            logits = self._dense(self._event_output, embedding, inputs)
            return tf.sigmoid(logits) * tf.constant(constants["known"])
        # Eq. 7, [B, 527]
        probs = tf.matmul(scene_probs, tf.constant(constants["posteriors"]))
        return tf.clip_by_value(probs, 0.0, 1.0)


def label_names() -> tuple[list[str], list[str]]:
    """The names of the 13 scenes and of the 527 events, in their orders.

    >>> scenes, events = label_names()
    >>> scenes[0], events[0]
    ('airport', 'Speech')
    """
    return list(labels.scenes()), [event.name for event in labels.events()]
