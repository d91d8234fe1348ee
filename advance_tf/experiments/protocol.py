"""The protocol of a study: splits, the search of α and β, training, and the tables."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

from advance_tf.data.manifest import Manifest
from advance_tf.data.splits import SPLITS
from advance_tf.experiments import grid_search, reproduction
from advance_tf.experiments.frozen_heads import HeadJobs, load_all, run_head_jobs
from advance_tf.experiments.grid_search import Search
from advance_tf.experiments.paper_tables import paper_rows
from advance_tf.experiments.repeated_splits import (
    SplitStudy,
    open_splits,
    prepare_splits,
    share_knowledge,
)
from advance_tf.experiments.scheduler import Job, run_jobs
from advance_tf.experiments.split_tables import split_table, write_split_table
from advance_tf.experiments.study import Study, prepare_study
from advance_tf.runs.training import find_manifest
from advance_tf.runs.workdir import KNOWLEDGE
from advance_tf.teacher.knowledge import load_knowledge
from advance_tf.training.unused_settings import unused_settings

_log = logging.getLogger(__name__)

Weights = Mapping[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Values of α and β to search.

    Attributes:
        alphas: values of α; empty for the default.
        betas: values of β; empty for the default.
        folds: number of folds of the training split.
        runs: number of seeds of each point and fold.
        recipe: the one recipe to search; None for every row with a transfer loss.
    """

    alphas: Sequence[float] = ()
    betas: Sequence[float] = ()
    folds: int = grid_search.FOLDS
    runs: int = 1
    recipe: str | None = None


@dataclasses.dataclass(frozen=True)
class Resources:
    """What the runs of a study use.

    Attributes:
        teacher: YAMNet's `.tflite` or tower weights; None for the audio weights.
        parallel: number of runs at a time.
        lock: file descriptor that the runs inherit, see `locks.lock_folder`.
    """

    teacher: str | None = None
    parallel: int = 1
    lock: int | None = None


def run_tables(
    study: Study,
    tables: Sequence[int],
    runs: int,
    *,
    splits: int = 0,
    folds: int = 0,
    rows: Sequence[str] = (),
    grid: Grid | None = None,
    row_alphas: Sequence[str] = (),
    manifest_path: str | None = None,
    resources: Resources | None = None,
) -> list[str]:
    """Trains and evaluates the rows of tables and writes the tables.

    With `grid`, α and β of each row with a transfer loss are searched first, in each
    split by itself and on folds of its training split alone: no test site has a part in
    the choice that it is used to measure.

    Args:
        study: the study of all runs.
        tables: numbers of tables: 1, 2 or 3.
        runs: number of seeds of each row and split.
        splits: number of repeated splits by site; 0 for the one split of the study.
        folds: number of folds by site instead, each of which is the test split once.
        rows: recipes of the rows to train and search; their references are trained
            too. Empty for all rows.
        grid: values to search; None for the weights of the recipes.
        row_alphas: "recipe=α" for rows whose α is neither that of the recipe nor
            searched.
        manifest_path: the one split to use instead of a new one.
        resources: teacher and processes.

    Returns:
        The tables as Markdown.

    Raises:
        ValueError: the settings contradict each other or those of stored runs.
    """
    resources = resources or Resources()
    recipes = reproduction.table_recipes(tables, rows)
    given = _given_weights(row_alphas, recipes)
    _warn_of_one_alpha(study, recipes)
    _warn_of_unused(study, recipes)
    several = bool(splits or folds)
    if several and manifest_path:
        raise ValueError(
            "Repeated splits are made by themselves; received a manifest "
            f"({manifest_path}). Leave `manifest` or `splits` and `folds` out."
        )
    if several:
        studies = open_splits(study, splits=splits, folds=folds)
    else:
        manifest = _find_manifest(study, manifest_path)
        studies = [SplitStudy(study, manifest)]
    for split in studies:
        for name in SPLITS:
            # ValueError for a split without pairs, before anything is trained.
            split.manifest.pairs_of(name)
    chosen: list[Weights] = [given for _ in studies]
    notes: Mapping[str, str] = {}
    if grid is not None:
        searches = _search(study, studies, recipes, grid, given, resources)
        chosen = [{**given, **_best_weights(own)} for own in searches]
        notes = grid_search.edge_notes(searches)
    jobs_of = [
        reproduction.table_jobs(split.study, tables, runs, weights, rows)
        for split, weights in zip(studies, chosen, strict=True)
    ]
    prepare_splits(study, studies, jobs_of, resources.teacher)
    _train(studies, jobs_of, resources, studies)
    for jobs in jobs_of:
        reproduction.evaluate_jobs([job for job in jobs if not job.frozen_towers])
    texts = []
    for table in tables:
        of_table = {row.recipe for row in paper_rows(table, rows)}
        note = _search_note({r: text for r, text in notes.items() if r in of_table})
        if several:
            name = f"splits{splits}" if splits else f"folds{folds}"
            found = split_table(studies, table, jobs_of)
            path = f"table{table}_{name}"
            texts.append(write_split_table(study.workdir, path, found, note))
        else:
            texts.append(reproduction.write_table(study, table, runs, rows, note))
    return texts


