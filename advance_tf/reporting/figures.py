"""The figures of the paper and the calibration of a trained run."""

import dataclasses
import json
import math
import pathlib

import numpy as np

from advance_tf.data.coordinates import place_sites, read_coordinates
from advance_tf.data.layout import join_labels, read_notice
from advance_tf.data.manifest import Manifest
from advance_tf.data.places import read_places
from advance_tf.files import replacing
from advance_tf.inference.evaluation import run_names
from advance_tf.metrics.calibration import Calibration, Reliability
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.reporting import event_embedding, plots
from advance_tf.reporting.calibration import (
    VALIDATION,
    calibrate_run,
    reliability_figure,
)
from advance_tf.reporting.canvas import png
from advance_tf.reporting.dataset_figures import (
    pairs_per_scene_figure,
    world_map_figure,
)
from advance_tf.reporting.event_embedding import (
    CONFIG,
    METADATA,
    TENSORS,
    write_projector,
)
from advance_tf.runs.workdir import Run, as_run

CALIBRATION = "calibration.json"
RELIABILITY = "reliability.png"
TSNE = "tsne.png"
WORLD_MAP = "world_map.png"
PROJECTOR = "projector"
# Files that depend on the weights: those of an earlier call are removed.
_WEIGHT_DEPENDENT = (
    CALIBRATION,
    RELIABILITY,
    TSNE,
    *(f"{PROJECTOR}/{name}" for name in (CONFIG, METADATA, TENSORS)),
)


@dataclasses.dataclass(frozen=True)
class Figures:
    """Figures of a run as files.

    Attributes:
        files: file name → contents.
        remarks: for each figure that is left out, the reason.
    """

    files: dict[str, bytes]
    remarks: tuple[str, ...]

    def write(self, output_dir: str | pathlib.Path) -> None:
        """Writes the files and removes outdated files of an earlier call.

        Args:
            output_dir: folder to write, created if it does not exist.
        """
        output_dir = pathlib.Path(output_dir)
        for name in set(_WEIGHT_DEPENDENT) - self.files.keys():
            (output_dir / name).unlink(missing_ok=True)
        for name, contents in self.files.items():
            with replacing(output_dir / name) as temporary:
                temporary.write_bytes(contents)


def draw_figures(
    run: Run | str | pathlib.Path,
    evaluation: Evaluation,
    *,
    coordinates: str | pathlib.Path | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Figures:
    """Draws the figures of a run for which data are available.

    Args:
        run: a loaded run with a manifest, or its folder.
        evaluation: evaluation of the run on any split.
        coordinates: CSV file of the sites, for the world map; None for sites.csv of
            the data set.
        batch_size: pairs in a batch; by default as in training.
        seed: seed of the t-SNE.

    Returns:
        pairs_per_scene.png, confusion.png and, where their data are available,
        reliability.png with calibration.json, tsne.png and world_map.png.

    Raises:
        ValueError: the run has no manifest, a file cannot be read, or the
            coordinates are of other sites.
    """
    run = as_run(run)
    name = run_names([run.workdir])[0]
    data_label = join_labels(run.label, read_notice(run.data_dir))
    # The map comes first: a file of coordinates that is not valid fails at once.
    map_files, map_remark = _world_map(run, data_label, coordinates)
    texts = {
        "title": f"{name}, {evaluation.split}",
        "label": evaluation.label,
    }
    pairs = pairs_per_scene_figure(
        _manifest(run),
        title=f"Pairs of {name}",
        label=data_label,
    )
    confusion = plots.confusion_figure(evaluation.confusion, evaluation.scenes, **texts)
    files = {"pairs_per_scene.png": png(pairs), "confusion.png": png(confusion)}
    calibration_files, calibration_remark = _reliability(
        run, evaluation, batch_size, texts["title"]
    )
    tsne_files, tsne_remark = _tsne(evaluation, seed, **texts)
    remarks = (calibration_remark, tsne_remark, map_remark)
    return Figures(
        files | calibration_files | tsne_files | map_files,
        tuple(filter(None, remarks)),
    )


def write_events(folder: str | pathlib.Path, evaluation: Evaluation) -> str:
    """Writes the predicted events for TensorBoard's projector.

    Args:
        folder: folder to write, created if it does not exist.
        evaluation: evaluation of a run.

    Returns:
        How to view the files, or why they are not written.
    """
    folder = pathlib.Path(folder)
    if evaluation.event_probs is None:
        return f"No {folder.name}: the model predicts no events."
    names = np.array(evaluation.scenes)
    metadata = {
        "stem": evaluation.stems,
        "scene": names[evaluation.true].tolist(),
        "predicted": names[evaluation.predicted].tolist(),
        "site": evaluation.sites,
    }
    write_projector(folder, evaluation.event_probs, metadata, label=evaluation.label)
    return f"View the events with `tensorboard --logdir={folder}`."


def _manifest(run: Run) -> Manifest:
    if run.manifest is None:
        # Raises the error of a run without a manifest.
        run.pairs_of("all")
    assert run.manifest is not None
    return run.manifest


def _reliability(
    run: Run, evaluation: Evaluation, batch_size: int | None, title: str
) -> tuple[dict[str, bytes], str]:
    run_calibration = calibrate_run(run, evaluation, batch_size=batch_size)
    calibration = run_calibration.calibration
    if calibration is None:
        return {}, f"No {RELIABILITY}: {run_calibration.reason}"
    label = join_labels(run_calibration.remark, evaluation.label)
    figure = reliability_figure(calibration, title=title, label=label)
    values = {
        "label": label,
        "split": evaluation.split,
        "pairs": len(evaluation.stems),
        "fitted_on": {"split": VALIDATION, "pairs": run_calibration.pairs},
        **_calibration_values(calibration),
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
    """Converts a reliability to JSON values, null where a bin is empty."""

    def defined(values: np.ndarray) -> list[float | None]:
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
            f"No {TSNE}: the model predicts no events. It has no event head, and its "
            "run has no event knowledge. Compute it with `advance teach`."
        )
    try:
        points = event_embedding.embed(evaluation.event_probs, seed)
    except ValueError as error:
        return {}, f"No {TSNE}: {error}"
    figure = event_embedding.embedding_figure(
        points,
        evaluation.true,
        evaluation.scenes,
        title=f"{title}: {evaluation.event_source}",
        label=label,
    )
    return {TSNE: png(figure)}, ""


def _own_places(run: Run) -> dict[str, tuple[float, float]]:
    """The coordinates of the sites in sites.csv of the data set, by site."""
    found: dict[str, tuple[float, float]] = {}
    for _, place in sorted(read_places(run.data_dir).items()):
        # As in `read_coordinates`, those of the first stem of a site.
        found.setdefault(place.site, (place.latitude, place.longitude))
    return found


def _world_map(
    run: Run, label: str, coordinates: str | pathlib.Path | None
) -> tuple[dict[str, bytes], str]:
    found = read_coordinates(coordinates) if coordinates else _own_places(run)
    if not found:
        return {}, (
            f"No {WORLD_MAP}: give `coordinates`, a CSV file with the columns site (or "
            "stem), latitude and longitude in degrees."
        )
    places = place_sites(_manifest(run).pairs, found)
    title = f"Sites of {run_names([run.workdir])[0]}"
    figure = world_map_figure(places, title=title, label=label)
    return {WORLD_MAP: png(figure)}, ""
