"""The figures of the paper, and the calibration, of a trained run."""

import dataclasses
import json
import math
import pathlib

import numpy as np

from advance_tf.data.coordinates import place_sites, read_coordinates
from advance_tf.data.notice import read_notice
from advance_tf.files import replacing
from advance_tf.metrics.calibration import Calibration, Reliability
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.metrics.report import join_labels
from advance_tf.studies.calibrated import VALIDATION, calibrate_run
from advance_tf.studies.evaluated import run_names
from advance_tf.studies.taught import TaughtRun
from advance_tf.visualization import embedding, plots
from advance_tf.visualization.canvas import png
from advance_tf.visualization.pairs_per_scene import pairs_per_scene_figure
from advance_tf.visualization.projector import (
    CONFIG,
    METADATA,
    TENSORS,
    write_projector,
)
from advance_tf.visualization.reliability import reliability_figure
from advance_tf.visualization.world_map import world_map_figure

CALIBRATION = "calibration.json"
RELIABILITY = "reliability.png"
TSNE = "tsne.png"
WORLD_MAP = "world_map.png"
PROJECTOR = "projector"
# What an earlier call left of other weights must not pass for these.
_OF_THE_WEIGHTS = (
    CALIBRATION,
    RELIABILITY,
    TSNE,
    *(f"{PROJECTOR}/{name}" for name in (CONFIG, METADATA, TENSORS)),
)


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was drawn.

    Attributes:
        files: names of files by their contents.
        remarks: what was left out and why, a sentence each.
    """

    files: dict[str, bytes]
    remarks: tuple[str, ...]

    def write(self, output_dir: pathlib.Path) -> None:
        """Writes the files, and removes what an earlier call left beside them.

        Args:
            output_dir: made if need be.
        """
        for name in set(_OF_THE_WEIGHTS) - self.files.keys():
            (output_dir / name).unlink(missing_ok=True)
        for name, contents in self.files.items():
            with replacing(output_dir / name) as temporary:
                temporary.write_bytes(contents)


def draw_figures(
    taught: TaughtRun,
    evaluation: Evaluation,
    *,
    coordinates: str | pathlib.Path | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Figures:
    """Draws all that a run and its evaluation have the data for.

    Args:
        taught: a run with a manifest.
        evaluation: of it, on any split.
        coordinates: CSV file of the sites, for the world map.
        batch_size: pairs in a batch; by default as the run was trained.
        seed: of the t-SNE.

    Returns:
        pairs_per_scene.png, confusion.png and, where there is what they need,
        reliability.png with calibration.json, tsne.png and world_map.png.

    Raises:
        ValueError: the run has no manifest, a file cannot be read, or the
            coordinates are not of its sites.
    """
    run = taught.run
    name = run_names([run.workdir])[0]
    # Of the data set, whatever was trained on.
    of_data = join_labels(run.label, read_notice(taught.data_dir))
    # The map fails on a bad file: first, so that nobody waits for it.
    map_files, map_remark = _world_map(taught, of_data, coordinates)
    texts = {
        "title": f"{name}, {evaluation.split}",
        "label": evaluation.label,
    }
    pairs = pairs_per_scene_figure(
        _manifest(taught),
        title=f"Pairs of {name}",
        label=of_data,
    )
    confusion = plots.confusion_figure(evaluation.confusion, evaluation.scenes, **texts)
    files = {"pairs_per_scene.png": png(pairs), "confusion.png": png(confusion)}
    calibration_files, calibration_remark = _reliability(
        taught, evaluation, batch_size, texts["title"]
    )
    tsne_files, tsne_remark = _tsne(evaluation, seed, **texts)
    remarks = (calibration_remark, tsne_remark, map_remark)
    return Figures(
        files | calibration_files | tsne_files | map_files,
        tuple(filter(None, remarks)),
    )


def write_events(folder: pathlib.Path, evaluation: Evaluation) -> str:
    """Writes the predicted events for TensorBoard's projector.

    Args:
        folder: made if need be.
        evaluation: of a run.

    Returns:
        What was done, or why it was not.
    """
    if evaluation.event_probs is None:
        return f"No {folder.name}: the model tells no events."
    names = np.array(evaluation.scenes)
    metadata = {
        "stem": evaluation.stems,
        "scene": names[evaluation.true].tolist(),
        "predicted": names[evaluation.predicted].tolist(),
        "site": evaluation.sites,
    }
    write_projector(folder, evaluation.event_probs, metadata, label=evaluation.label)
    return f"Turn the events about with `tensorboard --logdir={folder}`."


def _manifest(taught: TaughtRun):
    # Refuses a run without a manifest, and says the way out.
    taught.run.pairs_of("all")
    return taught.run.manifest


def _reliability(
    taught: TaughtRun, evaluation: Evaluation, batch_size: int | None, title: str
) -> tuple[dict[str, bytes], str]:
    found = calibrate_run(taught, evaluation, batch_size=batch_size)
    if found.calibration is None:
        return {}, f"No {RELIABILITY}: {found.reason}"
    label = join_labels(found.remark, evaluation.label)
    figure = reliability_figure(
        found.calibration,
        title=title,
        label=label,
    )
    values = {
        "label": label,
        "split": evaluation.split,
        "pairs": len(evaluation.stems),
        "fitted_on": {"split": VALIDATION, "pairs": found.pairs},
        **_calibration_values(found.calibration),
    }
    text = json.dumps(values, indent=2, allow_nan=False)
    return {RELIABILITY: png(figure), CALIBRATION: f"{text}\n".encode()}, ""


def _calibration_values(calibration: Calibration) -> dict[str, object]:
    return {
        "temperature": calibration.temperature,
        "refusal": calibration.refusal,
        "before": _side(calibration.before, calibration.nll_before),
        "after": _side(calibration.after, calibration.nll_after),
    }


def _side(side: Reliability, nll: float) -> dict[str, object]:
    """JSON values; null where a bin is empty."""

    def defined(values) -> list[float | None]:
        return [None if math.isnan(value) else value for value in values.tolist()]

    return {
        "ece": side.ece,
        "nll": nll,
        "edges": side.edges.tolist(),
        "counts": side.counts.tolist(),
        "accuracy": defined(side.accuracy),
        "confidence": defined(side.confidence),
    }


def _tsne(
    evaluation: Evaluation, seed: int, title: str, label: str
) -> tuple[dict[str, bytes], str]:
    if evaluation.event_probs is None:
        return {}, (
            f"No {TSNE}: the model tells no events. It has no event head, and its "
            "run no event knowledge (`python -m advance_tf.teach` makes it)."
        )
    try:
        points = embedding.embed(evaluation.event_probs, seed)
    except ValueError as error:
        return {}, f"No {TSNE}: {error}"
    figure = embedding.embedding_figure(
        points,
        evaluation.true,
        evaluation.scenes,
        title=f"{title}: {evaluation.event_source}",
        label=label,
    )
    return {TSNE: png(figure)}, ""


def _world_map(
    taught: TaughtRun, label: str, coordinates: str | pathlib.Path | None
) -> tuple[dict[str, bytes], str]:
    if not coordinates:
        return {}, (
            f"No {WORLD_MAP}: give --coordinates=FILE, a CSV file with the columns "
            "site (or stem), latitude and longitude in degrees."
        )
    places = place_sites(_manifest(taught).pairs, read_coordinates(coordinates))
    title = f"Sites of {run_names([taught.run.workdir])[0]}"
    figure = world_map_figure(places, title=title, label=label)
    return {WORLD_MAP: png(figure)}, ""
