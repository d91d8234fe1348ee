"""Predicts scenes and events of files with a loaded recognizer."""

import itertools
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.serving.event_probs import Knowledge, event_probs, softmax
from advance_tf.serving.examples import Example, Failure
from advance_tf.serving.prediction import Prediction, Ranking, best
from advance_tf.serving.reading import Reader, UnreadableError


class Predictor:
    """A recognizer with all it takes to read files.

    Args:
        recognizer: as `models.recognizer.build_recognizer` makes it, trained.
        features: its features.
        modality: what it was trained on: "both", "image" or "sound".
        knowledge: posteriors and event mask of its teacher, or None.
    """

    def __init__(
        self,
        recognizer: keras.Model,
        features: FeatureConfig,
        *,
        modality: str = "both",
        knowledge: Knowledge | None = None,
    ):
        self.recognizer = recognizer
        self.reader = Reader(features, modality)
        self.knowledge = knowledge

    def predict(
        self,
        examples: Iterable[Example],
        *,
        top: int = 5,
        events: bool = True,
        batch_size: int = 16,
    ) -> Iterator[Prediction | Failure]:
        """Predicts examples in their order.

        Args:
            examples: what to predict.
            top: number of scenes and of events to name.
            events: name events, or say why there are none.
            batch_size: examples in memory at once.

        Yields:
            A prediction for each example, or a failure where a file of it
            cannot be read: one bad file does not lose the others.

        Raises:
            ValueError: top or batch_size is below 1.
        """
        for name, value in (("top", top), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"--{name} must be at least 1; received {value}.")
        waiting = iter(examples)
        while batch := list(itertools.islice(waiting, batch_size)):
            yield from self._predict_batch(batch, top, events)

    def _predict_batch(self, batch, top, with_events) -> Iterator[Prediction | Failure]:
        read = [(example, self._read(example)) for example in batch]
        whole = [pair for pair in read if not isinstance(pair[1], Failure)]
        predictions: Iterator[Prediction] = iter(())
        if whole:
            examples, inputs = zip(*whole, strict=True)
            stacked = {key: np.stack([i[key] for i in inputs]) for key in inputs[0]}
            outputs = self.recognizer.predict_on_batch(stacked)
            predictions = self._describe(examples, outputs, top, with_events)
        for _, result in read:
            yield result if isinstance(result, Failure) else next(predictions)

    def _read(self, example: Example) -> dict[str, np.ndarray] | Failure:
        try:
            return self.reader.read(example)
        except (OSError, UnreadableError) as error:
            return Failure(example.name, str(error))

    def _notes(self, example: Example) -> list[str]:
        notes = []
        for kind in ("image", "sound"):
            given = getattr(example, kind) is not None
            used = self.reader.uses(kind)
            if used and not given:
                notes.append(
                    f"no {kind} given: the model, trained on image and sound, was "
                    "given zeros for it"
                )
            if given and not used:
                notes.append(f"the {kind} was not used: the model was trained without")
        return notes

    def _describe(self, examples, outputs, top, with_events) -> Iterator[Prediction]:
        scene_probs = softmax(outputs["scene_logits"])
        if not np.isfinite(scene_probs).all():
            raise ValueError(
                "The model's scene logits must be finite; received NaN or infinity. "
                "Its weights are broken: train it again or use another --workdir."
            )
        events = event_probs(outputs, self.knowledge)
        for row, example in enumerate(examples):
            notes = self._notes(example)
            ranking: Ranking = ()
            if with_events:
                ranking, note = self._rank_events(example, events, row, top)
                notes += [note] if note else []
            yield Prediction(
                example.name,
                str(example.image) if example.image else None,
                str(example.sound) if example.sound else None,
                best(labels.scenes(), scene_probs[row], top),
                ranking,
                events.source if ranking else "",
                tuple(notes),
            )

    def _rank_events(self, example, events, row, top) -> tuple[Ranking, str]:
        """The best events of an example, or none and why."""
        if events.probs is None:
            return (), events.source
        hears = example.sound is not None and self.reader.uses("sound")
        if events.of_sound and not hears:
            return (), "no events: the model takes them from the sound alone"
        names = [event.name for event in labels.events()]
        return best(names, events.probs[row], top, events.known), ""
