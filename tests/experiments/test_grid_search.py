"""Grid search: its points, its figure, and its scores from the validation split."""

import csv

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from advance_tf.data.manifest import make_manifest
from advance_tf.experiments import grid_search
from advance_tf.experiments.grid_search import surface_figure
from tests.experiments.factories import open_small_study, write_progress


def test_the_figure_shows_every_score_at_its_alpha_and_beta():
    scores = np.array([[0.1, 0.2, 0.3], [0.4, 0.9, 0.6]])
    axes = surface_figure(scores, (0.1, 10), (0, 0.001, 1), title="F").axes[0]
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown[(1, 1)] == "90.0"
    assert shown[(2, 0)] == "30.0"
    assert len(shown) == 6
    (frame,) = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert frame.get_xy() == (0.5, 0.5)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "0.001", "1"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0.1", "10"]


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 1\].*received \(1, 2\)"):
        surface_figure([[0.1, 0.2]], (1, 2), (0,))


@pytest.fixture
def study(tmp_path, fabricated_advance):
    return open_small_study(tmp_path, fabricated_advance)


@pytest.fixture
def manifest(study):
    return make_manifest(study.config.data)


def test_every_point_is_a_run_of_its_alpha_and_beta_on_each_fold(study, manifest):
    search = grid_search.plan(
        study, manifest, "table1_event", [1, 0.1], [0, 0.01], 2, folds=3
    )
    assert search.alphas == (0.1, 1.0)
    every = [job for jobs in search.jobs for job in jobs]
    assert len(every) == len({job.workdir for job in every}) == 3 * 8
    for (alpha, beta), jobs in search.runs_of.items():
        assert [job.config.training.seed for job in jobs] == [0, 1] * 3
        for job in jobs:
            transfer = job.config.transfer
            assert (transfer.alpha, transfer.beta) == (alpha, beta)
    # Seed by seed: an interrupted search has complete surfaces of fewer seeds.
    for jobs in search.jobs:
        assert [job.config.training.seed for job in jobs] == [0] * 4 + [1] * 4


def test_the_runs_of_a_grid_have_training_pairs_alone(study, manifest):
    search = grid_search.plan(study, manifest, "table1_event", [1], [0], 1)
    training = set(manifest.pairs_of("training"))
    held_out = []
    assert len(search.folds) == grid_search.FOLDS
    for fold, jobs in zip(search.folds, search.jobs, strict=True):
        assert set(fold.manifest.pairs) == training
        assert "test" not in fold.manifest.splits
        held_out += fold.manifest.pairs_of("validation")
        for job in jobs:
            assert job.manifest_path == fold.study.workdir / "manifest.csv"
    assert sorted(p.stem for p in held_out) == sorted(p.stem for p in training)


def test_without_the_event_loss_beta_is_not_searched(study, manifest):
    search = grid_search.plan(study, manifest, "table1_kl_audio", [1, 10], [], 1)
    assert [len(jobs) for jobs in search.jobs] == [2] * 5
    with pytest.raises(ValueError, match="^betas needs a `grid_recipe` with L_E"):
        grid_search.plan(study, manifest, "table1_kl_audio", [1], [0], 1)


def test_beta_of_l_e1_alone_is_not_searched(study, manifest):
    search = grid_search.plan(study, manifest, "table3_event_kl", [1, 10], [], 1)
    assert search.betas == (0.0,)
    assert [len(jobs) for jobs in search.jobs] == [2] * 5
    with pytest.raises(ValueError, match="table3_event_kl has .* and `beta=0`. Leave"):
        grid_search.plan(study, manifest, "table3_event_kl", [1], [0.1], 1)


def test_close_values_have_different_folders(study, manifest):
    alphas = [0.1234567, 0.1234568]
    search = grid_search.plan(study, manifest, "table1_kl_audio", alphas, [], 1)
    assert len({job.workdir for job in search.jobs[0]}) == 2


def test_by_default_both_weights_of_the_event_loss_are_searched(study, manifest):
    search = grid_search.plan(study, manifest, None, [], [], 1)
    assert search.recipe == "table1_event"
    assert (len(search.alphas), len(search.betas)) == (8, 4)


@pytest.mark.parametrize(
    ("recipe", "alphas", "message"),
    [
        ("table1_both", [1], "has `transfer='none'`"),
        ("nope", [1], "^grid_recipe must be one of table1_both, .* 'nope'"),
        ("table1_event", [-1], "alpha must be at least 0"),
    ],
)
def test_an_invalid_grid_is_refused(study, manifest, recipe, alphas, message):
    with pytest.raises(ValueError, match=message):
        grid_search.plan(study, manifest, recipe, alphas, [], 1)


def test_the_surface_consists_of_the_scores_of_the_folds(study, manifest):
    search = grid_search.plan(
        study, manifest, "table1_event", [1, 10], [0, 1], 1, folds=2
    )
    expected = np.zeros((2, 2, 2))
    for i, alpha in enumerate(search.alphas):
        for j, beta in enumerate(search.betas):
            for fold, job in enumerate(search.runs_of[alpha, beta]):
                expected[i, j, fold] = 0.1 * i + 0.3 * j + 0.04 * fold
                write_progress(job, best_score=expected[i, j, fold])
    np.testing.assert_allclose(grid_search.surface(search), expected)
    assert grid_search.best_point(search) == (10.0, 1.0)
    text = grid_search.write(study, search)
    assert text.endswith("grid: add larger values.")
    assert "`alpha=10.0` `beta=1.0` with weighted F 42.00 %" in text
    with (study.workdir / "grid-table1_event.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    last = rows[-1]
    assert (last["alpha"], last["beta"]) == ("10.0", "1.0")
    assert (last["folds"], last["runs"]) == ("2", "2")
    assert float(last["fold_f_score"]) == pytest.approx(0.42)
    deviation = np.std([0.40, 0.44], ddof=1)
    assert float(last["deviation"]) == pytest.approx(deviation, abs=1e-6)
    picture = study.workdir / "grid-table1_event.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not list(study.workdir.rglob("evaluation"))


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (lambda alpha, beta: alpha, ["α = 100 is at the edge of the grid: add larger"]),
        (
            lambda alpha, beta: beta - alpha,
            [
                "α = 1 is at the edge of the grid: add smaller values",
                "β = 0.5 is at the edge of the grid: add larger values",
            ],
        ),
        # There is no β below 0.
        (lambda alpha, beta: -beta - abs(alpha - 10), []),
        (lambda alpha, beta: beta == 0.1, ["every α of the grid has the same score"]),
    ],
)
def test_a_best_point_at_the_edge_is_named(
    study, manifest, monkeypatch, score, expected
):
    values = [1, 10, 100], [0, 0.1, 0.5]
    search = grid_search.plan(study, manifest, "table1_event", *values, 1)

    def best(job):
        return score(job.config.transfer.alpha, job.config.transfer.beta)

    monkeypatch.setattr(grid_search, "best_score", best)
    found = grid_search.edges(search)
    if len(expected) == 1 and "larger" in expected[0]:
        expected = [f"{expected[0]} values", "every β of the grid has the same score"]
    assert found == expected
    notes = {"table1_event": "; ".join(expected)} if expected else {}
    assert grid_search.edge_notes([[search]]) == notes
