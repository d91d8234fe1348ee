"""The most confident mistakes of a run, with what speaks for and against them."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data.layout import Pair
from advance_tf.features.sound import waveform_from_bytes
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.studies.embedded import jpeg_uri, sound_uri
from advance_tf.studies.evidence import Evidence, find_evidence
from advance_tf.studies.looked import Looked, look, shown_image
from advance_tf.studies.taught import TaughtRun
from advance_tf.visualization import overlay

_SPECTROGRAM = (160, 320)
_SCENES_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class ScenePictures:
    """The maps of one scene; None for an input that is not used.

    Attributes:
        scene: its name.
        image: JPEG of M_v over the image.
        log_mel: JPEG of M_a over the log-mel.
    """

    scene: str
    image: str | None
    log_mel: str | None


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One pair that the model takes for another scene.

    Attributes:
        stem: of the pair.
        scene: its true scene.
        predicted: the most probable scene.
        ranking: names and probabilities of the first scenes, and the true one.
        image: JPEG of the image.
        log_mel: JPEG of the log-mel spectrogram.
        sound: the clip that the model was given.
        for_predicted: maps of the predicted scene.
        for_true: maps of the true scene.
        margins: part → its share of log p(predicted)/p(true), in nats; the
            parts are image, sound and bias, and add up to it.
        evidence: events heard by the teacher, None without knowledge.
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


def most_confident(evaluation: Evaluation, count: int) -> list[int]:
    """The wrong predictions of the largest probability, one of each site.

    The pairs of a site are shifted views of one place, and often one mistake.

    Args:
        evaluation: of a split.
        count: how many at most.

    Returns:
        Places in the evaluation, most confident first.
    """
    wrong = np.flatnonzero(evaluation.predicted != evaluation.true)
    confidence = evaluation.scene_probs[wrong, evaluation.predicted[wrong]]
    best: dict[str, int] = {}
    for place in wrong[np.argsort(-confidence, kind="stable")]:
        best.setdefault(evaluation.sites[place], int(place))
    return list(best.values())[:count]


def find_mistakes(
    taught: TaughtRun, evaluation: Evaluation, count: int
) -> list[Mistake]:
    """The most confident mistakes of an evaluated run.

    Args:
        taught: the run with its knowledge.
        evaluation: of it on one of its splits.
        count: how many at most.

    Returns:
        Most confident first; empty when nothing is wrong.

    Raises:
        ValueError: a file cannot be read.
    """
    places = most_confident(evaluation, count)
    if not places:
        return []
    run, data_dir, knowledge = taught.run, taught.data_dir, taught.knowledge
    every = run.pairs_of(evaluation.split)
    pairs = [every[place] for place in places]
    scenes = np.stack([evaluation.predicted[places], evaluation.true[places]], axis=1)
    looked = look(run, pairs, data_dir, scenes)
    return [
        _mistake(
            pair,
            data_dir,
            run.config.features,
            evaluation.scene_probs[places[row]],
            looked,
            row,
            find_evidence(knowledge, pair, int(scenes[row, 0])) if knowledge else None,
        )
        for row, pair in enumerate(pairs)
    ]


def _mistake(
    pair: Pair,
    data_dir: pathlib.Path,
    features: FeatureConfig,
    probs: np.ndarray,
    looked: Looked,
    row: int,
    evidence: Evidence | None,
) -> Mistake:
    names = labels.scenes()
    predicted, true = int(probs.argmax()), names.index(pair.scene)
    shown = [int(k) for k in np.argsort(-probs, kind="stable")[:_SCENES_SHOWN]]
    shown += [true] if true not in shown else []
    image = shown_image(data_dir / pair.image)
    path = str(data_dir / pair.sound)
    waveform = waveform_from_bytes(tf.io.read_file(path), features, name=path).numpy()
    decibel = looked.log_mel_db[row]
    drawn = _pictures(looked, row, image, features.image_size)
    return Mistake(
        stem=pair.stem,
        scene=pair.scene,
        predicted=names[predicted],
        ranking=tuple((names[k], float(probs[k])) for k in shown),
        image=jpeg_uri(image),
        log_mel=jpeg_uri(overlay.log_mel_picture(decibel, _SPECTROGRAM)),
        sound=sound_uri(waveform, features.sample_rate_hz),
        for_predicted=ScenePictures(names[predicted], *drawn[0]),
        for_true=ScenePictures(names[true], *drawn[1]),
        margins=looked.maps.margins(row, predicted, true),
        evidence=evidence,
    )


def _pictures(
    looked: Looked, row: int, image: np.ndarray, size: int
) -> list[tuple[str | None, str | None]]:
    """JPEGs of image and log-mel for each scene of a row, all on one scale."""
    maps, decibel = looked.maps, looked.log_mel_db[row]
    seen = None if maps.image is None else maps.image[row]
    heard = None if maps.log_mel is None else maps.log_mel[row]
    scale = overlay.largest([own for own in (seen, heard) if own is not None])
    return [
        (
            None
            if seen is None
            else jpeg_uri(overlay.image_overlay(image, seen[k], size, scale)),
            None
            if heard is None
            else jpeg_uri(
                overlay.log_mel_overlay(decibel, heard[k], _SPECTROGRAM, scale)
            ),
        )
        for k in (0, 1)
    ]
