"""The figures of a run as files, for a loaded run and for its folder."""

import dataclasses

import numpy as np
import pytest

from advance_tf.inference.evaluation import evaluate
from advance_tf.reporting import draw_figures, write_evaluation
from advance_tf.reporting.calibration import calibrate_run
from advance_tf.reporting.figures import write_events
from advance_tf.runs.workdir import load_run
from tests.untrained_run import copy_run, with_validation


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(copy_run(tmp_path_factory))


@pytest.fixture(scope="module")
def evaluation(run):
    """The evaluation with different events for each pair."""
    evaluation = evaluate(run, "test")
    probs = np.random.default_rng(0).random((len(evaluation.stems), 527), np.float32)
    return dataclasses.replace(evaluation, event_probs=probs, event_source="random")


def test_loaded_run_and_folder_give_equal_figures(run, evaluation, tmp_path):
    figures = draw_figures(run, evaluation)
    assert draw_figures(str(run.workdir), evaluation) == figures
    assert set(figures.files) == {"pairs_per_scene.png", "confusion.png", "tsne.png"}
    figures.write(str(tmp_path / "new"))
    for name, contents in figures.files.items():
        assert (tmp_path / "new" / name).read_bytes() == contents


def test_remarks_name_the_missing_data(run, evaluation, tmp_path):
    without_events = dataclasses.replace(evaluation, event_probs=None)
    remarks = draw_figures(run, without_events).remarks
    assert remarks[0].startswith("No reliability.png: the temperature is fitted on")
    assert remarks[1] == (
        "No tsne.png: the model predicts no events. It has no event head, and its run "
        "has no event knowledge. Compute it with `advance teach`."
    )
    assert remarks[2].startswith("No world_map.png: give `coordinates`, a CSV file")
    written = write_events(str(tmp_path / "projector"), without_events)
    assert written == "No projector: the model predicts no events."
    assert not list(tmp_path.iterdir())


def test_calibration_of_a_run(run, evaluation):
    missing = calibrate_run(run.workdir, evaluation)
    assert missing.calibration is None
    assert missing.reason.startswith("the temperature is fitted on validation, which")
    found = calibrate_run(with_validation(run), evaluation)
    assert found.reason == ""
    assert found.pairs == len(with_validation(run).pairs_of("validation"))
    assert found.remark == found.calibration.refusal != ""


def test_evaluation_of_a_folder_has_plots(run, evaluation, tmp_path):
    by_run = write_evaluation(run, evaluation, tmp_path / "run")
    by_folder = write_evaluation(str(run.workdir), evaluation, tmp_path / "folder")
    for folder in (by_run, by_folder):
        assert {"confusion.png", "curves.png"} < {p.name for p in folder.iterdir()}
    for name in ("metrics.json", "confusion.png", "curves.png"):
        assert (by_run / name).read_bytes() == (by_folder / name).read_bytes()


def test_the_world_map_is_drawn_from_the_coordinates_of_the_data_set(run, evaluation):
    stems = [pair.stem for pair in run.pairs_of("all")]
    lines = [f"{stem},{row},{2 * row}" for row, stem in enumerate(stems)]
    path = run.data_dir / "sites.csv"
    path.write_text("\n".join(["stem,latitude,longitude", *lines]))
    try:
        figures = draw_figures(run, evaluation)
        given = draw_figures(run, evaluation, coordinates=path)
    finally:
        path.unlink()
    assert "world_map.png" in figures.files
    assert figures.files["world_map.png"] == given.files["world_map.png"]
