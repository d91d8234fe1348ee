"""The HTML report of a run: the values of its template, and the page."""

import dataclasses
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from advance_tf import config as config_module
from advance_tf.config import IMAGE_SETTINGS, Config, FeatureConfig
from advance_tf.files import replacing
from advance_tf.inference.evaluation import evaluate, run_names
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.metrics.tables import TITLES
from advance_tf.reporting import canvas, learning_curves
from advance_tf.reporting.calibration import calibrate_run, reliability_figure
from advance_tf.reporting.canvas import png
from advance_tf.reporting.dataset_pages import evaluation_map
from advance_tf.reporting.error_analysis import find_misclassifications
from advance_tf.reporting.map_page import environment
from advance_tf.reporting.media import data_uri
from advance_tf.reporting.plots import read_log
from advance_tf.reporting.rejection import (
    curve_points,
    evaluation_curve,
    measure_rejection,
    risk_coverage_figure,
)
from advance_tf.runs.workdir import Run, as_run, read_config
from advance_tf.training.callbacks import LOG
from advance_tf.training.runtime import versions

TEMPLATE = "report.html.j2"


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of the configuration.

    Attributes:
        name: name of the field and of its flag.
        value: value as text.
        default: default value as text.
        changed: whether the value differs from the default.
        help: description of the field.
    """

    name: str
    value: str
    default: str
    changed: bool
    help: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a confusion matrix.

    Attributes:
        count: number of pairs.
        share: share of the true scene's pairs, in [0, 1].
        right: whether the cell is on the diagonal.
    """

    count: int
    share: float
    right: bool


def settings(config: Config) -> dict[str, tuple[Setting, ...]]:
    """Lists every setting of a configuration by group.

    Args:
        config: configuration of a run.

    Returns:
        Group → its fields in their order.

    >>> [setting.changed for setting in settings(Config())["model"]].count(True)
    0
    """
    standard = Config()
    settings_of = {}
    for name in config_module.groups():
        group, default = getattr(config, name), getattr(standard, name)
        settings_of[name] = tuple(
            Setting(
                field.name,
                _text(getattr(group, field.name)),
                _text(getattr(default, field.name)),
                getattr(group, field.name) != getattr(default, field.name),
                field.metadata["help"],
            )
            for field in dataclasses.fields(group)
        )
    return settings_of


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value == "" else str(value)


def confusion_rows(
    evaluation: Evaluation,
) -> list[tuple[str, int, tuple[Cell, ...]]]:
    """Lists the rows of the confusion matrix.

    Args:
        evaluation: evaluation of a split.

    Returns:
        For each true scene its name, its number of pairs and its cells.
    """
    confusion = np.asarray(evaluation.confusion)
    support = confusion.sum(axis=1)
    return [
        (
            scene,
            int(support[row]),
            tuple(
                Cell(int(count), float(count / max(support[row], 1)), row == column)
                for column, count in enumerate(confusion[row])
            ),
        )
        for row, scene in enumerate(evaluation.scenes)
    ]


