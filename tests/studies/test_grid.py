"""The grid: its points, its surface, and that it never looks at the test split."""

import csv

import numpy as np
import pytest

from advance_tf.studies import grid
from tests.studies.made import a_study, write_progress


@pytest.fixture
def study(tmp_path, fabricated_advance):
    return a_study(tmp_path, fabricated_advance)


def test_every_point_is_a_run_of_its_alpha_and_beta(study):
    search = grid.plan(study, "table1_event", ["1", "0.1"], ["0", "0.01"], 2)
    assert search.alphas == (0.1, 1.0)
    assert len(search.jobs) == len({job.workdir for job in search.jobs}) == 8
    for (alpha, beta), jobs in search.runs_of.items():
        assert [job.config.training.seed for job in jobs] == [0, 1]
        for job in jobs:
            transfer = job.config.transfer
            assert (transfer.alpha, transfer.beta) == (alpha, beta)
    # Seed by seed: fewer seeds are whole surfaces.
    assert [job.config.training.seed for job in search.jobs] == [0] * 4 + [1] * 4


def test_without_the_event_loss_beta_is_not_searched(study):
    search = grid.plan(study, "table1_kl_audio", ["1", "10"], [], 1)
    assert len(search.jobs) == 2
    with pytest.raises(ValueError, match="--betas needs a --grid_recipe with L_E"):
        grid.plan(study, "table1_kl_audio", ["1"], ["0"], 1)


def test_close_values_have_folders_of_their_own(study):
    alphas = ["0.1234567", "0.1234568"]
    search = grid.plan(study, "table1_kl_audio", alphas, [], 1)
    assert len({job.workdir for job in search.jobs}) == 2


def test_by_default_both_weights_of_the_event_loss_are_searched(study):
    search = grid.plan(study, None, [], [], 1)
    assert search.recipe == "table1_event"
    assert (len(search.alphas), len(search.betas)) == (4, 4)


@pytest.mark.parametrize(
    ("recipe", "alphas", "message"),
    [
        ("table1_both", ["1"], "has --transfer=none"),
        ("table1_event", ["1", "x"], "--alphas takes numbers .* received '1,x'"),
        ("nope", ["1"], "--grid_recipe must be one of table1_both, .* 'nope'"),
        ("table1_event", ["-1"], "--alpha must be at least 0"),
    ],
)
def test_refuses(study, recipe, alphas, message):
    with pytest.raises(ValueError, match=message):
        grid.plan(study, recipe, alphas, [], 1)


def test_the_surface_is_that_of_the_validation_scores(study):
    search = grid.plan(study, "table1_event", ["1", "10"], ["0", "1"], 2)
    expected = np.zeros((2, 2, 2))
    for i, alpha in enumerate(search.alphas):
        for j, beta in enumerate(search.betas):
            for seed, job in enumerate(search.runs_of[alpha, beta]):
                expected[i, j, seed] = 0.1 * i + 0.3 * j + 0.04 * seed
                write_progress(job, best_score=expected[i, j, seed])
    np.testing.assert_allclose(grid.surface(search), expected)
    text = grid.write(study, search)
    assert "--alpha=10.0 --beta=1.0 with weighted F 42.00 %" in text
    with (study.workdir / "grid.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    last = rows[-1]
    assert (last["alpha"], last["beta"], last["runs"]) == ("10.0", "1.0", "2")
    assert float(last["validation_f_score"]) == pytest.approx(0.42)
    deviation = np.std([0.40, 0.44], ddof=1)
    assert float(last["deviation"]) == pytest.approx(deviation, abs=1e-6)
    assert (study.workdir / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert not list(study.workdir.rglob("evaluation"))