def _search_note(notes: Mapping[str, str]) -> str:
    """What a table states of its searches; "" for nothing."""
    texts = [f"{recipe}: {text}." for recipe, text in notes.items()]
    return f"Searched weights. {' '.join(texts)}" if texts else ""


def _warn_of_one_alpha(study: Study, recipes: Sequence[str]) -> None:
    """Warns of one α for losses of different sizes."""
    jobs = [study.job(recipe, 0) for recipe in recipes]
    losses = {job.config.transfer.transfer.partition("_")[0] for job in jobs}
    losses -= {"none"}
    if "alpha" in study.settings and len(losses) > 1:
        _log.warning(
            "alpha=%g is that of every row with a transfer loss, although these losses "
            "(%s) differ in size by orders of magnitude. Give `row_alphas`, or search "
            "it with `grid`.",
            study.settings["alpha"],
            ", ".join(sorted(losses)),
        )


def _warn_of_unused(study: Study, recipes: Sequence[str]) -> None:
    """Warns, once each, of settings that have no effect on jobs with frozen towers."""
    texts: dict[str, None] = {}
    for job in (study.job(recipe, 0) for recipe in recipes):
        # Runs in processes of their own warn in their logs.
        if job.frozen_towers:
            texts |= dict.fromkeys(unused_settings(job.config))
            if job.config.training.test_epochs:
                text = (
                    "test_epochs has no effect on rows with frozen towers, which are "
                    "trained in memory and leave no scores of their epochs. Leave it "
                    "out, or set `cached_views=0`."
                )
                texts |= {text: None}
    for text in texts:
        _log.warning("%s", text)


def _given_weights(texts: Sequence[str], recipes: Sequence[str]) -> Weights:
    """Reads "recipe=α"; ValueError for another form or a row that is not there."""
    weights = {}
    for text in texts:
        recipe, _, value = text.partition("=")
        try:
            alpha = float(value)
        except ValueError:
            alpha = -1.0
        if recipe not in recipes or not alpha >= 0:
            raise ValueError(
                "row_alphas must be rows of the tables with their α, such as "
                f"table1_kl_audio=0.01; received {text!r}. The rows are "
                f"{', '.join(recipes)}."
            )
        weights[recipe] = {"alpha": alpha}
    return weights


def run_grid(
    study: Study,
    grid: Grid,
    *,
    manifest_path: str | None = None,
    resources: Resources | None = None,
) -> str:
    """Searches α and β of one recipe on folds of the training split of a study.

    Args:
        study: the study.
        grid: values to search; without a recipe, that of "table1_event".
        manifest_path: a split to use instead of a new one.
        resources: teacher and processes.

    Returns:
        A sentence with the best point and its score.

    Raises:
        ValueError: a value is not allowed, or the recipe has no transfer loss.
    """
    resources = resources or Resources()
    manifest = _find_manifest(study, manifest_path)
    whole = SplitStudy(study, manifest)
    search = _plan(whole, grid.recipe, grid)
    _warn_of_unused(study, [search.recipe])
    _run_searches(study, [whole], [[search]], resources)
    return grid_search.write(study, search)


def _find_manifest(study: Study, path: str | None) -> Manifest:
    """The split of a study; settings of another split than a given one are refused."""
    given = study.settings if path else None
    return find_manifest(study.workdir, study.config, path, given)


def _plan(split: SplitStudy, recipe: str | None, grid: Grid) -> Search:
    return grid_search.plan(
        split.study,
        split.manifest,
        recipe,
        grid.alphas,
        grid.betas,
        grid.runs,
        grid.folds,
    )