def version_rows(
    trained: Mapping[str, str], now: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Lists the versions of packages in training and in reporting.

    Args:
        trained: package → version in training, from config.json.
        now: package → version installed on this machine.

    Returns:
        Package and both versions, sorted by package; "–" for an unknown version.

    >>> version_rows({"keras": "3.12"}, {"keras": "3.13", "numpy": "2.3"})
    [('keras', '3.12', '3.13'), ('numpy', '–', '2.3')]
    """
    names = sorted({*trained, *now})
    return [(name, trained.get(name, "–"), now.get(name, "–")) for name in names]


def page_values(
    run: Run | str | pathlib.Path,
    evaluation: Evaluation,
    *,
    mistakes: int = 6,
    command: str = "",
    outside_dir: str | pathlib.Path | None = None,
) -> dict[str, Any]:
    """Computes the values that the template shows, without markup.

    Args:
        run: a loaded run, or its folder.
        evaluation: evaluation of the run on a split.
        mistakes: number of the most confident errors to show.
        command: the command that writes the page, "" for none.
        outside_dir: folder of images of no scene; the page shows how well they are
            rejected. None for none.

    Returns:
        Name → value for `report.html.j2`.

    Raises:
        ValueError: a file of the data set or of the run cannot be read.
    """
    run = as_run(run)
    _, stored = read_config(run.workdir)
    run_calibration = calibrate_run(run, evaluation)
    calibration = run_calibration.calibration
    curve = evaluation_curve(run, evaluation)
    log_path = run.workdir / LOG
    log = read_log(log_path) if log_path.exists() else {}
    return {
        "name": run_names([run.workdir])[0],
        "evaluation": evaluation,
        "sites": len(set(evaluation.sites)),
        "titles": TITLES,
        "groups": settings(run.config),
        "config": run.config,
        "panels": learning_curves.curve_panels(log) if log else [],
        "terms": learning_curves.term_rows(log),
        "warnings": run.manifest.warnings if run.manifest else (),
        "curves": {"width": learning_curves.WIDTH, "height": learning_curves.HEIGHT},
        "confusion": confusion_rows(evaluation),
        "calibration": calibration,
        "reliability": data_uri("image/png", png(reliability_figure(calibration)))
        if calibration
        else "",
        "calibration_remark": run_calibration.remark,
        "no_calibration": run_calibration.reason,
        "risks": curve_points(curve),
        "risk_curve": data_uri("image/png", png(risk_coverage_figure(curve))),
        "risk_area": curve.area,
        "rejection": measure_rejection(run, evaluation.split, outside_dir)
        if outside_dir
        else (),
        "inputs": evaluation.details.get("inputs", {}),
        "mistakes": find_misclassifications(run, evaluation, mistakes),
        "wrong": int((evaluation.predicted != evaluation.true).sum()),
        "knowledge": run.knowledge,
        "teach_command": _teach_command(run),
        "versions": version_rows(stored["versions"], versions()),
        "manifest_sha256": stored["manifest_sha256"],
        "weights": run.initial_weights,
        "command": command,
        "map": evaluation_map(run.data_dir, evaluation, run.pairs_of(evaluation.split)),
    }


def _teach_command(run: Run) -> str:
    """The command that computes event knowledge with the features of a run."""
    standard = dataclasses.asdict(FeatureConfig())
    features = dataclasses.asdict(run.config.features)
    changed = {
        name: own
        for name, own in features.items()
        if own != standard[name] and name not in IMAGE_SETTINGS
    }
    return shlex.join(
        [
            *("advance", "teach"),
            f"--workdir={run.workdir}",
            f"--data_dir={run.data_dir}",
            *(f"--{name}={value}" for name, value in changed.items()),
            "--teacher=weights/yamnet.h5",
        ]
    )


def render(values: dict[str, Any]) -> str:
    """Renders the page.

    Args:
        values: values of `page_values`.

    Returns:
        HTML, in which every value is escaped.
    """
    templates = environment()
    templates.filters |= {
        "percent": canvas.percent,
        "probability": canvas.probability,
        "signed": canvas.signed,
    }
    return templates.get_template(TEMPLATE).render(values)


def write_html_report(
    run: Run | str | pathlib.Path,
    split: str,
    output: str | pathlib.Path,
    *,
    mistakes: int = 6,
    command: str = "",
    progress: bool = True,
    outside_dir: str | pathlib.Path | None = None,
) -> Evaluation:
    """Evaluates a run on a split and writes its HTML report.

    An existing file is replaced only when the new page is complete.

    Args:
        run: a loaded run, or its folder.
        split: "training", "validation", "test" or "all".
        output: HTML file to write; the page loads no other file.
        mistakes: number of the most confident errors to show.
        command: the command that writes the page, shown on it; "" for none.
        progress: whether to show a progress bar of the evaluation on a terminal.
        outside_dir: folder of images of no scene, as for `page_values`.

    Returns:
        The evaluation that the page shows.

    Raises:
        ValueError: the split has no pair, or a file cannot be read.
    """
    run = as_run(run)
    evaluation = evaluate(run, split, progress=progress)
    values = page_values(
        run, evaluation, mistakes=mistakes, command=command, outside_dir=outside_dir
    )
    page = render(values)
    with replacing(pathlib.Path(output)) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return evaluation
