"""Predicts scenes and events of files with a loaded recognizer."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.serving.event_probs import Knowledge, event_probs, softmax
from advance_tf.serving.examples import Example, Failure
from advance_tf.serving.reading import Reader, UnreadableError

Ranking = tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says of one example.

    Attributes:
        name: of the example.
        image: path of the image or None.
        sound: path of the sound or None.
        scenes: names and probabilities, best first.
        events: names and probabilities, best first; empty without events.
        event_source: where the event probabilities come from, "" without.
        notes: what a reader must know to read it rightly.
    """

    name: str
    image: str | None
    sound: str | None
    scenes: Ranking
    events: Ranking
    event_source: str
    notes: tuple[str, ...]


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
        self, examples: Iterable[Example], *, top: int = 5, batch_size: int = 16
    ) -> Iterator[Prediction | Failure]:
        """Predicts examples in their order.

        Args:
            examples: what to predict.
            top: number of scenes and of events to name.
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
            yield from self._predict_batch(batch, top)

    def _predict_batch(self, batch, top) -> Iterator[Prediction | Failure]:
        read = [(example, self._read(example)) for example in batch]
        whole = [pair for pair in read if not isinstance(pair[1], Failure)]
        predictions: Iterator[Prediction] = iter(())
        if whole:
            examples, inputs = zip(*whole, strict=True)
            stacked = {key: np.stack([i[key] for i in inputs]) for key in inputs[0]}
            outputs = self.recognizer.predict_on_batch(stacked)
            predictions = self._describe(examples, outputs, top)
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

    def _describe(self, examples, outputs, top) -> Iterator[Prediction]:
        scene_probs = softmax(outputs["scene_logits"])
        if not np.isfinite(scene_probs).all():
            raise ValueError(
                "The model's scene logits must be finite; received NaN or infinity. "
                "Its weights are broken: train it again or use another --workdir."
            )
        events = event_probs(outputs, self.knowledge)
        heard_only = "audio_event_logits" in outputs
        names = [event.name for event in labels.events()]
        for row, example in enumerate(examples):
            notes = self._notes(example)
            ranking: Ranking = ()
            if events.probs is None:
                notes.append(events.source)
            elif heard_only and not (example.sound and self.reader.uses("sound")):
                notes.append("no events: the model takes them from the sound alone")
            else:
                ranking = _best(names, events.probs[row], top, events.known)
            yield Prediction(
                example.name,
                str(example.image) if example.image else None,
                str(example.sound) if example.sound else None,
                _best(labels.scenes(), scene_probs[row], top),
                ranking,
                events.source if ranking else "",
                tuple(notes),
            )


def _best(names, probs, top: int, known=None) -> Ranking:
    order = np.argsort(-probs, kind="stable")
    if known is not None:
        order = order[known[order]]
    return tuple((names[k], float(probs[k])) for k in order[:top])


def text(prediction: Prediction) -> str:
    """A prediction for the terminal, without a newline at its end.

    Args:
        prediction: of `Predictor.predict`.

    Returns:
        The name, then lines of percent and name, then the notes.
    """
    lines = [prediction.name]
    for title, ranking in (
        ("scenes", prediction.scenes),
        ("events", prediction.events),
    ):
        if ranking:
            source = prediction.event_source if title == "events" else ""
            lines.append(f"  {title}{': ' + source if source else ''}")
            lines += [f"  {100 * prob:7.2f} %  {name}" for name, prob in ranking]
    lines += [f"  note: {note}" for note in prediction.notes]
    return "\n".join(lines)
