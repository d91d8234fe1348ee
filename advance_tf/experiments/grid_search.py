"""Grid search over α (Eq. 2) and β (Eq. 10) on the validation split."""

import csv
import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.data.layout import read_notice
from advance_tf.experiments.paper_tables import TABLES, paper_rows
from advance_tf.experiments.scheduler import Job
from advance_tf.experiments.study import Study
from advance_tf.extras import requires_extra
from advance_tf.files import replacing
from advance_tf.reporting.canvas import INK, add_title, new_figure, png
from advance_tf.training.session import run_progress

with requires_extra("report"):
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_ALPHAS = (0.01, 0.1, 1.0, 10.0)
_BETAS = (0.0, 0.001, 0.01, 0.1)


def surface_figure(
    scores: ArrayLike,
    alphas: Sequence[float],
    betas: Sequence[float],
    *,
    title: str = "",
    label: str = "",
) -> Figure:
    """Draws the score of every point of a grid, with the best one framed.

    Args:
        scores: float [alphas, betas] in [0, 1].
        alphas: values of α, the rows.
        betas: values of β, the columns.
        title: shown above the grid.
        label: text that must be stated about the data; shown above the title.

    Returns:
        A figure for `canvas.png`.

    Raises:
        ValueError: the shape of the scores does not match the values.
    """
    percent = 100 * np.asarray(scores, np.float64)
    if percent.shape != (len(alphas), len(betas)):
        raise ValueError(
            f"scores must be [{len(alphas)}, {len(betas)}], a row for each alpha and "
            f"a column for each beta; received {percent.shape}."
        )
    figure = new_figure(3.2 + 0.9 * len(betas), 1.8 + 0.6 * len(alphas))
    axes = figure.add_subplot()
    shown = axes.imshow(percent, cmap="Blues", aspect="auto")
    middle = (percent.min() + percent.max()) / 2
    for (row, column), value in np.ndenumerate(percent):
        color = "white" if value > middle else INK
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=color)
    best = np.unravel_index(percent.argmax(), percent.shape)
    corner = (best[1] - 0.5, best[0] - 0.5)
    frame = Rectangle(corner, 1, 1, fill=False, edgecolor="#d9730d", linewidth=2.5)
    axes.add_patch(frame)
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.set_xlabel("β (Eq. 10)", color=INK)
    axes.set_ylabel("α (Eq. 2)", color=INK)
    figure.colorbar(shown, ax=axes, label="weighted F in %")
    add_title(figure, title, label)
    return figure


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """The points of a grid and their jobs.

    Attributes:
        recipe: name of the recipe whose weights are searched.
        alphas: values of α (Eq. 2).
        betas: values of β (Eq. 10).
        jobs: every job, seed by seed.
        runs_of: (α, β) → its jobs.
    """

    recipe: str
    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    jobs: list[Job]
    runs_of: dict[tuple[float, float], list[Job]]


def _check_recipe(recipe: str) -> None:
    recipes = sorted({row.recipe for table in TABLES for row in paper_rows(table)})
    if recipe not in recipes:
        raise ValueError(
            f"grid_recipe must be one of {', '.join(recipes)}; received {recipe!r}."
        )


def plan(
    study: Study,
    grid_recipe: str | None,
    alphas: Sequence[float],
    betas: Sequence[float],
    runs: int,
) -> Search:
    """Lists the jobs of a grid.

    Args:
        study: the study that the jobs belong to.
        grid_recipe: name of a recipe with a transfer loss; β is searched only
            with L_E. None for "table1_event", both inputs with L_s + L_E.
        alphas: values of α; empty for 0.01 to 10.
        betas: values of β; empty for 0 to 0.1.
        runs: number of seeds of each point, 0 to runs − 1.

    Returns:
        The points and their jobs.

    Raises:
        ValueError: a value is not allowed, or the recipe has no transfer loss.
    """
    recipe = grid_recipe or "table1_event"
    _check_recipe(recipe)
    transfer = study.job(recipe, 0).config.transfer
    if transfer.transfer == "none":
        raise ValueError(
            f"grid_recipe must have a transfer loss; {recipe} has `transfer='none'` "
            "and no α to search. Choose another one."
        )
    over_alpha = tuple(sorted({float(alpha) for alpha in alphas or _ALPHAS}))
    over_beta: tuple[float, ...] = (transfer.beta,)
    if transfer.transfer == "event":
        over_beta = tuple(sorted({float(beta) for beta in betas or _BETAS}))
    elif betas:
        raise ValueError(
            f"betas needs a `grid_recipe` with L_E (Eq. 10); {recipe} has "
            f"`transfer={transfer.transfer!r}`. Leave `betas` out."
        )
    points = [(alpha, beta) for alpha in over_alpha for beta in over_beta]
    runs_of: dict[tuple[float, float], list[Job]] = {point: [] for point in points}
    jobs = []
    for seed in range(runs):
        for alpha, beta in points:
            job = study.job(
                recipe,
                seed,
                subfolder=f"grid/alpha={alpha!r},beta={beta!r}",
                changes={"alpha": alpha, "beta": beta},
            )
            runs_of[alpha, beta].append(job)
            jobs.append(job)
    return Search(recipe, over_alpha, over_beta, jobs, runs_of)


def surface(search: Search) -> np.ndarray:
    """Reads the weighted F of each run's best epoch on the validation split.

    Args:
        search: a search whose jobs are trained.

    Returns:
        float64 [alphas, betas, runs] in [0, 1].
    """
    return np.array(
        [
            [
                [run_progress(job.workdir).best_score for job in search.runs_of[a, b]]
                for b in search.betas
            ]
            for a in search.alphas
        ]
    )


def write(study: Study, search: Search) -> str:
    """Writes grid.csv and grid.png of a study.

    Args:
        study: the study, in whose folder they are written.
        search: a search whose jobs are trained.

    Returns:
        A sentence with the best point and its score.
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
        f"Best on validation: `alpha={search.alphas[i]}` `beta={search.betas[j]}` "
        f"with weighted F {100 * mean[i, j]:.2f} %, {scores.shape[2]} run(s) per "
        "grid point.\n"
        f"All results are in {study.workdir}."
    )
