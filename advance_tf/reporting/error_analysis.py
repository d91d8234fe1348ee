"""The most confident errors of a run, with activation maps and teacher evidence."""

import dataclasses
import pathlib

import numpy as np
from numpy.typing import ArrayLike

from advance_tf import labels
from advance_tf.data.pairing import Pair
from advance_tf.data.shards import media_path
from advance_tf.features.frontend import Frontend
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.reporting import overlay
from advance_tf.reporting.activation_maps import (
    PairMaps,
    compute_maps,
    display_frontend,
    read_display_image,
)
from advance_tf.reporting.media import jpeg_uri, sound_uri
from advance_tf.runs.workdir import Run, as_run
from advance_tf.teacher.knowledge import EventKnowledge

# A posterior is a mean of σ > 0, which float32 may round to 0 or 1.
_EPSILON = 1e-7
# Height and width of a log-mel in pixels.
_LOG_MEL_SHAPE = (160, 320)
_RANKING_LENGTH = 5


@dataclasses.dataclass(frozen=True)
class EventEvidence:
    """The evidence of one event for one of two scenes.

    Attributes:
        name: name of the event.
        score: y(a), the teacher's probability for the sound, in [0, 1].
        true_posterior: p(e|s) of the true scene, in [0, 1].
        predicted_posterior: p(e|s) of the predicted scene, in [0, 1].
        weight: weight of evidence in nats, positive in favour of the predicted
            scene, negative in favour of the true scene.
    """

    name: str
    score: float
    true_posterior: float
    predicted_posterior: float
    weight: float


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The evidence of the events of one sound for and against a prediction.

    Attributes:
        highest_scored: events with the highest scores, highest first.
        strongest: other events with the largest absolute weights, largest first.
        total: sum of the weights of all events that the teacher covers, in nats.
    """

    highest_scored: tuple[EventEvidence, ...]
    strongest: tuple[EventEvidence, ...]
    total: float


def weights_of_evidence(
    soft_labels: ArrayLike, true_posteriors: ArrayLike, predicted_posteriors: ArrayLike
) -> np.ndarray:
    """Computes how much better the predicted scene matches the teacher's scores.

        w_i = C(y_i ‖ p(e_i|s_true)) − C(y_i ‖ p(e_i|s_predicted))
            = y_i log(q_i/p_i) + (1 − y_i) log((1 − q_i)/(1 − p_i))

    with C the binary divergence of Eq. 8, p and q the posteriors of the true and
    of the predicted scene. The weights describe the teacher, not what the model
    uses; activation maps describe the model.

    Args:
        soft_labels: y(a) [n] in (0, 1).
        true_posteriors: p(e|s) of the true scene [n].
        predicted_posteriors: p(e|s) of the predicted scene [n].

    Returns:
        float64 [n] in nats, positive in favour of the predicted scene.

    >>> weights_of_evidence([0.5, 1.0], [0.5, 0.2], [0.5, 0.4]).round(3)
    array([0.   , 0.693])
    """
    y = np.asarray(soft_labels, np.float64)
    p, q = (
        np.clip(np.asarray(posteriors, np.float64), _EPSILON, 1 - _EPSILON)
        for posteriors in (true_posteriors, predicted_posteriors)
    )
    return y * np.log(q / p) + (1 - y) * (np.log1p(-q) - np.log1p(-p))


def find_evidence(
    knowledge: EventKnowledge,
    pair: Pair,
    predicted: int,
    *,
    highest_scored: int = 5,
    strongest: int = 3,
) -> Evidence:
    """Finds the events of a pair in favour of its predicted and its true scene.

    Args:
        knowledge: event knowledge of the manifest of the pair.
        pair: a pair of the manifest.
        predicted: index of the predicted scene.
        highest_scored: number of events with the highest scores.
        strongest: number of other events with the largest absolute weights.

    Returns:
        Events that the teacher covers; others are left out.

    Raises:
        ValueError: the pair has no soft labels.
    """
    soft_labels = knowledge.targets_for([pair])["soft_labels"][0]  # [events]
    true = labels.scenes().index(pair.scene)
    in_true, in_predicted = knowledge.posteriors[[true, predicted]]  # [events] each
    covered = np.asarray(knowledge.event_mask, bool)
    weights = weights_of_evidence(soft_labels, in_true, in_predicted)
    weights = np.where(covered, weights, 0.0)

    def evidence(event: int) -> EventEvidence:
        return EventEvidence(
            name=labels.events()[event].name,
            score=float(soft_labels[event]),
            true_posterior=float(in_true[event]),
            predicted_posterior=float(in_predicted[event]),
            weight=float(weights[event]),
        )

    by_score = np.argsort(-np.where(covered, soft_labels, -1.0), kind="stable")
    highest = [event for event in by_score[:highest_scored] if covered[event]]
    by_weight = np.argsort(-np.abs(weights), kind="stable")
    others = [event for event in by_weight if covered[event] and event not in highest]
    return Evidence(
        tuple(map(evidence, highest)),
        tuple(map(evidence, others[:strongest])),
        float(weights.sum()),
    )


@dataclasses.dataclass(frozen=True)
class ScenePictures:
    """The maps of one scene; None for an input that the model does not use.

    Attributes:
        scene: its name.
        image: JPEG of M_v over the image, a data URI.
        log_mel: JPEG of M_a over the log-mel, a data URI.
    """

    scene: str
    image: str | None
    log_mel: str | None


@dataclasses.dataclass(frozen=True)
class Misclassification:
    """One pair for which the model predicts another scene than the true one.

    Attributes:
        stem: name of the pair.
        scene: its true scene.
        predicted: the most probable scene.
        ranking: names and probabilities of the most probable scenes, and of the
            true scene.
        image: JPEG of the image, a data URI.
        log_mel: JPEG of the log-mel spectrogram, a data URI.
        sound: the clip that is the input of the model, a data URI.
        for_predicted: maps of the predicted scene.
        for_true: maps of the true scene.
        margins: the parts image, sound and bias of log p(predicted)/p(true), in
            nats; they add up to it.
        evidence: events scored by the teacher, None without event knowledge.
    """

    stem: str
    scene: str
    predicted: str
    ranking: tuple[tuple[str, float], ...]
    image: str
    log_mel: str
    sound: str
    for_predicted: ScenePictures
    for_true: ScenePictures
    margins: dict[str, float]
    evidence: Evidence | None


def most_confident_errors(evaluation: Evaluation, count: int) -> list[int]:
    """Selects the wrong predictions of the largest probability, one for each site.

    The pairs of a site are shifted views of one place, and often share an error.

    Args:
        evaluation: evaluation of a split.
        count: the largest number of errors.

    Returns:
        Indices into the evaluation, most confident first.
    """
    wrong = np.flatnonzero(evaluation.predicted != evaluation.true)
    confidence = evaluation.scene_probs[wrong, evaluation.predicted[wrong]]
    best: dict[str, int] = {}
    for index in wrong[np.argsort(-confidence, kind="stable")]:
        best.setdefault(evaluation.sites[index], int(index))
    return list(best.values())[:count]


def find_misclassifications(
    run: Run | str | pathlib.Path, evaluation: Evaluation, count: int
) -> list[Misclassification]:
    """Explains the most confident errors of an evaluated run.

    Args:
        run: a loaded run, or its folder.
        evaluation: evaluation of the run on one of its splits.
        count: the largest number of errors.

    Returns:
        Most confident first; empty when every prediction is correct.

    Raises:
        ValueError: a file cannot be read.
    """
    indices = most_confident_errors(evaluation, count)
    if not indices:
        return []
    run = as_run(run)
    all_pairs = run.pairs_of(evaluation.split)
    pairs = [all_pairs[index] for index in indices]
    scenes = np.stack(
        [evaluation.predicted[indices], evaluation.true[indices]], axis=1
    )  # [n, 2]
    pair_maps = compute_maps(run, pairs, run.data_dir, scenes, partial=True)
    knowledge = run.knowledge
    frontend = Frontend(run.config.features, normalized=False)
    max_pixels = run.config.features.max_image_pixels
    display = display_frontend(max_image_pixels=max_pixels)
    return [
        _misclassification(
            pair,
            run.data_dir,
            frontend,
            read_display_image(display, media_path(run.data_dir, pair.image)),
            evaluation.scene_probs[indices[row]],
            pair_maps,
            row,
            find_evidence(knowledge, pair, int(scenes[row, 0])) if knowledge else None,
        )
        for row, pair in enumerate(pairs)
    ]


def _misclassification(
    pair: Pair,
    data_dir: pathlib.Path,
    frontend: Frontend,
    image: np.ndarray,
    probs: np.ndarray,
    pair_maps: PairMaps,
    row: int,
    evidence: Evidence | None,
) -> Misclassification:
    names = labels.scenes()
    predicted, true = int(probs.argmax()), names.index(pair.scene)
    ranked = [int(k) for k in np.argsort(-probs, kind="stable")[:_RANKING_LENGTH]]
    ranked += [true] if true not in ranked else []
    waveform = frontend.read_waveform(media_path(data_dir, pair.sound))
    features = frontend.features
    log_mel_db = pair_maps.log_mel_db[row]
    for_predicted, for_true = _overlays(pair_maps, row, image, features.image_size)
    return Misclassification(
        stem=pair.stem,
        scene=pair.scene,
        predicted=names[predicted],
        ranking=tuple((names[k], float(probs[k])) for k in ranked),
        image=jpeg_uri(image),
        log_mel=jpeg_uri(overlay.grey_log_mel(log_mel_db, _LOG_MEL_SHAPE)),
        sound=sound_uri(waveform, features.sample_rate_hz),
        for_predicted=ScenePictures(names[predicted], *for_predicted),
        for_true=ScenePictures(names[true], *for_true),
        margins=pair_maps.maps.margins(row, predicted, true),
        evidence=evidence,
    )


def _overlays(
    pair_maps: PairMaps, row: int, image: np.ndarray, size: int
) -> list[tuple[str | None, str | None]]:
    """JPEGs of image and log-mel for the two scenes of a row, all on one scale."""
    maps, log_mel_db = pair_maps.maps, pair_maps.log_mel_db[row]
    image_maps = None if maps.image is None else maps.image[row]  # [2, h, w]
    log_mel_maps = None if maps.log_mel is None else maps.log_mel[row]  # [2, t, f]
    scale = overlay.common_scale(
        [own for own in (image_maps, log_mel_maps) if own is not None]
    )
    centres = pair_maps.centres
    pictures: list[tuple[str | None, str | None]] = []
    for k in (0, 1):
        image_uri = log_mel_uri = None
        if image_maps is not None:
            image_uri = jpeg_uri(
                overlay.image_overlay(
                    image, image_maps[k], size, scale, centres["image"]
                )
            )
        if log_mel_maps is not None:
            log_mel_uri = jpeg_uri(
                overlay.log_mel_overlay(
                    log_mel_db,
                    log_mel_maps[k],
                    _LOG_MEL_SHAPE,
                    scale,
                    centres["log_mel"],
                )
            )
        pictures.append((image_uri, log_mel_uri))
    return pictures
