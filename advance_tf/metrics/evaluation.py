"""What a set of predictions is worth: scores, intervals, tables."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf import labels
from advance_tf.metrics import bootstrap, scores

_SCENE_SCORES = ("precision", "recall", "f_score")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A score in [0, 1] and the ends of its interval, NaN where undefined."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class SceneRow:
    """One line of the table per scene.

    Attributes:
        scene: its name.
        precision: of the predictions of this scene.
        recall: of its samples. Its interval, like that of F, leaves out
            resamples without the scene.
        f_score: harmonic mean of both.
        support: samples of the scene.
        sites: places that they come from.
        predicted: samples taken for the scene.
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
    """Predictions of one split and all that is derived from them.

    Attributes:
        split: "training", "validation", "test" or "all".
        label: what every report must say of the figures, "" for nothing.
        stems: [n] names of the pairs.
        sites: [n] their places.
        true: [n] int64 scenes.
        predicted: [n] int64, the most probable scenes.
        scene_probs: [n, scenes] float32.
        event_probs: [n, 527] float32 or None.
        event_source: where the event probabilities come from, "" without.
        scenes: names, in the order of the columns.
        confusion: [scenes, scenes] counts, rows true.
        weighted: `precision`, `recall`, `f_score`, `accuracy`.
        per_scene: one row per scene.
        baseline_scene: the most frequent scene.
        baseline_f_score: weighted F of answering with it always.
        resamples: number of resamples behind the intervals.
        seed: of the resamples.
        level: probability inside the intervals.
        details: further facts for metrics.json, JSON values.
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


def evaluate_predictions(
    stems: Sequence[str],
    sites: Sequence[str],
    true,
    scene_probs,
    *,
    event_probs=None,
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
        stems: [n] names of the pairs.
        sites: [n] their places, the unit of resampling.
        true: [n] scenes, int in [0, scenes).
        scene_probs: [n, scenes] probabilities; each row sums to 1.
        event_probs: [n, 527] probabilities in [0, 1], or None.
        event_source: where the event probabilities come from.
        split: name of the split.
        label: what every report must say, such as "leaky: places shared between
            training and test".
        scenes: names of the columns; the scenes of ADVANCE by default.
        resamples: number of resamples.
        seed: of the resamples.
        level: probability inside the intervals.
        details: further facts for metrics.json, JSON values.

    Returns:
        The evaluation.

    Raises:
        ValueError: there is no sample, lengths differ, or the probabilities are
            none.
    """
    names = tuple(scenes or labels.scenes())
    scene_probs = _checked_probs("scene_probs", scene_probs, len(stems), len(names))
    sums = scene_probs.sum(axis=1, dtype=np.float64)
    if (np.abs(sums - 1) > 1e-3).any():
        raise ValueError(
            "Each row of scene_probs must sum to 1; received a sum of "
            f"{sums[np.abs(sums - 1).argmax()]:.4g}. Give probabilities, not logits."
        )
    if event_probs is not None:
        event_probs = _checked_probs(
            "event_probs", event_probs, len(stems), len(labels.events())
        )
    true = scores.check_classes("true", true, len(names))
    predicted = scene_probs.argmax(axis=1)
    confusion = scores.confusion_matrix(true, predicted, len(names))
    drawn = bootstrap.resampled_confusions(
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
        weighted=_weighted(confusion, drawn, level),
        per_scene=_per_scene(names, confusion, drawn, true, sites, level),
        baseline_scene=names[int(baseline.sum(axis=0).argmax())],
        baseline_f_score=float(scores.weighted_scores(baseline)["f_score"]),
        resamples=resamples,
        seed=seed,
        level=level,
        details=dict(details or {}),
    )


def _checked_probs(name, probs, samples: int, columns: int) -> np.ndarray:
    probs = np.asarray(probs, np.float32)
    if not samples or probs.shape != (samples, columns):
        raise ValueError(
            f"{name} must be [samples, {columns}] for the {samples} stems, at least "
            f"one; received {probs.shape}."
        )
    wrong = ~((probs >= 0) & (probs <= 1 + 1e-6))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{name} must be probabilities; received {probs[row, column]} in row "
            f"{row}, {int(wrong.any(axis=1).sum())} rows in all. Did the training "
            "diverge?"
        )
    return probs


def _weighted(confusion, drawn, level) -> dict[str, Estimate]:
    values = scores.weighted_scores(confusion)
    resampled = scores.weighted_scores(drawn)
    return {
        name: Estimate(
            float(values[name]), *map(float, bootstrap.interval(resampled[name], level))
        )
        for name in scores.WEIGHTED
    }


def _per_scene(names, confusion, drawn, true, sites, level) -> tuple[SceneRow, ...]:
    table = scores.scene_table(confusion)
    resampled = scores.scene_table(drawn)
    estimates = {}
    for score in _SCENE_SCORES:
        # Where nothing is there to be found, or nothing was claimed, the score
        # of a resample is not 0 but unknown.
        unit = resampled.predicted if score == "precision" else resampled.support
        known = np.where(unit > 0, getattr(resampled, score), np.nan)
        low, high = bootstrap.interval(known, level)
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
