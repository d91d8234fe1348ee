"""One answer and its reasons: activation maps, and the events of the answered scene."""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.features.frontend import Frontend
from advance_tf.features.sources import ImageSource, SoundSource
from advance_tf.inference.backends import RunModel
from advance_tf.inference.events import TeacherEvents
from advance_tf.inference.examples import Example
from advance_tf.inference.formats import RUN, find_model
from advance_tf.inference.loading import load_model
from advance_tf.inference.model import KINDS
from advance_tf.inference.prediction import Prediction, rank
from advance_tf.models.heads import dense_layers
from advance_tf.reporting import overlay
from advance_tf.reporting.activation_maps import (
    ActivationMaps,
    display_frontend,
    map_centres,
)
from advance_tf.runs.workdir import Run, as_run

MAX_MEGABYTES = 200.0
# Height and width of a log-mel in pixels.
_LOG_MEL_SHAPE = (160, 320)
# Events with the largest p(e|x), and with the largest p(e|s).
_LARGEST = 5
_OF_THE_RUN = "load the run that it was exported from"
_NO_FEATURES = f"An exported model has no activation maps: {_OF_THE_RUN}."
_NO_POSTERIORS = f"This exported model has no posteriors p(e|s): {_OF_THE_RUN}."
_NO_KNOWLEDGE = (
    "The run has no event knowledge and therefore no posteriors p(e|s): compute it "
    "with `advance teach`."
)
_NO_FEATURE_MAP = (
    "The network of the {} has no feature map, and therefore no activation map."
)
_NEEDS_BOTH = (
    "With a hidden layer before the scene head, the maps of this model need the image "
    "and the sound."
)


@dataclasses.dataclass(frozen=True)
class ComparedEvent:
    """The probability of one event for the input and for the answered scene.

    Attributes:
        name: name of the event.
        input_prob: p(e|x) of the model, in [0, 1]; None where it predicts no events.
        scene_prob: posterior p(e|s) of the answered scene, in [0, 1].
        mean_prob: mean of p(e|s_k) over the 13 scenes, in [0, 1]. An event with a
            larger p(e|s) is characteristic of the scene.
    """

    name: str
    input_prob: float | None
    scene_prob: float
    mean_prob: float


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedAnswer:
    """An answer with its reasons.

    Attributes:
        prediction: what `Model.predict` returns.
        image_map: uint8 [320, 320, 3], M_v of the most probable scene over the image:
            red raises its logit, blue lowers it. None without a map.
        log_mel_map: uint8 [160, 320, 3], M_a over the log-mel, on the same scale.
        no_maps: why a map of a given input is missing, "" if none is.
        events: events with the largest p(e|x), then others with the largest p(e|s).
        no_events: why there are none, "" otherwise.
    """

    prediction: Prediction
    image_map: np.ndarray | None = None
    log_mel_map: np.ndarray | None = None
    no_maps: str = ""
    events: tuple[ComparedEvent, ...] = ()
    no_events: str = ""


