"""The search over α and β: trains every point, scores it on validation alone."""

import csv
import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from advance_tf.data.notice import read_notice
from advance_tf.files import replacing
from advance_tf.studies.jobs import Job
from advance_tf.studies.paper import TABLES, paper_rows
from advance_tf.studies.study import Study
from advance_tf.training.session import progress_of
from advance_tf.visualization.canvas import png
from advance_tf.visualization.surface import surface_figure

_ALPHAS = ("0.01", "0.1", "1", "10")
_BETAS = ("0", "0.001", "0.01", "0.1")


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """The points of a grid and their runs.

    Attributes:
        recipe: the row that is searched on.
        alphas: values of α (Eq. 2).
        betas: values of β (Eq. 10).
        jobs: every run, seed by seed.
        runs_of: (α, β) → its jobs.
    """

    recipe: str
    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    jobs: list[Job]
    runs_of: dict[tuple[float, float], list[Job]]


def _known(recipe: str) -> str:
    recipes = sorted({row.recipe for table in TABLES for row in paper_rows(table)})
    if recipe not in recipes:
        raise ValueError(
            f"--grid_recipe must be one of {', '.join(recipes)}; received {recipe!r}."
        )
    return recipe


def _numbers(name: str, texts: Sequence[str]) -> tuple[float, ...]:
    try:
        numbers = tuple(sorted({float(text) for text in texts}))
    except ValueError as error:
        raise ValueError(
            f"--{name} takes numbers with commas between them; received "
            f"{','.join(texts)!r}."
        ) from error
    return numbers


def plan(
    study: Study,
    recipe: str | None,
    alphas: Sequence[str],
    betas: Sequence[str],
    runs: int,
) -> Search:
    """The runs of a grid.

    Args:
        study: what they belong to.
        recipe: a row with a transfer loss, without L_E it has no β to search;
            None for both, L_s + L_E.
        alphas: values of α, as given; none for 0.01 to 10.
        betas: values of β, as given; none for 0 to 0.1.
        runs: seeds 0 to runs − 1 of each point.

    Returns:
        What to train.

    Raises:
        ValueError: a value is no number or not allowed, or the recipe has no
            transfer loss.
    """
    recipe = _known(recipe or "table1_event")
    transfer = study.job(recipe, 0).config.transfer
    if transfer.transfer == "none":
        raise ValueError(
            f"--grid_recipe must have a transfer loss; {recipe} has --transfer=none "
            "and no α to search."
        )
    over_alpha = _numbers("alphas", alphas or _ALPHAS)
    over_beta: tuple[float, ...] = (transfer.beta,)
    if transfer.transfer == "event":
        over_beta = _numbers("betas", betas or _BETAS)
    elif betas:
        raise ValueError(
            f"--betas needs a --grid_recipe with L_E (Eq. 10); {recipe} has "
            f"--transfer={transfer.transfer}. Leave --betas out."
        )
    points = [(alpha, beta) for alpha in over_alpha for beta in over_beta]
    runs_of: dict[tuple[float, float], list[Job]] = {point: [] for point in points}
    jobs = []
    for seed in range(runs):
        for alpha, beta in points:
            job = study.job(
                recipe,
                seed,
                place=f"grid/alpha={alpha!r},beta={beta!r}",
                changes={"alpha": alpha, "beta": beta},
            )
            runs_of[alpha, beta].append(job)
            jobs.append(job)
    return Search(recipe, over_alpha, over_beta, jobs, runs_of)


def surface(search: Search) -> np.ndarray:
    """Weighted F on validation of each run's best epoch.

    Args:
        search: whose jobs are trained.

    Returns:
        float64 [alphas, betas, runs] in [0, 1].
    """
    return np.array(
        [
            [
                [progress_of(job.workdir).best_score for job in search.runs_of[a, b]]
                for b in search.betas
            ]
            for a in search.alphas
        ]
    )


def write(study: Study, search: Search) -> str:
    """Writes grid.csv and grid.png of a study.

    Args:
        study: their folder.
        search: whose jobs are trained.

    Returns:
        Which point is best, and the flags to use it.
    """
    scores = surface(search)
    mean = scores.mean(axis=2)
    deviation = np.full(mean.shape, np.nan)
    if scores.shape[2] > 1:
        deviation = scores.std(axis=2, ddof=1)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    label = read_notice(study.config.data.data_dir)
    writer.writerow(
        ["recipe", "alpha", "beta", "runs", "validation_f_score", "deviation", "label"]
    )
    for (i, j), value in np.ndenumerate(mean):
        spread = "" if np.isnan(deviation[i, j]) else f"{deviation[i, j]:.6f}"
        point = (search.alphas[i], search.betas[j], scores.shape[2])
        writer.writerow([search.recipe, *point, f"{value:.6f}", spread, label])
    with replacing(study.workdir / "grid.csv") as temporary:
        temporary.write_text(buffer.getvalue(), encoding="utf-8")
    figure = surface_figure(
        mean,
        search.alphas,
        search.betas,
        title=f"{search.recipe}: weighted F on validation, {scores.shape[2]} run(s)",
        label=label,
    )
    with replacing(study.workdir / "grid.png") as temporary:
        temporary.write_bytes(png(figure))
    i, j = np.unravel_index(mean.argmax(), mean.shape)
    return (
        f"Best on validation: --alpha={search.alphas[i]} --beta={search.betas[j]} "
        f"with weighted F {100 * mean[i, j]:.2f} %, {scores.shape[2]} run(s) a point.\n"
        f"Everything lies in {study.workdir}."
    )
