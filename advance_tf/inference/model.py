"""The interface of the models that `load_model` returns: predict and embed."""

import abc
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from advance_tf import labels
from advance_tf.data.pairing import SOUND_ENDINGS
from advance_tf.features.errors import MediaError, open_problem
from advance_tf.features.sources import ImageSource, SoundSource
from advance_tf.inference.examples import Example, not_wav, path_text
from advance_tf.inference.prediction import OK, Prediction, Ranking, rank
from advance_tf.inference.rejection import REASONS, reason_text

KINDS = ("image", "sound")


class Embedding(NamedTuple):
    """Embeddings of one example.

    Attributes:
        image: float32 [D_v] of the image tower, None without an image.
        sound: float32 [D_a] of the audio tower, None without a sound.
        joint: float32 [D_v + D_a], their concatenation N_{v+a}, from which the heads
            compute the scenes; None unless image and sound are given.
    """

    image: np.ndarray | None
    sound: np.ndarray | None
    joint: np.ndarray | None


class Scores(NamedTuple):
    """Scores of a batch of n examples.

    Attributes:
        status: "ok" for each row, or why it cannot be read.
        scene_probs: float32 [n, 13].
        event_probs: float32 [n, 527], None without events.
        known_events: bool [527], the events that the teacher covers; None where
            the others have the probability 0.
        flags: [n, 5], above 0 where a reason of `rejection.REASONS` apart from the
            last one applies; None where no reason is computed.
    """

    status: Sequence[str]
    scene_probs: np.ndarray
    event_probs: np.ndarray | None
    known_events: np.ndarray | None = None
    flags: np.ndarray | None = None