class AnswerExplainer:
    """A model with what explains its answers.

    Args:
        path: a run, or the path of any model that `load_model` opens. Runs have
            activation maps, and posteriors where they have event knowledge; ONNX files
            without an event head have posteriors.
        min_confidence: as for `load_model`.
        max_megabytes: largest file to read, in units of 10⁶ bytes. Images have a limit
            of pixels too, `max_image_pixels` of the model.

    Attributes:
        model: the model of `load_model`.
        max_bytes: largest file to read.

    Raises:
        ValueError: the path is no model, a file of it is damaged, or a parameter is
            out of range.

    Example:
        >>> explainer = AnswerExplainer("runs/event")  # doctest: +SKIP
        >>> answer = explainer.explain("a.jpg", "a.wav")  # doctest: +SKIP
        >>> answer.prediction.scene, answer.events[0]  # doctest: +SKIP
    """

    def __init__(
        self,
        path: Run | str | pathlib.Path,
        *,
        min_confidence: float | None = None,
        max_megabytes: float = MAX_MEGABYTES,
    ) -> None:
        if not max_megabytes > 0:
            raise ValueError(
                f"max_megabytes must be above 0; received {max_megabytes}."
            )
        self.max_bytes = round(1e6 * max_megabytes)
        is_run = isinstance(path, Run) or find_model(path)[0] == RUN
        run = as_run(path) if is_run else None
        self.model = load_model(run or path, min_confidence=min_confidence)
        self._maps: ActivationMaps | None = None
        self._config = run.config if run else None
        self._maps_need_both = False
        if run is not None:
            self._maps = ActivationMaps(
                run.recognizer, run.config.model.modality, partial=True
            )
            hidden = len(dense_layers(run.recognizer, "scene_logits")) > 1
            self._maps_need_both = hidden and self.model.takes_mask
        self._knowledge = _posteriors_of(self.model)
        self._no_posteriors = _NO_KNOWLEDGE if is_run else _NO_POSTERIORS

    def explain(
        self,
        image: ImageSource | None = None,
        sound: SoundSource | None = None,
        *,
        name: str | None = None,
    ) -> ExplainedAnswer:
        """Predicts one place as `Model.predict` does, and explains the answer.

        Args:
            image: as for `Model.predict`.
            sound: as for `Model.predict`.
            name: name of the example; by default the stem of its path.

        Returns:
            The prediction with its reasons; the prediction alone, whose `status`
            states why, if a file cannot be read.

        Raises:
            ValueError: neither image nor sound is given.
        """
        for kind, source in (("image", image), ("sound", sound)):
            size = _bytes_of(source)
            if size > self.max_bytes:
                problem = (
                    f"The {kind} {_shown(source)} must have at most "
                    f"{self.max_bytes / 1e6:g} MB; received {size / 1e6:.1f} MB. Cut "
                    "it, or raise `max_megabytes`."
                )
                return ExplainedAnswer(Prediction(name or kind, status=problem))
        prediction = self.model.predict(image=image, sound=sound, name=name)
        if not prediction.ok:
            return ExplainedAnswer(prediction)
        scene = labels.scenes().index(prediction.scenes[0][0])
        example = Example(prediction.name, image, sound)
        image_map, log_mel_map, no_maps = self._draw_maps(example, scene)
        events: tuple[ComparedEvent, ...] = ()
        if self._knowledge is not None:
            events = compare_events(prediction, self._knowledge, scene)
        return ExplainedAnswer(
            prediction,
            image_map,
            log_mel_map,
            no_maps,
            events,
            "" if events else self._no_posteriors,
        )

    def _draw_maps(
        self, example: Example, scene: int
    ) -> tuple[np.ndarray | None, np.ndarray | None, str]:
        """The maps of the given inputs, and why one is missing."""
        given = {
            kind: getattr(example, kind) is not None and self.model.uses(kind)
            for kind in KINDS
        }
        if (
            self._maps is None
            or self._config is None
            or not isinstance(self.model, RunModel)
        ):
            return None, None, _NO_FEATURES
        if self._maps_need_both and not all(given.values()):
            return None, None, _NEEDS_BOTH
        inputs = self.model.model_inputs(example)
        maps = self._maps(inputs, np.array([scene]))
        own = {"image": maps.image, "sound": maps.log_mel}
        # Without the batch axis: [h, w] and [t, f].
        shown = {k: m[0] for k, m in own.items() if given[k] and m is not None}
        scale = overlay.common_scale(shown.values())
        centres = map_centres(self._config, maps)
        image_map = log_mel_map = None
        if "image" in shown and example.image is not None:
            features = self._config.features
            display = display_frontend(max_image_pixels=features.max_image_pixels)
            image_map = overlay.image_overlay(
                display.read_image(example.image),
                shown["image"],
                features.image_size,
                scale,
                centres["image"],
            )
        if "sound" in shown:
            decibel = _log_mel_db(self.model.predictor.frontend, inputs)
            log_mel_map = overlay.log_mel_overlay(
                decibel, shown["sound"], _LOG_MEL_SHAPE, scale, centres["log_mel"]
            )
        missing = [
            _NO_FEATURE_MAP.format(k) for k in KINDS if given[k] and k not in shown
        ]
        return image_map, log_mel_map, " ".join(missing)


def _log_mel_db(frontend: Frontend, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The log-mel of a sound in dB, [frames, mel_bins]."""
    if frontend.sound_input == "waveform":
        # The background of the map of a network with its own spectrogram.
        return np.asarray(frontend.log_mel_db(tf.constant(inputs["waveform"][0])))
    return frontend.denormalize(inputs["log_mel"][0])


def compare_events(
    prediction: Prediction, knowledge: TeacherEvents, scene: int
) -> tuple[ComparedEvent, ...]:
    """Compares the events of an input with those of a scene.

    Args:
        prediction: prediction of the input.
        knowledge: posteriors and event mask of the teacher.
        scene: index of the scene.

    Returns:
        The five covered events with the largest p(e|x), then those of the five with
        the largest p(e|s) that are not among them.
    """
    names = [event.name for event in labels.events()]
    posteriors = np.asarray(knowledge.posteriors, np.float64)  # [13, 527]
    mask = np.asarray(knowledge.event_mask, bool)
    of_scene = rank(names, posteriors[scene], mask)
    mean = dict(rank(names, posteriors.mean(axis=0), mask))
    in_scene, in_input = dict(of_scene), prediction.event_probs
    largest = [name for name, _ in prediction.events[:_LARGEST] if name in in_scene]
    largest += [name for name, _ in of_scene[:_LARGEST] if name not in largest]
    return tuple(
        ComparedEvent(name, in_input.get(name), in_scene[name], mean[name])
        for name in largest
    )


def _posteriors_of(model: object) -> TeacherEvents | None:
    """The knowledge of a model with posteriors, which some exports lack."""
    if not isinstance(model, RunModel):
        return None
    knowledge = model.predictor.knowledge
    shape = (len(labels.scenes()), len(labels.events()))
    if knowledge is None or np.shape(knowledge.posteriors) != shape:
        return None
    return knowledge


def _bytes_of(source: ImageSource | SoundSource | None) -> int:
    """Size of a file; 0 for an array and for a file that does not exist."""
    if isinstance(source, bytes):
        return len(source)
    if isinstance(source, str | pathlib.Path) and pathlib.Path(source).is_file():
        return pathlib.Path(source).stat().st_size
    return 0


def _shown(source: object) -> str:
    return "(bytes)" if isinstance(source, bytes) else str(source)
