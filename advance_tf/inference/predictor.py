"""The predictor: model inputs → probabilities and embeddings.

Evaluation, reports, parity checks and `load_model` use `Predictor`, so that all of
them compute the same probabilities for the same inputs.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf.config import FeatureConfig
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.features.frontend import Frontend
from advance_tf.features.log_mel import LogMelStats
from advance_tf.inference.events import EventProbs, TeacherEvents, event_probs
from advance_tf.metrics.probabilities import softmax
from advance_tf.models.forward import TOWERS, ForwardPass
from advance_tf.models.heads import (
    PRESENT,
    embedding_model,
    heads_model,
    takes_mask,
    with_mask,
)
from advance_tf.models.recognizer import sound_input_of, tower_sound
from advance_tf.runs.calibration import MASKS, StoredCalibration
from advance_tf.runs.workdir import Run

# Prefixes of the columns of `_join`.
_DISTANCE, _SINGLE = "distance of ", "scenes of "


@dataclasses.dataclass(frozen=True, eq=False)
class Probabilities:
    """Probabilities of a batch.

    Attributes:
        scene_probs: float32 [n, 13], each row sums to 1.
        events: the event probabilities [n, 527] and their source.
        logits: output name → float32 [n, …], the outputs of the recognizer.
        distances: "image" and "sound" → float32 [n], distance of the embedding from
            those of the training pairs; empty without a calibration.
        single: "image" and "sound" → scene probabilities [n, 13] from this input
            alone, where they are requested of a model with a mask.
    """

    scene_probs: np.ndarray
    events: EventProbs
    logits: Mapping[str, np.ndarray]
    distances: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    single: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Predictor:
    """A recognizer with its front end and the event knowledge of its teacher.

    Args:
        recognizer: a model of `build_recognizer`, with its weights, or its forward
            pass.
        features: settings of image and sound, those of its training.
        modality: inputs that it was trained on: "both", "image" or "sound".
        knowledge: posteriors and event mask of its teacher, or None.
        stats: log-mel statistics in place of those that `features` names.
        calibration: temperatures and distances of its answers; None for T = 1.

    Attributes:
        sound_input: name of the recognizer's input of sounds: "log_mel" or
            "waveform".

    Example:
        >>> from advance_tf.config import FeatureConfig, ModelConfig
        >>> from advance_tf.models.recognizer import build_recognizer
        >>> features = FeatureConfig(image_size=32, clip_seconds=1.0)
        >>> model = ModelConfig(
        ...     image_depth=18, audio_depth=18, image_width=2, audio_width=2
        ... )
        >>> predictor = Predictor(build_recognizer(model, features), features)
        >>> image = np.zeros((1, 32, 32, 3), np.uint8)
        >>> waveform = np.zeros((1, 16_000), np.float32)
        >>> predictor.predict_decoded(image, waveform).scene_probs.shape
        (1, 13)
    """

    def __init__(
        self,
        recognizer: keras.Model | ForwardPass,
        features: FeatureConfig,
        *,
        modality: str = "both",
        knowledge: TeacherEvents | None = None,
        stats: LogMelStats | None = None,
        calibration: StoredCalibration | None = None,
    ) -> None:
        self.recognizer = recognizer
        self.calibration = calibration
        self.takes_mask = (
            recognizer.takes_mask
            if isinstance(recognizer, ForwardPass)
            else takes_mask(recognizer)
        )
        self._model: Any = recognizer
        if not isinstance(recognizer, ForwardPass) and (
            self.takes_mask or (calibration is not None and calibration.distances)
        ):
            self._model = with_embeddings(recognizer)
        self.features = features
        self.sound_input = (
            recognizer.sound_input
            if isinstance(recognizer, ForwardPass)
            else sound_input_of(recognizer)
        )
        self.frontend = Frontend(features, sound_input=self.sound_input, stats=stats)
        self.modality = modality
        self.knowledge = knowledge

    @classmethod
    def from_run(cls, run: Run, *, calibrated: bool = True) -> "Predictor":
        """The predictor of a loaded run, with or without its calibration."""
        return cls(
            run.recognizer,
            run.config.features,
            modality=run.config.model.modality,
            knowledge=run.knowledge,
            calibration=run.calibration if calibrated else None,
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Output of the recognizer, such as "scene_logits" → number of its logits."""
        if isinstance(self.recognizer, ForwardPass):
            return self.recognizer.sizes
        outputs = self.recognizer.output
        return {name: output.shape[-1] for name, output in outputs.items()}

    def predict(
        self, inputs: Mapping[str, Any], *, batch_size: int = 16
    ) -> Probabilities:
        """Probabilities of model inputs.

        Args:
            inputs: `image` [n, S, S, 3], levels 0..255, and `log_mel` [n, frames,
                mel_bins], normalized, or `waveform` [n, clip_samples], whichever the
                recognizer has (`sound_input`); zeros for a missing input. `present`
                [n, 2], 1 for an input that is there, else 0: image, sound; by default
                both are.
            batch_size: rows in a batch.

        Returns:
            The probabilities, in the order of the rows.

        Raises:
            ValueError: the model's logits are not finite.
        """
        rows = len(inputs["image"])
        present = np.asarray(inputs.get(PRESENT, np.ones((rows, 2))), np.float32)
        inputs = {name: values for name, values in inputs.items() if name != PRESENT}
        if self.takes_mask:
            inputs[PRESENT] = present
        if isinstance(self.recognizer, ForwardPass):
            starts = range(0, rows, batch_size)
            batches = (
                {name: values[k : k + batch_size] for name, values in inputs.items()}
                for k in starts
            )
            found = _concatenate(map(self.recognizer, batches))
            return self.probabilities(found, present)
        if rows <= batch_size:
            return self.probabilities(self._logits(inputs), present)
        return self.probabilities(
            self._model.predict(inputs, batch_size=batch_size, verbose=0), present
        )

    def _logits(self, inputs: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
        """The logits, and where they are computed the embeddings, of one batch."""
        if self.takes_mask and PRESENT not in inputs:
            ones = np.ones((len(inputs["image"]), 2), np.float32)
            inputs = {**inputs, PRESENT: ones}
        if isinstance(self.recognizer, ForwardPass):
            return self.recognizer(inputs)
        found: Mapping[str, np.ndarray] = self._model.predict_on_batch(dict(inputs))
        return found

    def predict_decoded(
        self, image: np.ndarray, waveform: np.ndarray, *, batch_size: int = 16
    ) -> Probabilities:
        """Probabilities of decoded pairs.

        Args:
            image: [n, S, S, 3], levels 0..255.
            waveform: float32 [n, clip_samples] in [-1, 1].
            batch_size: rows in a batch.

        Returns:
            The probabilities, in the order of the rows.
        """
        return self.predict(self.inputs(image, waveform), batch_size=batch_size)

    def inputs(self, image: np.ndarray, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Model inputs of decoded pairs.

        Args:
            image: [n, S, S, 3], levels 0..255.
            waveform: float32 [n, clip_samples] in [-1, 1].

        Returns:
            `image`, `log_mel` or `waveform`, and for a model with a mask `present`,
            float32.
        """
        sound = np.asarray(self.frontend.encode_sound(tf.constant(waveform)))
        inputs = {"image": np.asarray(image, np.float32), self.sound_input: sound}
        if self.takes_mask:
            inputs[PRESENT] = np.ones((len(image), 2), np.float32)
        return inputs

    def predict_pairs(
        self,
        pairs: Sequence[Pair],
        data_dir: str | pathlib.Path,
        *,
        batch_size: int,
        progress: bool = True,
        single: bool = False,
    ) -> Probabilities:
        """Probabilities of the pairs of a data set, decoded from their files.

        Args:
            pairs: the pairs, at least one.
            data_dir: folder of the data set.
            batch_size: pairs in a batch.
            progress: whether to show a progress bar on a terminal.
            single: compute the probabilities from each input alone too, if the model
                has a mask; the towers run once.

        Returns:
            The probabilities, in the order of the pairs.

        Raises:
            ValueError: a file cannot be read, or the logits are not finite.
        """
        files = PairFiles(pairs, data_dir, self.features, self.sound_input)
        shown = tqdm(
            make_dataset(files, batch_size),
            desc="prediction",
            unit="batch",
            # Only on a terminal.
            disable=None if progress else True,
        )
        with files.errors():
            outputs = (self._logits(inputs) for inputs, _ in shown)
            predict = self._with_single() if single and self.takes_mask else None
            found = map(predict or self.probabilities, outputs)
            return _join(found, len(pairs))

    def _with_single(self) -> Callable[[Mapping[str, np.ndarray]], Probabilities]:
        """A function of outputs: the probabilities with those of each input alone."""
        if isinstance(self.recognizer, ForwardPass):
            raise ValueError("single must be False for an exported model.")
        heads = heads_model(self.recognizer)

        def predict(outputs: Mapping[str, np.ndarray]) -> Probabilities:
            embeddings = {
                name.removesuffix("_tower"): outputs[f"{kind}_embedding"]
                for kind, name in TOWERS.items()
            }
            single = {}
            for kind in TOWERS:
                inputs = with_mask(heads, embeddings, MASKS[kind])
                own = heads(inputs)
                logits = {"scene_logits": np.asarray(own["scene_logits"])}
                present = np.tile(MASKS[kind], (len(logits["scene_logits"]), 1))
                single[kind] = softmax(self._scaled(logits, present)["scene_logits"])
            return dataclasses.replace(self.probabilities(outputs), single=single)

        return predict

    def embed(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Embeddings of the towers in use.

        Args:
            inputs: the inputs, as for `predict`.

        Returns:
            "image" → float32 [n, D_v] and "sound" → float32 [n, D_a], without a
            tower that is not in use.
        """
        if isinstance(self.recognizer, ForwardPass):
            return self.recognizer.embed(inputs)
        sound = np.asarray(inputs[self.sound_input], np.float32)
        given = {
            "image": np.asarray(inputs["image"], np.float32),
            "sound": tower_sound(self.recognizer, sound),
        }
        return {
            kind: self.recognizer.get_layer(tower).predict_on_batch(given[kind])
            for kind, tower in TOWERS.items()
            if self.modality in ("both", kind)
        }

    def _scaled(
        self, outputs: Mapping[str, np.ndarray], present: np.ndarray | None
    ) -> Mapping[str, np.ndarray]:
        """The outputs with the scene logits divided by the temperature."""
        if self.calibration is None:
            return outputs
        logits = np.asarray(outputs["scene_logits"], np.float64)
        if present is None:
            present = np.ones((len(logits), 2))
        temperatures = self.calibration.row_temperatures(present)
        return {**outputs, "scene_logits": logits / temperatures[:, None]}

    def probabilities(
        self, outputs: Mapping[str, np.ndarray], present: np.ndarray | None = None
    ) -> Probabilities:
        """Probabilities of the outputs of the recognizer, or of an exported copy.

        Args:
            outputs: `scene_logits` [n, 13] and perhaps event logits [n, 527] and
                embeddings, `image_embedding` and `sound_embedding`.
            present: [n, 2], the inputs that are there, which have temperatures of
                their own; None for both.

        Returns:
            The probabilities at the temperature of the calibration, in the order of
            the rows, and the distances of the embeddings.

        Raises:
            ValueError: the logits are not finite.
        """
        scaled = self._scaled(outputs, present)
        scene_probs = softmax(scaled["scene_logits"])
        logits = {k: v for k, v in outputs.items() if k.endswith("_logits")}
        for name, values in {**logits, "scene_logits": scene_probs}.items():
            if not np.isfinite(values).all():
                raise ValueError(
                    f"The model's {name.replace('_', ' ')} must be finite; received "
                    "NaN or infinity. Its weights are broken: train the model again or "
                    "load another run."
                )
        distances = {
            kind: distance(outputs[f"{kind}_embedding"]).numpy()
            for kind, distance in (
                self.calibration.distances if self.calibration else {}
            ).items()
            if f"{kind}_embedding" in outputs
        }
        events = event_probs(scaled, self.knowledge)
        return Probabilities(scene_probs, events, logits, distances)


def with_embeddings(recognizer: keras.Model) -> keras.Model:
    """The recognizer with the embeddings of both towers as further outputs.

    Args:
        recognizer: a model of `build_recognizer`.

    Returns:
        A model with the same inputs and weights and the outputs `image_embedding`
        and `sound_embedding` beside those of the recognizer.
    """
    found = embedding_model(recognizer).output
    embeddings = dict(zip(TOWERS, found.values(), strict=True))
    further = {f"{kind}_embedding": value for kind, value in embeddings.items()}
    return keras.Model(recognizer.input, {**recognizer.output, **further})


def _concatenate(
    outputs: Iterable[Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """The outputs of at least one batch as those of one."""
    parts = list(outputs)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _join(batches: Iterable[Probabilities], rows: int) -> Probabilities:
    """The probabilities of all rows, each batch copied to its place as it arrives."""
    tables: dict[str, np.ndarray] = {}
    start = 0
    for batch in batches:
        arrays = {"scene_probs": batch.scene_probs, **batch.logits}
        if batch.events.probs is not None:
            arrays["event_probs"] = batch.events.probs
        arrays |= {f"{_DISTANCE}{kind}": d for kind, d in batch.distances.items()}
        arrays |= {f"{_SINGLE}{kind}": p for kind, p in batch.single.items()}
        for name, values in arrays.items():
            if name not in tables:
                tables[name] = np.empty((rows, *values.shape[1:]), values.dtype)
            tables[name][start : start + len(values)] = values
        start += len(batch.scene_probs)
    scene_probs, probs = tables.pop("scene_probs"), tables.pop("event_probs", None)
    parts = []
    for prefix in (_DISTANCE, _SINGLE):
        names = [name for name in tables if name.startswith(prefix)]
        parts.append({name.removeprefix(prefix): tables.pop(name) for name in names})
    events = dataclasses.replace(batch.events, probs=probs)
    return Probabilities(scene_probs, events, tables, *parts)
