"""The models that `load_model` returns: of a run and of a SavedModel."""

import io
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.checksums import verify_folder
from advance_tf.features.errors import MediaError, media_problem
from advance_tf.features.sources import (
    ImageSource,
    SoundSource,
    check_image_array,
    read_contents,
    split_rate,
)
from advance_tf.features.waveform import check_rate, mono_waveform
from advance_tf.files import reading
from advance_tf.inference.events import describe_events
from advance_tf.inference.examples import Example
from advance_tf.inference.model import KINDS, Model, Scores
from advance_tf.inference.prediction import OK
from advance_tf.inference.predictor import Predictor, Probabilities
from advance_tf.inference.rejection import (
    REASONS,
    distance_flags,
    flag_matrix,
    input_flags,
)
from advance_tf.models.heads import PRESENT

# In the folder of a SavedModel, and in the ZIP archive of a LiteRT file.
METADATA = "metadata.json"
SAVED_MODEL_METADATA = f"assets.extra/{METADATA}"
# In a row of inputs: the reasons that follow from the decoded inputs.
_CHECKS = "checks"
# The signature that returns embeddings, in both formats.
EMBED = "embed"
# In the metadata of a LiteRT file.
SHA256_FLATBUFFER = "sha256_flatbuffer"
EXPORT_AGAIN = "Export the run again with this version."
_METADATA_TYPES = {
    "modality": str,
    "label": str,
    "events_source": str,
    "events_of_sound": bool,
    "sample_rate_hz": int,
    "clip_samples": int,
    "image_size": int,
}


class Measured(NamedTuple):
    """What decides about the answers of n examples.

    Attributes:
        confidence: float32 [n], the largest scene probability.
        distances: "image" and "sound" → float32 [n], distance of the embedding from
            the training pairs; empty without a calibration.
        flags: float [n, 5], above 0 for each reason of `rejection.REASONS` apart from
            low confidence.
    """

    confidence: np.ndarray
    distances: Mapping[str, np.ndarray]
    flags: np.ndarray


