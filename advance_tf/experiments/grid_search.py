"""Grid search over α (Eq. 2) and β (Eq. 10) on folds of the training split.

A validation split has few sites: on the surrogate of ADVANCE, 101 pairs cannot
distinguish the points of a grid. Each fold of the training split is therefore left out
once, and a point has the mean score over folds and seeds. The validation and the test
split have no part in the choice.
"""

import collections
import csv
import dataclasses
import io
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.config import TransferConfig
from advance_tf.data.layout import read_notice
from advance_tf.data.manifest import Manifest
from advance_tf.experiments.folds import training_folds
from advance_tf.experiments.head_results import read_result
from advance_tf.experiments.paper_tables import TABLES, paper_rows
from advance_tf.experiments.repeated_splits import SplitStudy, in_folder
from advance_tf.experiments.scheduler import Job
from advance_tf.experiments.study import Study
from advance_tf.extras import requires_extra
from advance_tf.files import replacing
from advance_tf.reporting.canvas import INK, add_title, new_figure, png
from advance_tf.training.session import run_progress

with requires_extra("report"):
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

# The sum over 527 events makes a squared distance of logits (Eq. 4, 6) hundreds of
# times L_s, and the compound loss (Eq. 8) a few times.
_ALPHAS = (0.00001, 0.0001, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
_BETAS = (0.0, 0.001, 0.1, 10.0)
FOLDS = 5


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
        folds: a study for each fold of the training split.
        jobs: the jobs of each fold, seed by seed.
        runs_of: (α, β) → its jobs, fold by fold.
    """

    recipe: str
    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    folds: list[SplitStudy]
    jobs: list[list[Job]]
    runs_of: dict[tuple[float, float], list[Job]]


def uses_beta(transfer: TransferConfig) -> bool:
    """Whether a transfer loss has a β: L_E has it, L_E1 alone and the others do not.

    >>> uses_beta(TransferConfig(transfer="event", beta=0.001))
    True
    >>> uses_beta(TransferConfig(transfer="event", beta=0.0))
    False
    """
    return transfer.transfer == "event" and transfer.beta > 0


def _check_recipe(recipe: str) -> None:
    recipes = sorted({row.recipe for table in TABLES for row in paper_rows(table)})
    if recipe not in recipes:
        raise ValueError(
            f"grid_recipe must be one of {', '.join(recipes)}; received {recipe!r}."
        )


def plan(
    study: Study,
    manifest: Manifest,
    grid_recipe: str | None,
    alphas: Sequence[float],
    betas: Sequence[float],
    runs: int,
    folds: int = FOLDS,
) -> Search:
    """Lists the jobs of a grid; writes nothing.

    Args:
        study: the study that the jobs belong to.
        manifest: its pairs and splits; the training split is divided into folds.
        grid_recipe: name of a recipe with a transfer loss; β is searched only
            with L_E. None for "table1_event", both inputs with L_s + L_E.
        alphas: values of α; empty for 0.00001 to 1.
        betas: values of β; empty for 0 to 10.
        runs: number of seeds of each point and fold, 0 to runs − 1.
        folds: number of folds of the training split.

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
    if uses_beta(transfer):
        over_beta = tuple(sorted({float(beta) for beta in betas or _BETAS}))
    elif betas:
        raise ValueError(
            f"betas needs a `grid_recipe` with L_E (Eq. 10); {recipe} has "
            f"`transfer={transfer.transfer!r}` and `beta={transfer.beta:g}`. Leave "
            "`betas` out."
        )
    points = [(alpha, beta) for alpha in over_alpha for beta in over_beta]
    runs_of: dict[tuple[float, float], list[Job]] = {point: [] for point in points}
    studies = [
        in_folder(study, f"grid/fold-{fold}-of-{folds}", {}, own)
        for fold, own in enumerate(training_folds(manifest, folds))
    ]
    jobs: list[list[Job]] = [[] for _ in studies]
    for fold, inner in enumerate(studies):
        for seed in range(runs):
            for alpha, beta in points:
                job = inner.study.job(
                    recipe,
                    seed,
                    subfolder=f"alpha={alpha!r},beta={beta!r}",
                    changes={"alpha": alpha, "beta": beta},
                )
                runs_of[alpha, beta].append(job)
                jobs[fold].append(job)
    return Search(recipe, over_alpha, over_beta, studies, jobs, runs_of)


def surface(search: Search) -> np.ndarray:
    """Reads the weighted F of each run's best epoch on the fold that is left out.

    Args:
        search: a search whose jobs are trained.

    Returns:
        float64 [alphas, betas, folds · runs] in [0, 1].
    """
    return np.array(
        [
            [[best_score(job) for job in search.runs_of[a, b]] for b in search.betas]
            for a in search.alphas
        ]
    )


def best_score(job: Job) -> float:
    """Weighted F of the best epoch of a trained job on its validation split."""
    if job.frozen_towers:
        return float(read_result(job)["best_score"])
    return run_progress(job.workdir).best_score


def best_point(search: Search) -> tuple[float, float]:
    """α and β with the best mean score; of equal ones the smallest.

    Args:
        search: a search whose jobs are trained.

    Returns:
        α and β.
    """
    mean = surface(search).mean(axis=2)
    i, j = np.unravel_index(mean.argmax(), mean.shape)
    return search.alphas[i], search.betas[j]


def edges(search: Search) -> list[str]:
    """States where the best point is at the edge of the grid, so that it may be beyond.

    Args:
        search: a search whose jobs are trained.

    Returns:
        A sentence for α, for β, for both or for none. A value of 0 is no edge, as there
        is no smaller one.
    """
    mean = surface(search).mean(axis=2)
    i, j = np.unravel_index(mean.argmax(), mean.shape)
    found = []
    for name, values, place, scores in (
        ("α", search.alphas, int(i), mean[:, j]),
        ("β", search.betas, int(j), mean[i]),
    ):
        if len(values) > 1 and np.all(scores == scores[0]):
            found.append(f"every {name} of the grid has the same score")
        elif place == len(values) - 1 > 0:
            found.append(_edge(name, values[place], "larger"))
        elif place == 0 < len(values) - 1 and values[0] > 0:
            found.append(_edge(name, values[place], "smaller"))
    return found


def _edge(name: str, value: float, side: str) -> str:
    return f"{name} = {value:g} is at the edge of the grid: add {side} values"


def edge_notes(searches: Sequence[Sequence[Search]]) -> dict[str, str]:
    """What `edges` states of the searches of one study or of several splits.

    Args:
        searches: those of each split, whose jobs are trained.

    Returns:
        Recipe → a sentence, of recipes with one.
    """
    counts: dict[str, collections.Counter[str]] = {}
    for search in itertools.chain.from_iterable(searches):
        counts.setdefault(search.recipe, collections.Counter()).update(edges(search))
    several = len(searches) > 1
    return {
        recipe: "; ".join(
            f"{text} (in {count} of {len(searches)} splits)" if several else text
            for text, count in own.items()
        )
        for recipe, own in counts.items()
        if own
    }


def write(study: Study, search: Search) -> str:
    """Writes grid-<recipe>.csv and .png of a study.

    Args:
        study: the study, in whose folder they are written.
        search: a search whose jobs are trained.

    Returns:
        The best point and its score, and whether it is at the edge of the grid.
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
        [
            *("recipe", "alpha", "beta", "folds", "runs"),
            *("fold_f_score", "deviation", "label"),
        ]
    )
    for (i, j), value in np.ndenumerate(mean):
        spread = "" if np.isnan(deviation[i, j]) else f"{deviation[i, j]:.6f}"
        point = (
            *(search.alphas[i], search.betas[j]),
            *(len(search.folds), scores.shape[2]),
        )
        writer.writerow([search.recipe, *point, f"{value:.6f}", spread, label])
    with replacing(study.workdir / f"grid-{search.recipe}.csv") as temporary:
        temporary.write_text(buffer.getvalue(), encoding="utf-8")
    figure = surface_figure(
        mean,
        search.alphas,
        search.betas,
        title=f"{search.recipe}: weighted F on {len(search.folds)} folds of training",
        label=label,
    )
    with replacing(study.workdir / f"grid-{search.recipe}.png") as temporary:
        temporary.write_bytes(png(figure))
    alpha, beta = best_point(search)
    return (
        f"{search.recipe}: best on {len(search.folds)} folds of the training split: "
        f"`alpha={alpha}` `beta={beta}` with weighted F {100 * mean.max():.2f} %, "
        f"{scores.shape[2]} run(s) per grid point."
        + "".join(f" {text[0].upper()}{text[1:]}." for text in edges(search))
    )