def _search(
    study: Study,
    studies: Sequence[SplitStudy],
    recipes: Sequence[str],
    grid: Grid,
    given: Weights,
    resources: Resources,
) -> list[list[Search]]:
    """Searches the weights of recipes with a transfer loss in every split."""
    if grid.recipe not in (None, *recipes):
        raise ValueError(
            f"grid_recipe must be one of {', '.join(recipes)}; received "
            f"{grid.recipe!r}."
        )
    searched = [
        recipe
        for recipe in recipes
        if grid.recipe in (None, recipe)
        and study.job(recipe, 0).config.transfer.transfer != "none"
    ]
    if not searched:
        raise ValueError(
            "`grid` needs a row with a transfer loss; received "
            f"{grid.recipe or ', '.join(recipes)}. Leave `grid` out, or add rows."
        )
    twice = [recipe for recipe in searched if recipe in given]
    if twice:
        raise ValueError(
            "α of a row is searched or given by `row_alphas`; received both for "
            f"{', '.join(twice)}. Leave `row_alphas` of these rows out, or choose the "
            "row to search with `grid_recipe`."
        )
    betas_of = {
        recipe: grid.betas
        for recipe in searched
        if grid_search.uses_beta(study.job(recipe, 0).config.transfer)
    }
    if grid.betas and not betas_of:
        raise ValueError(
            "betas needs a row with L_E (Eq. 10), whose β is above 0; received "
            f"{', '.join(searched)}. Leave `betas` out, or add rows."
        )
    grids = [
        (recipe, dataclasses.replace(grid, betas=betas_of.get(recipe, ())))
        for recipe in searched
    ]
    searches = [
        [_plan(split, recipe, own) for recipe, own in grids] for split in studies
    ]
    _run_searches(study, studies, searches, resources)
    for split, trained in zip(studies, searches, strict=True):
        for search in trained:
            grid_search.write(split.study, search)
    return searches


def _best_weights(searches: Sequence[Search]) -> Weights:
    """The best point of each search of a split."""
    points = {s.recipe: grid_search.best_point(s) for s in searches}
    return {recipe: {"alpha": a, "beta": b} for recipe, (a, b) in points.items()}


def _run_searches(
    study: Study,
    studies: Sequence[SplitStudy],
    searches: Sequence[Sequence[Search]],
    resources: Resources,
) -> None:
    """Trains the jobs of searches; the folds share the soft labels of their split."""
    # They name what the split shares, and never have a run: a row may have trained at
    # another α than that of its recipe.
    first_jobs = [
        [split.study.job(search.recipe, 0, subfolder="grid") for search in own]
        for split, own in zip(studies, searches, strict=True)
    ]
    prepare_splits(study, studies, first_jobs, resources.teacher)
    folds: dict[str, tuple[SplitStudy, list[Job]]] = {}
    for split, own in zip(studies, searches, strict=True):
        known = load_knowledge(split.study.workdir / KNOWLEDGE, split.manifest)
        for search in own:
            for fold, jobs in zip(search.folds, search.jobs, strict=True):
                share_knowledge(fold, known)
                key = str(fold.study.workdir)
                folds.setdefault(key, (fold, []))[1].extend(jobs)
    for fold, jobs in folds.values():
        prepare_study(fold.study, jobs, manifest_path=fold.manifest)
    _train(
        [fold for fold, _ in folds.values()],
        [jobs for _, jobs in folds.values()],
        resources,
        studies,
    )


def _train(
    studies: Sequence[SplitStudy],
    jobs_of: Sequence[Sequence[Job]],
    resources: Resources,
    wholes: Sequence[SplitStudy],
) -> None:
    """Trains every job: heads on embeddings in memory where the towers are frozen.

    The manifests of `wholes` have all pairs; those of folds have training pairs alone.
    """
    work = [
        HeadJobs(
            split.manifest,
            tuple(job for job in jobs if job.frozen_towers),
            next((j.knowledge_dir for j in jobs if j.knowledge_dir is not None), None),
        )
        for split, jobs in zip(studies, jobs_of, strict=True)
    ]
    work = [each for each in work if each.jobs]
    if work:
        # In the order of the manifest, as `advance fit` has them: the augmentation of a
        # pair depends on its position. All splits have the pairs of the one data set.
        pairs = {pair.key: pair for each in wholes for pair in each.manifest.pairs}
        of_heads = [job for each in work for job in each.jobs]
        embeddings_of = load_all(of_heads, list(pairs.values()))
        run_head_jobs(work, embeddings_of, parallel=resources.parallel)
    others = [job for jobs in jobs_of for job in jobs if not job.frozen_towers]
    run_jobs(others, parallel=resources.parallel, lock=resources.lock)