class RunModel(Model):
    """A run of `advance fit` or `advance_tf.train`.

    Args:
        predictor: predictor of the run.
        label: notice about the training data, shown in reports, "" for none.
    """

    def __init__(self, predictor: Predictor, label: str = "") -> None:
        self.predictor = predictor
        self.modality = predictor.modality
        self.takes_mask = predictor.takes_mask
        self.label = label
        events = describe_events(predictor.sizes, predictor.knowledge)
        self.event_source = events.source
        self.events_from_sound = events.from_sound

    def _read(self, example: Example) -> dict[str, Any]:
        frontend, features = self.predictor.frontend, self.predictor.features
        side = features.image_size
        sound_input = self.predictor.sound_input
        row = {
            "image": np.zeros((side, side, 3), np.float32),
            sound_input: np.zeros(features.sound_shape(sound_input), np.float32),
            PRESENT: np.zeros(len(KINDS), np.float32),
        }
        image = waveform = None
        if example.image is not None and self.uses("image"):
            row["image"] = frontend.read_image(example.image)
            image = tf.constant(row["image"][None], tf.float32)
            row[PRESENT][0] = 1
        if example.sound is not None and self.uses("sound"):
            clip = frontend.read_waveform(example.sound)
            row[sound_input] = frontend.encode_clip(clip)
            waveform = tf.constant(clip[None], tf.float32)
            row[PRESENT][1] = 1
        row[_CHECKS] = flag_matrix(input_flags(image, waveform), 1)[0].numpy()
        return row

    def model_inputs(self, example: Example) -> dict[str, np.ndarray]:
        """The inputs of the recognizer for one example.

        Args:
            example: files that can be read.

        Returns:
            `image` [1, S, S, 3], `log_mel` [1, frames, mel_bins] or `waveform` [1,
            clip_samples], and `present` [1, 2], float32; zeros for a missing input.

        Raises:
            MediaError: a file cannot be decoded.
            OSError: a file cannot be opened.
        """
        row = self._inputs(example)
        return _stack([{k: v for k, v in row.items() if k != _CHECKS}])

    def measure(self, examples: Sequence[Example], batch_size: int = 16) -> Measured:
        """Confidence, distances and reasons of examples with the same inputs.

        Args:
            examples: at least one.
            batch_size: examples in memory at once.

        Returns:
            The measures, in the order of the examples.

        Raises:
            ValueError: a file cannot be read.
        """
        parts = []
        for start in range(0, len(examples), batch_size):
            batch = examples[start : start + batch_size]
            parts.append(self._predict([self._inputs(example) for example in batch]))
        return Measured(
            np.concatenate([found.scene_probs.max(axis=1) for found, _ in parts]),
            {
                kind: np.concatenate([found.distances[kind] for found, _ in parts])
                for kind in parts[0][0].distances
            },
            np.concatenate([flags for _, flags in parts]),
        )

    def _scores(self, rows: Sequence[dict[str, Any]]) -> Scores:
        found, flags = self._predict(rows)
        status, events = [OK] * len(rows), found.events
        return Scores(status, found.scene_probs, events.probs, events.known, flags)

    def _predict(
        self, rows: Sequence[dict[str, Any]]
    ) -> tuple[Probabilities, np.ndarray]:
        """Probabilities and flags of rows."""
        inputs = _stack(rows)
        checks, present = inputs.pop(_CHECKS), inputs[PRESENT]
        found = self.predictor.predict(inputs, batch_size=len(rows))
        far = distance_flags(self.predictor.calibration, found.distances)
        # The distance of a missing input is that of zeros and has no meaning.
        far_flags = flag_matrix(far, len(rows)).numpy() * present
        return found, np.hstack([checks, far_flags])

    def _embed(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        found = self.predictor.embed(_stack([row]))
        return {kind: values[0] for kind, values in found.items()}


def _stack(rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


class ExportedModel(Model):
    """A model that is described by its metadata.json.

    Args:
        metadata: contents of metadata.json.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.metadata = metadata
        self.modality = metadata["modality"]
        self.label = metadata["label"]
        self.takes_mask = metadata.get("modality_dropout", False)
        self.min_confidence = metadata.get("min_confidence", 0.0)
        self.event_source = metadata["events_source"]
        self.events_from_sound = metadata["events_of_sound"]


def check_metadata(metadata: Any) -> dict[str, Any]:
    """Checks that metadata has the entries that a model needs.

    Args:
        metadata: the contents of metadata.json.

    Returns:
        The same entries.

    Raises:
        KeyError: an entry is missing.
        TypeError: an entry has another type.
    """
    found = dict(metadata)
    for name, kind in _METADATA_TYPES.items():
        if not isinstance(found[name], kind):
            raise TypeError(f"{name} must be of type {kind.__name__}")
    return found


class SavedModel(ExportedModel):
    """A SavedModel of `advance export`; its signatures decode files.

    Args:
        path: folder of the SavedModel.

    Raises:
        ValueError: the folder has no metadata, or a file differs from its checksum.
    """

    def __init__(self, path: pathlib.Path) -> None:
        verify_folder(path)
        super().__init__(_saved_model_metadata(path))
        self.path = path
        # The signatures hold no reference to the object that owns their weights.
        # Errors of TensorFlow and of protocol buffers have no common base class.
        try:
            self._loaded = tf.saved_model.load(str(path))
            self._signatures = self._loaded.signatures
        except Exception as error:
            raise ValueError(
                f"{path} must be a complete SavedModel of `advance export`; reading it "
                f"failed: {error}. {EXPORT_AGAIN}"
            ) from error

    def _read(self, example: Example) -> dict[str, Any]:
        row = {}
        if example.image is not None and self.uses("image"):
            row["image_bytes"] = _image_bytes(example.image)
        if example.sound is not None and self.uses("sound"):
            row["sound_bytes"] = _sound_bytes(example.sound)
        return row

    def _scores(self, rows: Sequence[dict[str, Any]]) -> Scores:
        status = [""] * len(rows)
        scenes = np.zeros((len(rows), len(labels.scenes())), np.float32)
        flags = np.zeros((len(rows), len(REASONS) - 1), np.float32)
        events = np.zeros((len(rows), len(labels.events())), np.float32)
        has_events = False
        # Rows with the same inputs share one call.
        places: dict[tuple[str, ...], list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault(tuple(sorted(row)), []).append(place)
        for names, given in places.items():
            for group, outputs in self._answers(names, given, rows):
                for place, text in zip(group, outputs["status"], strict=True):
                    status[place] = text.decode()
                if "scene_probs" not in outputs:
                    continue
                scenes[group] = outputs["scene_probs"]
                # Exports of versions before 0.2.0 have no reasons.
                if "reason_flags" in outputs:
                    flags[group] = outputs["reason_flags"][:, :-1]
                if "event_probs" in outputs:
                    has_events = True
                    events[group] = outputs["event_probs"]
        return Scores(status, scenes, events if has_events else None, flags=flags)

    def _answers(
        self, names: tuple[str, ...], group: list[int], rows: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
        """Outputs of a group of rows; of each alone, if they fail together.

        An export with `bad_rows="error"` fails all rows because of one. The outputs of
        that row are its status only.
        """
        try:
            outputs = self._call(names, [rows[place] for place in group])
        except tf.errors.InvalidArgumentError as error:
            if len(group) > 1:
                for place in group:
                    yield from self._answers(names, [place], rows)
                return
            problem = self._problem(rows[group[0]])
            if problem == OK:
                raise
            problem = problem or media_problem(error)
            outputs = {"status": np.array([problem.encode()], object)}
        yield group, outputs

    def _problem(self, row: dict[str, Any]) -> str:
        """The status of a row by the signature `embed`, "" without one."""
        if EMBED not in self._signatures:
            return ""
        return str(self._embeddings(row)["status"].numpy()[0].decode())

    def _call(
        self, names: tuple[str, ...], rows: Sequence[dict[str, Any]]
    ) -> dict[str, np.ndarray]:
        single = {"image_bytes": "image_only", "sound_bytes": "sound_only"}
        signature = "serving_default" if len(names) == 2 else single[names[0]]
        given = {name: tf.constant([row[name] for row in rows]) for name in names}
        outputs = self._signatures[signature](**given)
        return {name: np.asarray(value) for name, value in outputs.items()}

    def _embed(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        if EMBED not in self._signatures:
            raise ValueError(no_embeddings(self.path))
        outputs = self._embeddings(row)
        status = outputs["status"].numpy()[0].decode()
        if status != OK:
            raise MediaError(status)
        return {
            kind: outputs[f"{kind}_embedding"].numpy()[0]
            for kind in KINDS
            if f"{kind}_embedding" in outputs
        }

    def _embeddings(self, row: dict[str, Any]) -> dict[str, tf.Tensor]:
        """The outputs of the signature `embed`, which fails no row."""
        inputs = self._signatures[EMBED].structured_input_signature[1]
        # A signature of both inputs needs both; the embedding of this one is unused.
        blank = {
            "image_bytes": _image_bytes(np.zeros((1, 1, 3), np.uint8)),
            "sound_bytes": _sound_bytes((np.zeros(1, np.float32), 16_000)),
        }
        given = {name: tf.constant([(blank | row)[name]]) for name in inputs}
        return dict(self._signatures[EMBED](**given))


def _image_bytes(source: ImageSource) -> bytes:
    """The bytes of a file unchanged; an array as PNG, which is lossless."""
    if isinstance(source, np.ndarray):
        return bytes(tf.io.encode_png(check_image_array(source)).numpy())
    return read_contents(source, "image")[0]


def _sound_bytes(source: SoundSource) -> bytes:
    """The bytes of a file unchanged; an array as mono WAV of 32-bit floats."""
    sound, rate_hz = split_rate(source)
    if isinstance(sound, np.ndarray):
        import soundfile

        rate, samples = check_rate(rate_hz), mono_waveform(sound)
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
        return file.getvalue()
    return read_contents(sound, "sound")[0]


def no_embeddings(path: pathlib.Path) -> str:
    """The error message for an export without embeddings."""
    return (
        f"{path} must have the signature '{EMBED}' to return embeddings; it has none. "
        "Export the run again, or load the run."
    )


def _saved_model_metadata(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / SAVED_MODEL_METADATA
    if not path.is_file():
        raise ValueError(
            f"{path} must describe the SavedModel; it does not exist. Export the run "
            "again with this version."
        )
    with reading(path, "describe the SavedModel", EXPORT_AGAIN):
        return check_metadata(json.loads(path.read_text(encoding="utf-8")))
