"""How well a run rejects wrong answers and inputs of no scene."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from advance_tf.data.pairing import IMAGE_ENDINGS
from advance_tf.data.shards import media_path
from advance_tf.extras import requires_extra
from advance_tf.files import visible_files
from advance_tf.inference.backends import Measured, RunModel
from advance_tf.inference.examples import Example
from advance_tf.inference.predictor import Predictor
from advance_tf.metrics.calibration import with_temperature
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.metrics.rejection import RiskCoverage, rejection_auroc, risk_coverage
from advance_tf.reporting.canvas import INK, add_title, new_figure, style_axes
from advance_tf.runs.workdir import Run, as_run

with requires_extra("report"):
    from matplotlib.figure import Figure

_RATE_HZ = 16_000
_COUNT = 50


@dataclasses.dataclass(frozen=True)
class RejectionRow:
    """Rejection of one kind of input.

    Attributes:
        inputs: "image" or "sound", the only input of each example.
        name: what the examples are.
        count: number of examples.
        auroc_confidence: AUROC of 1 − confidence against the evaluated pairs; NaN in
            the row of these pairs.
        auroc_distance: the same of the distance of the embedding; NaN without one.
        unknown: share of the examples that are answered "unknown".
    """

    inputs: str
    name: str
    count: int
    auroc_confidence: float
    auroc_distance: float
    unknown: float


def evaluation_curve(run: Run, evaluation: Evaluation) -> RiskCoverage:
    """The risk–coverage curve of an evaluation, at the temperature of the run.

    Args:
        run: a loaded run.
        evaluation: evaluation of the run.

    Returns:
        The curve of the answers from all inputs that the run uses.
    """
    probs = evaluation.scene_probs
    if run.calibration is not None:
        probs = with_temperature(probs, run.calibration.temperatures["both"])
    return risk_coverage(probs.max(axis=1), evaluation.predicted == evaluation.true)


def foreign_images(
    folder: str | pathlib.Path, side: int
) -> Mapping[str, list[Example]]:
    """Images of no scene: those of a folder, uniform noise, and a black one.

    Args:
        folder: folder of images, at any depth.
        side: side of the noise images in pixels.

    Returns:
        Name → examples of an image alone.

    Raises:
        ValueError: the folder holds no image.
    """
    paths = sorted(
        path
        for path, _ in visible_files(folder)
        if os.path.splitext(path)[1].lower() in IMAGE_ENDINGS
    )
    if not paths:
        raise ValueError(
            f"outside_dir must hold images ({', '.join(IMAGE_ENDINGS)}); received "
            f"{folder}, which holds none. Give another folder."
        )
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (_COUNT, side, side, 3), np.uint8)
    return {
        "images of other classes": [Example(path, image=path) for path in paths],
        "noise": [Example(str(k), image=image) for k, image in enumerate(noise)],
        "black": [Example("black", image=np.zeros((side, side, 3), np.uint8))],
    }


def foreign_sounds() -> Mapping[str, list[Example]]:
    """Sounds of no scene: white noise of several levels, and silence.

    Returns:
        Name → examples of a sound alone, of ten seconds.
    """
    rng = np.random.default_rng(0)
    levels = np.geomspace(0.003, 0.3, _COUNT)
    clips = [rng.normal(0, level, 10 * _RATE_HZ) for level in levels]
    noise = [np.clip(clip, -1, 1).astype(np.float32) for clip in clips]
    silence = np.zeros(10 * _RATE_HZ, np.float32)
    return {
        "noise": [Example(str(k), sound=(c, _RATE_HZ)) for k, c in enumerate(noise)],
        "silence": [Example("silence", sound=(silence, _RATE_HZ))],
    }


def measure_rejection(
    run: Run | str | pathlib.Path, split: str, outside_dir: str | pathlib.Path
) -> list[RejectionRow]:
    """Compares the pairs of a split with inputs of no scene, by one input alone.

    Args:
        run: a loaded run with a calibration, or its folder.
        split: "training", "validation", "test" or "all".
        outside_dir: folder of images of no scene.

    Returns:
        For each input in use a row of the split, then one for each foreign kind.

    Raises:
        ValueError: the split has no pair, a file cannot be read, or the folder holds
            no image.
    """
    run = as_run(run)
    model = RunModel(Predictor.from_run(run))
    pairs, data_dir = run.pairs_of(split), run.data_dir
    own = {
        "image": [
            Example(pair.stem, image=media_path(data_dir, pair.image)) for pair in pairs
        ],
        "sound": [
            Example(pair.stem, sound=media_path(data_dir, pair.sound)) for pair in pairs
        ],
    }
    foreign: Mapping[str, Mapping[str, list[Example]]] = {
        "image": foreign_images(outside_dir, run.config.features.image_size),
        "sound": foreign_sounds(),
    }
    rows = []
    for kind, examples in own.items():
        if not model.uses(kind):
            continue
        inside = model.measure(examples)
        rows.append(_row(kind, f"pairs of {split}", inside, None))
        rows += [
            _row(kind, name, model.measure(others), inside)
            for name, others in foreign[kind].items()
        ]
    return rows


def _row(
    kind: str, name: str, found: Measured, inside: Measured | None
) -> RejectionRow:
    confidence = distance = float("nan")
    if inside is not None:
        confidence = rejection_auroc(1 - inside.confidence, 1 - found.confidence)
        if kind in found.distances:
            distance = rejection_auroc(inside.distances[kind], found.distances[kind])
    unknown = float((found.flags > 0).any(axis=1).mean())
    count = len(found.confidence)
    return RejectionRow(kind, name, count, confidence, distance, unknown)


def markdown(rows: Iterable[RejectionRow]) -> str:
    """The rows as a Markdown table, in percent.

    >>> row = RejectionRow("image", "noise", 50, 0.875, 0.99, 1.0)
    >>> print(markdown([row]).splitlines()[-1])
    | image | noise | 50 | 87.5 | 99.0 | 100.0 |
    """
    lines = [
        "| input | examples | number | AUROC of confidence | AUROC of distance | "
        "unknown |",
        "| :-- | :-- | --: | --: | --: | --: |",
    ]
    for row in rows:
        values = (row.auroc_confidence, row.auroc_distance, row.unknown)
        cells = ["–" if np.isnan(v) else f"{100 * v:.1f}" for v in values]
        lines.append(
            f"| {row.inputs} | {row.name} | {row.count} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def risk_coverage_figure(
    curve: RiskCoverage, *, title: str = "", label: str = ""
) -> Figure:
    """Draws the share of wrong answers by the share of answers.

    Args:
        curve: risk–coverage curve.
        title: title above the diagram.
        label: notice about the data, written above the title; "" for none.

    Returns:
        A figure for `canvas.png`.

    >>> len(risk_coverage_figure(risk_coverage([0.9, 0.8], [True, False])).axes)
    1
    """
    figure = new_figure(6.4, 4.4)
    axes = figure.add_subplot()
    axes.plot(100 * curve.coverage, 100 * curve.risk, color="#1f5fa8", linewidth=2)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, max(5.0, 110 * float(curve.risk.max())))
    axes.set_xlabel("answered, most confident first, %", fontsize=10, color=INK)
    axes.set_ylabel("wrong among them, %", fontsize=10, color=INK)
    style_axes(axes)
    add_title(figure, title, label)
    return figure


def curve_points(
    curve: RiskCoverage, coverages: Sequence[float] = (0.5, 0.7, 0.8, 0.9, 1.0)
) -> list[tuple[float, float]]:
    """Points of the curve for a table: coverage and risk, in [0, 1]."""
    return [(coverage, curve.risk_at(coverage)) for coverage in coverages]
