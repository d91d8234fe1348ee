"""The page of a run: everything about it in one HTML file that needs no other."""

import dataclasses
import pathlib
import shlex
from typing import Any

import jinja2

from advance_tf.config import FeatureConfig
from advance_tf.files import replacing
from advance_tf.labels import asset_path
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.metrics.tables import TITLES
from advance_tf.studies import page_tables
from advance_tf.studies.calibrated import calibrate_run
from advance_tf.studies.embedded import data_uri
from advance_tf.studies.evaluated import evaluate_run, run_names
from advance_tf.studies.mistakes import find_mistakes
from advance_tf.studies.taught import TaughtRun
from advance_tf.training.callbacks import LOG
from advance_tf.training.workdir import read_config, versions
from advance_tf.visualization import curve_lines, number_text
from advance_tf.visualization.canvas import png
from advance_tf.visualization.plots import read_log
from advance_tf.visualization.reliability import reliability_figure

TEMPLATE = "report.html.j2"


def page_values(
    taught: TaughtRun,
    evaluation: Evaluation,
    *,
    mistakes: int = 6,
    command: str = "",
) -> dict[str, Any]:
    """What the template shows, without markup.

    Args:
        taught: the run with its knowledge.
        evaluation: of it on a split.
        mistakes: how many of the most confident mistakes to show.
        command: how the page was made.

    Returns:
        Values of `report.html.j2` by name.

    Raises:
        ValueError: a file of the data set or of the run cannot be read.
    """
    run = taught.run
    _, stored = read_config(run.workdir)
    calibrated = calibrate_run(taught, evaluation)
    calibration = calibrated.calibration
    log = run.workdir / LOG
    found = find_mistakes(taught, evaluation, mistakes)
    return {
        "name": run_names([run.workdir])[0],
        "evaluation": evaluation,
        "sites": len(set(evaluation.sites)),
        "titles": TITLES,
        "groups": page_tables.settings(run.config),
        "config": run.config,
        "panels": curve_lines.curve_panels(read_log(log)) if log.exists() else [],
        "curves": {"width": curve_lines.WIDTH, "height": curve_lines.HEIGHT},
        "confusion": page_tables.confusion_rows(evaluation),
        "calibration": calibration,
        "reliability": data_uri("image/png", png(reliability_figure(calibration)))
        if calibration
        else "",
        "calibration_remark": calibrated.remark,
        "no_calibration": calibrated.reason,
        "mistakes": found,
        "wrong": int((evaluation.predicted != evaluation.true).sum()),
        "knowledge": taught.knowledge,
        "teach_command": _teach_command(taught),
        "versions": page_tables.version_rows(stored["versions"], versions()),
        "manifest_sha256": stored["manifest_sha256"],
        "command": command,
    }


def _teach_command(taught: TaughtRun) -> str:
    """How to make the knowledge of a run, with the features it was trained with."""
    standard = dataclasses.asdict(FeatureConfig())
    features = dataclasses.asdict(taught.run.config.features)
    changed = {name: own for name, own in features.items() if own != standard[name]}
    return shlex.join(
        [
            *("python", "-m", "advance_tf.teach"),
            f"--workdir={taught.run.workdir}",
            f"--data_dir={taught.data_dir}",
            *(f"--{name}={value}" for name, value in changed.items()),
            "--teacher=yamnet.tflite",
        ]
    )


def render(values: dict[str, Any]) -> str:
    """The page of values.

    Args:
        values: of `page_values`.

    Returns:
        HTML; every value is escaped.
    """
    folder = asset_path(TEMPLATE).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        number_text.percent,
        number_text.signed,
        number_text.probability,
    ):
        environment.filters[function.__name__] = function
    return environment.get_template(TEMPLATE).render(values)


def write_page(
    taught: TaughtRun,
    split: str,
    output: str | pathlib.Path,
    *,
    mistakes: int = 6,
    command: str = "",
) -> Evaluation:
    """Evaluates a run on a split and writes its page, or leaves the old one.

    Args:
        taught: the run with its knowledge.
        split: "training", "validation", "test" or "all".
        output: HTML file to write; it loads nothing else.
        mistakes: how many of the most confident mistakes to show.
        command: how the page is made.

    Returns:
        The evaluation that it shows.

    Raises:
        ValueError: the split has no pair, or a file cannot be read.
    """
    evaluation = evaluate_run(taught, split)
    page = render(page_values(taught, evaluation, mistakes=mistakes, command=command))
    with replacing(pathlib.Path(output)) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return evaluation