class Model(abc.ABC):
    """A trained model with its front end, see `load_model`.

    Attributes:
        modality: inputs in use: "both", "image" or "sound".
        label: notice about the training data, shown in reports, "" for none.
        event_source: where event probabilities come from, or why there are none.
        events_from_sound: whether events are predicted from the sound alone.
        takes_mask: whether the model was trained with modality_dropout, so that it
            answers from image, sound or both.
        min_confidence: least probability of the most probable scene; below it the
            scene is "unknown". 0 for never.
    """

    takes_mask: bool = False
    min_confidence: float = 0.0
    modality: str = "both"
    label: str = ""
    event_source: str = ""
    events_from_sound: bool = False

    def predict(
        self,
        image: ImageSource | None = None,
        sound: SoundSource | None = None,
        *,
        rate_hz: int | None = None,
        name: str | None = None,
    ) -> Prediction:
        """Predicts scene and events of one place.

        Args:
            image: path or bytes of a JPEG, PNG, BMP or WebP file, or an array,
                uint8 [H, W, 3], RGB.
            sound: path or bytes of a WAV file, or an array, float [n] or [n,
                channels] in [-1, 1], alone with `rate_hz` or as (array, rate).
            rate_hz: sampling rate of a sound array.
            name: name of the example; by default the stem of its path.

        Returns:
            The prediction; its `status` states why a file cannot be read.

        Raises:
            ValueError: neither image nor sound is given.
        """
        given = {"image": image, "sound": sound, "name": name, "rate_hz": rate_hz}
        example = Example.of(given)
        return next(self.predict_batch([example]))

    def predict_batch(
        self, examples: Iterable[Any], *, batch_size: int = 16, events: bool = True
    ) -> Iterator[Prediction]:
        """Predicts examples in order; one that cannot be read does not end the loop.

        Args:
            examples: each a mapping with the keys image, sound, rate_hz and name,
                a pair (image, sound), or an `Example`.
            batch_size: examples in memory at once.
            events: whether to predict events, or state in the notes why there are
                none.

        Returns:
            An iterator over a prediction for each example; its `status` states why
            the example cannot be read.

        Raises:
            ValueError: batch_size is below 1, at the call; or the probabilities are
                not finite, at the prediction.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; received {batch_size}.")
        return self._predict_batches(examples, batch_size, events)

    def _predict_batches(
        self, examples: Iterable[Any], batch_size: int, events: bool
    ) -> Iterator[Prediction]:
        numbered = enumerate(examples)
        while batch := list(itertools.islice(numbered, batch_size)):
            yield from self._predict_numbered(batch, events)

    def embed(
        self,
        image: ImageSource | None = None,
        sound: SoundSource | None = None,
        *,
        rate_hz: int | None = None,
    ) -> Embedding:
        """Embeddings of one place.

        Args:
            image: as for `predict`.
            sound: as for `predict`.
            rate_hz: sampling rate of a sound array.

        Returns:
            The embeddings of the inputs that are given and in use.

        Raises:
            ValueError: a file cannot be opened or read, or the exported model has no
                signature for embeddings.
        """
        example = Example.of({"image": image, "sound": sound, "rate_hz": rate_hz})
        try:
            inputs = self._inputs(example)
        except OSError as error:
            raise MediaError(open_problem(error)) from error
        try:
            found = self._embed(inputs)
        except MediaError as error:
            # The signatures of an export do not receive the paths.
            raise MediaError(_with_paths(example, str(error))) from error
        given = {"image": image is not None, "sound": sound is not None}
        parts = [found.get(kind) if given[kind] else None for kind in KINDS]
        joint = None
        if parts[0] is not None and parts[1] is not None:
            joint = np.concatenate([parts[0], parts[1]])
        return Embedding(parts[0], parts[1], joint)

    def uses(self, kind: str) -> bool:
        """Whether the model was trained on `kind`, "image" or "sound"."""
        return self.modality in ("both", kind)

    @abc.abstractmethod
    def _read(self, example: Example) -> dict[str, Any]:
        """Inputs of one example, without those not in use; raises MediaError."""

    @abc.abstractmethod
    def _scores(self, rows: Sequence[dict[str, Any]]) -> Scores:
        """Scores of rows of `_read`, in order."""

    @abc.abstractmethod
    def _embed(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        """Embeddings [D] of the towers in use, by "image" and "sound"."""

    def _inputs(self, example: Example) -> dict[str, Any]:
        given = [kind for kind in KINDS if getattr(example, kind) is not None]
        if not any(self.uses(kind) for kind in given):
            received = " and ".join(path_text(getattr(example, k)) or k for k in given)
            raise MediaError(
                f"This model was trained with `modality` {self.modality} and needs "
                f"the {self.modality} of '{example.name}'; received {received}."
            )
        path = pathlib.Path(path_text(example.sound) or "in memory.wav")
        is_named_wav = path.suffix.lower() in SOUND_ENDINGS
        if self.uses("sound") and not is_named_wav and not _is_wav(path):
            raise MediaError(not_wav(path))
        return self._read(example)

    def _predict_numbered(
        self, batch: Sequence[tuple[int, Any]], events: bool
    ) -> Iterator[Prediction]:
        read: list[tuple[Example, dict[str, Any]] | Prediction] = []
        for number, value in batch:
            try:
                example = Example.of(value, number)
            except ValueError as error:
                failure = Prediction(str(number), status=str(error), label=self.label)
                read.append(failure)
                continue
            try:
                read.append((example, self._inputs(example)))
            except OSError as error:
                read.append(self._failure(example, open_problem(error)))
            except ValueError as error:
                read.append(self._failure(example, str(error)))
        rows = [one[1] for one in read if not isinstance(one, Prediction)]
        scores = self._scores(rows) if rows else None
        row = 0
        for one in read:
            if isinstance(one, Prediction):
                yield one
            elif scores is not None:
                yield self._describe(one[0], scores, row, events)
                row += 1

    def _failure(self, example: Example, status: str) -> Prediction:
        """The answer for an example that cannot be read."""
        return Prediction(
            example.name,
            status=status,
            image=path_text(example.image),
            sound=path_text(example.sound),
            label=self.label,
        )

    def _describe(
        self, example: Example, scores: Scores, row: int, events: bool
    ) -> Prediction:
        status = scores.status[row]
        if status != OK:
            return self._failure(example, _with_paths(example, status))
        notes = self._notes(example)
        ranking: Ranking = ()
        if events:
            ranking, missing = self._rank_events(example, scores, row)
            notes += missing
        return Prediction(
            example.name,
            scenes=rank(labels.scenes(), scores.scene_probs[row]),
            events=ranking,
            event_source=self.event_source if ranking else "",
            notes=tuple(notes),
            image=path_text(example.image),
            sound=path_text(example.sound),
            label=self.label,
            reason=self._reason(scores, row),
        )

    def _reason(self, scores: Scores, row: int) -> str:
        """Why the scene of a row is unknown, "" if it is not."""
        flags = np.zeros(len(REASONS))
        if scores.flags is not None:
            flags[:-1] = scores.flags[row]
        flags[-1] = scores.scene_probs[row].max() < self.min_confidence
        return reason_text(flags)

    def _rank_events(
        self, example: Example, scores: Scores, row: int
    ) -> tuple[Ranking, list[str]]:
        """Events of a row, or none and the reason."""
        if scores.event_probs is None:
            return (), [self.event_source or "no events: the model predicts none"]
        has_sound = example.sound is not None and self.uses("sound")
        if self.events_from_sound and not has_sound:
            return (), ["no events: the model predicts them from the sound alone"]
        probs = scores.event_probs[row]
        # An event that the teacher does not cover has the probability 0.
        known = probs > 0 if scores.known_events is None else scores.known_events
        return rank([event.name for event in labels.events()], probs, known), []

    def _notes(self, example: Example) -> list[str]:
        notes = []
        for kind in KINDS:
            given, used = getattr(example, kind) is not None, self.uses(kind)
            if used and not given and self.takes_mask:
                other = {"image": "sound", "sound": "image"}[kind]
                notes.append(f"no {kind} given: the answer is from the {other} alone")
            elif used and not given:
                notes.append(
                    f"no {kind} given: the model, trained on image and sound, "
                    "received zeros for it"
                )
            if given and not used:
                notes.append(
                    f"the {kind} was not used: the model was trained without it"
                )
        return notes


def _with_paths(example: Example, problem: str) -> str:
    """A problem with the paths of its example before it."""
    paths = [path_text(source) for source in (example.image, example.sound)]
    named = " and ".join(path for path in paths if path)
    return f"{named}: {problem}" if named else problem


def _is_wav(path: pathlib.Path) -> bool:
    """Whether the header of a file is that of a WAV file, whatever its name."""
    with path.open("rb") as file:
        start = file.read(12)
    return start[:4] == b"RIFF" and start[8:] == b"WAVE"
