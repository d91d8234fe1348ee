"""Evaluation of predictions: scores with intervals, overall and per scene."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf import labels
from advance_tf.metrics import bootstrap, scores
from advance_tf.metrics.probabilities import check_distributions, check_probs

_SCENE_SCORES = ("precision", "recall", "f_score")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A score in [0, 1] and the ends of its interval, NaN where undefined."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class SceneRow:
    """Scores of one scene.

    Attributes:
        scene: name of the scene.
        precision: precision of the predictions of this scene.
        recall: recall of its samples. Its interval, like that of F, excludes
            resamples without the scene.
        f_score: harmonic mean of precision and recall.
        support: number of samples of the scene.
        sites: number of sites of these samples.
        predicted: number of samples predicted as the scene.
    """

    scene: str
    precision: Estimate
    recall: Estimate
    f_score: Estimate
    support: int
    sites: int
    predicted: int


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions of one split and the scores derived from them.

    Attributes:
        split: "training", "validation", "test" or "all".
        label: notice that every report of these scores shows, "" for none.
        stems: names of the pairs, [n].
        sites: sites of the pairs, [n].
        true: true scenes, int64 [n].
        predicted: the most probable scenes, int64 [n].
        scene_probs: float32 [n, scenes].
        event_probs: float32 [n, 527], or None.
        event_source: origin of the event probabilities, "" without them.
        scenes: scene names, in the order of the columns.
        confusion: counts, int64 [scenes, scenes], rows true.
        weighted: `precision`, `recall`, `f_score`, `accuracy`.
        per_scene: one row per scene.
        baseline_scene: the most frequent scene.
        baseline_f_score: weighted F of always predicting it.
        resamples: number of resamples behind the intervals.
        seed: random seed of the resamples.
        level: probability inside the intervals.
        details: further entries of metrics.json, JSON values.
    """

    split: str
    label: str
    stems: tuple[str, ...]
    sites: tuple[str, ...]
    true: np.ndarray
    predicted: np.ndarray
    scene_probs: np.ndarray
    event_probs: np.ndarray | None
    event_source: str
    scenes: tuple[str, ...]
    confusion: np.ndarray
    weighted: Mapping[str, Estimate]
    per_scene: tuple[SceneRow, ...]
    baseline_scene: str
    baseline_f_score: float
    resamples: int
    seed: int
    level: float
    details: Mapping[str, object]

    @property
    def weighted_f(self) -> float:
        """Weighted F over the scenes, in [0, 1]."""
        return self.weighted["f_score"].value


def evaluate_predictions(
    stems: Sequence[str],
    sites: Sequence[str],
    true: ArrayLike,
    scene_probs: ArrayLike,
    *,
    event_probs: ArrayLike | None = None,
    event_source: str = "",
    split: str = "test",
    label: str = "",
    scenes: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    details: Mapping[str, object] | None = None,
) -> Evaluation:
    """Scores predictions, with intervals by bootstrap over sites.

    Args:
        stems: names of the pairs, [n].
        sites: sites of the pairs, the unit of resampling, [n].
        true: true scenes, int [n] in [0, scenes).
        scene_probs: float [n, scenes]; each row sums to 1.
        event_probs: float [n, 527] in [0, 1], or None.
        event_source: origin of the event probabilities.
        split: name of the split.
        label: notice that every report shows, such as "leaky: places shared
            between training and test".
        scenes: names of the columns; the scenes of ADVANCE by default.
        resamples: number of resamples.
        seed: random seed of the resamples.
        level: probability inside the intervals.
        details: further entries of metrics.json, JSON values.

    Returns:
        The evaluation.

    Raises:
        ValueError: there is no sample, the lengths differ, or the rows are not
            probabilities.

    Example:
        >>> evaluation = evaluate_predictions(
        ...     stems=["00001", "00002", "00003"],
        ...     sites=["00001", "00002", "00003"],
        ...     true=[0, 1, 1],
        ...     scene_probs=[[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]],
        ...     scenes=("beach", "forest"),
        ... )
        >>> round(evaluation.weighted_f, 3), evaluation.confusion.tolist()
        (0.667, [[1, 0], [1, 1]])
    """
    names = tuple(scenes or labels.scenes())
    scene_probs = check_probs("scene_probs", scene_probs, len(stems), len(names))
    check_distributions("scene_probs", scene_probs)
    if event_probs is not None:
        event_probs = check_probs(
            "event_probs", event_probs, len(stems), len(labels.events())
        )
    true = scores.check_classes("true", true, len(names))
    predicted = scene_probs.argmax(axis=1)
    confusion = scores.confusion_matrix(true, predicted, len(names))
    resampled = bootstrap.resampled_confusions(
        true, predicted, sites, classes=len(names), samples=resamples, seed=seed
    )
    baseline = scores.majority_confusion(confusion)
    return Evaluation(
        split=split,
        label=label,
        stems=tuple(stems),
        sites=tuple(sites),
        true=true,
        predicted=predicted,
        scene_probs=scene_probs,
        event_probs=event_probs,
        event_source=event_source if event_probs is not None else "",
        scenes=names,
        confusion=confusion,
        weighted=_weighted_estimates(confusion, resampled, level),
        per_scene=_scene_rows(names, confusion, resampled, true, sites, level),
        baseline_scene=names[int(baseline.sum(axis=0).argmax())],
        baseline_f_score=float(scores.weighted_scores(baseline)["f_score"]),
        resamples=resamples,
        seed=seed,
        level=level,
        details=dict(details or {}),
    )


def _weighted_estimates(
    confusion: np.ndarray, resampled: np.ndarray, level: float
) -> dict[str, Estimate]:
    """Weighted scores with their intervals.

    Args:
        confusion: counts [c, c].
        resampled: counts [resamples, c, c].
        level: probability inside the intervals.

    Returns:
        Name of the score → estimate.
    """
    values = scores.weighted_scores(confusion)
    samples = scores.weighted_scores(resampled)
    return {
        name: Estimate(
            float(values[name]), *map(float, bootstrap.interval(samples[name], level))
        )
        for name in scores.WEIGHTED
    }


def _scene_rows(
    names: Sequence[str],
    confusion: np.ndarray,
    resampled: np.ndarray,
    true: np.ndarray,
    sites: Sequence[str],
    level: float,
) -> tuple[SceneRow, ...]:
    """Scores of each scene with their intervals.

    Args:
        names: scenes, [c].
        confusion: counts [c, c].
        resampled: counts [resamples, c, c].
        true: true scenes, int [n].
        sites: sites of the samples, [n].
        level: probability inside the intervals.

    Returns:
        One row per scene.
    """
    table = scores.scene_table(confusion)
    samples = scores.scene_table(resampled)
    estimates = {}
    for score in _SCENE_SCORES:
        # A resample without samples of the scene, or without predictions of it for
        # precision, leaves the score undefined rather than 0.
        counts = samples.predicted if score == "precision" else samples.support
        defined = np.where(counts > 0, getattr(samples, score), np.nan)
        low, high = bootstrap.interval(defined, level)
        estimates[score] = [
            Estimate(*map(float, ends))
            for ends in zip(getattr(table, score), low, high, strict=True)
        ]
    site_names = np.asarray(sites)
    return tuple(
        SceneRow(
            scene,
            estimates["precision"][k],
            estimates["recall"][k],
            estimates["f_score"][k],
            support=int(table.support[k]),
            sites=len(np.unique(site_names[true == k])),
            predicted=int(table.predicted[k]),
        )
        for k, scene in enumerate(names)
    )
