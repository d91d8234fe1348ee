"""Class activation maps of several runs on the same pairs of a split."""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data.dataset import scene_numbers
from advance_tf.data.layout import join_labels, read_notice
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.data.shards import media_path
from advance_tf.data.splits import TRAINING, spread_over_scenes
from advance_tf.extras import requires_extra
from advance_tf.inference.evaluation import run_names
from advance_tf.inference.predictor import Predictor
from advance_tf.reporting.activation_map_figure import Row, View, cam_figure
from advance_tf.reporting.activation_maps import (
    PairMaps,
    compute_maps,
    display_frontend,
    read_display_image,
)
from advance_tf.runs.workdir import MANIFEST, Run, as_run, read_config

with requires_extra("report"):
    from matplotlib.figure import Figure

SPREAD, GAIN = "spread", "gain"
SELECTIONS = (SPREAD, GAIN)

RunSource = Run | str | pathlib.Path


def select_by_stem(pairs: Sequence[Pair], stems: Sequence[str]) -> list[Pair]:
    """Selects the pairs with given stems, in the order of the stems.

    Args:
        pairs: all pairs of a manifest.
        stems: names of pairs.

    Returns:
        One pair for each stem.

    Raises:
        ValueError: a stem has no pair or is repeated.

    >>> pair = Pair("00012", "beach", "00012", "00012.jpg", "00012.wav")
    >>> select_by_stem([pair], ["00012"]) == [pair]
    True
    """
    repeated = [stem for stem, count in Counter(stems).items() if count > 1]
    if repeated:
        raise ValueError(
            f"stems must name each pair once; received {', '.join(repeated)} more "
            "than once. Remove the repetitions."
        )
    pair_of = {pair.stem: pair for pair in pairs}
    missing = [stem for stem in stems if stem not in pair_of]
    if missing:
        raise ValueError(
            f"stems must name pairs of the manifest; received {', '.join(missing)}. "
            f"The manifest has, for example, {', '.join(list(pair_of)[:5])}."
        )
    return [pair_of[stem] for stem in stems]


def select_by_gain(
    pairs: Sequence[Pair], before: ArrayLike, after: ArrayLike, count: int
) -> list[Pair]:
    """Selects the pairs whose true scene gains most probability, one for each site.

    Such pairs show how two runs differ, not how good a run is.

    Args:
        pairs: n pairs of a split.
        before: probability of the true scene under one run [n].
        after: probability of the true scene under another run [n].
        count: the largest number of pairs to select.

    Returns:
        At most `count` pairs, largest gain first; only pairs with a gain above 0,
        possibly none.
    """
    gain = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    best: dict[str, Pair] = {}
    for index in np.argsort(-gain, kind="stable"):
        if gain[index] > 0:
            best.setdefault(pairs[index].site, pairs[index])
    return list(best.values())[:count]


def shared_manifest(runs: Sequence[RunSource]) -> Manifest:
    """Returns the manifest of runs that can be compared pair by pair.

    No model is loaded.

    Args:
        runs: loaded runs or their folders; their features may differ.

    Returns:
        Their manifest.

    Raises:
        ValueError: there is no run, a run has no manifest, or the manifests have
            different pairs or splits.
    """
    if not runs:
        raise ValueError(
            "runs must have at least one run; received none. Add a run or its folder."
        )
    hashes = [_manifest_sha256(run) for run in runs]
    if len(set(hashes)) > 1:
        received = ", ".join(
            f"{_workdir(run)}: {(sha256 or 'none')[:12]}"
            for run, sha256 in zip(runs, hashes, strict=True)
        )
        raise ValueError(
            "All runs must have the same manifest, otherwise a training pair of one "
            f"is a test pair of another; received {received}. Train them with one "
            "manifest."
        )
    first = runs[0]
    if isinstance(first, Run) and first.manifest is not None:
        return first.manifest
    if not hashes[0]:
        raise ValueError(
            f"{_workdir(first)} must have a {MANIFEST}; received a run that was "
            "converted without data. Convert it again with `data_dir`."
        )
    return Manifest.load(_workdir(first) / MANIFEST)


def _workdir(run: RunSource) -> pathlib.Path:
    return run.workdir if isinstance(run, Run) else pathlib.Path(run)


def _manifest_sha256(run: RunSource) -> str:
    """The hash of a run's manifest, "" for a run without one."""
    if isinstance(run, Run):
        return run.manifest.sha256 if run.manifest else ""
    return str(read_config(pathlib.Path(run))[1]["manifest_sha256"])


def explain(
    runs: Sequence[RunSource] | RunSource,
    split: str = "test",
    *,
    data_dir: str | pathlib.Path | None = None,
    stems: Sequence[str] = (),
    pairs: int = 4,
    choose: str = SPREAD,
) -> Figure:
    """Draws activation maps of the true scene, for runs on the same pairs.

    A run given as a folder is loaded only while its maps are computed, so that
    one model at a time is in memory.

    Args:
        runs: loaded runs or their folders, or one of them; all with one manifest,
            their features may differ.
        split: split to select pairs from: "training", "validation", "test" or
            "all".
        data_dir: folder of the data set; by default that of each run.
        stems: names of the pairs, of any split; empty to select them by `choose`.
        pairs: number of pairs to select.
        choose: "spread" selects pairs spread over the scenes, "gain" those where
            the last run gains most over the first in the probability of the true
            scene.

    Returns:
        A figure for `canvas.png`; it states how the pairs were selected.

    Raises:
        ValueError: the runs have different manifests, a stem is unknown, a file
            cannot be read, or `choose` is "gain" and there are fewer than two runs
            or no pair gains.
    """
    if choose not in SELECTIONS:
        raise ValueError(
            f"choose must be one of {', '.join(SELECTIONS)}; received {choose!r}."
        )
    if isinstance(runs, Run | str | pathlib.Path):
        runs = [runs]
    manifest = shared_manifest(runs)
    names = run_names([_workdir(run) for run in runs])
    if stems:
        selected = select_by_stem(manifest.pairs_of("all"), stems)
        note = "Pairs selected by name; they are not representative."
    elif choose == GAIN:
        candidates = manifest.pairs_of(split)
        selected, note = _select_by_gain(
            runs, names, candidates, split, pairs, data_dir
        )
    else:
        selected = spread_over_scenes(manifest.pairs_of(split), pairs)
        note = (
            f"Pairs spread evenly over the scenes of '{split}', selected regardless "
            "of the predictions."
        )
    columns = [_run_views(run, selected, data_dir) for run in runs]
    limits = (column.features.max_image_pixels for column in columns)
    frontend = display_frontend(max_image_pixels=max(limits))
    rows = [
        Row(
            pair.stem,
            pair.scene,
            read_display_image(frontend, media_path(columns[0].data_dir, pair.image)),
            tuple(column.views[index] for column in columns),
        )
        for index, pair in enumerate(selected)
    ]
    return cam_figure(
        names,
        [column.features for column in columns],
        rows,
        title="Class activation maps of the true scene",
        note=note,
        label=_label(manifest, columns, selected),
    )


def _load(run: RunSource, data_dir: str | pathlib.Path | None) -> Run:
    """A loaded run, with another folder of the data set where one is given."""
    run = as_run(run)
    if data_dir:
        run = dataclasses.replace(run, data_dir=pathlib.Path(data_dir))
    return run


def _select_by_gain(
    runs: Sequence[RunSource],
    names: Sequence[str],
    pairs: Sequence[Pair],
    split: str,
    count: int,
    data_dir: str | pathlib.Path | None,
) -> tuple[list[Pair], str]:
    """The pairs on which the last run gains over the first, and their caption."""
    if len(runs) < 2:
        raise ValueError(
            '`choose="gain"` compares the last run with the first; received one run. '
            'Add a second run, or use `choose="spread"`.'
        )
    before, after = (_true_probs(runs[k], pairs, data_dir) for k in (0, -1))
    selected = select_by_gain(pairs, before, after, count)
    if not selected:
        raise ValueError(
            f'`choose="gain"` needs a pair for which {names[-1]} predicts the true '
            f"scene with a higher probability than {names[0]}; received none among "
            f"{len(pairs)} pairs of '{split}'. Reverse the order of the runs, or use "
            '`choose="spread"`.'
        )
    note = (
        f"Pairs of '{split}' on which {names[-1]} gains most over {names[0]} in the "
        "probability of the true scene: selected for the gain, one for each site, "
        f"not representative. Over all {len(pairs)} pairs the mean gain is "
        f"{(after - before).mean():+.3f}."
    )
    return selected, note


def _true_probs(
    run: RunSource, pairs: Sequence[Pair], data_dir: str | pathlib.Path | None
) -> np.ndarray:
    """A run's probability of the true scene of each pair, float32 [n]."""
    run = _load(run, data_dir)
    probs = (
        # The figure shows the probabilities of the maps, which have no temperature.
        Predictor.from_run(run, calibrated=False)
        .predict_pairs(pairs, run.data_dir, batch_size=run.config.training.batch_size)
        .scene_probs
    )  # [n, scenes]
    return probs[np.arange(len(pairs)), scene_numbers(pairs)]


@dataclasses.dataclass(frozen=True, eq=False)
class _RunViews:
    """The parts of a run that the figure needs, without its model."""

    features: FeatureConfig
    views: list[View]
    label: str
    data_dir: pathlib.Path


def _run_views(
    run: RunSource, pairs: Sequence[Pair], data_dir: str | pathlib.Path | None
) -> _RunViews:
    run = _load(run, data_dir)
    scenes = scene_numbers(pairs)
    pair_maps = compute_maps(run, pairs, run.data_dir, scenes)
    return _RunViews(
        run.config.features,
        [_view(pair_maps, row, scene) for row, scene in enumerate(scenes)],
        join_labels(run.label, read_notice(run.data_dir)),
        run.data_dir,
    )


def _label(
    manifest: Manifest, columns: Sequence[_RunViews], pairs: Sequence[Pair]
) -> str:
    """The notices about the pairs and the data of the runs."""
    split_of = dict(zip(manifest.pairs, manifest.splits, strict=True))
    trained = any(split_of[pair] == TRAINING for pair in pairs)
    return join_labels(
        "shows training pairs" if trained else "",
        *(column.label for column in columns),
    )


def _view(pair_maps: PairMaps, row: int, scene: int) -> View:
    maps = pair_maps.maps
    probs = maps.scene_probs[row]
    return View(
        log_mel_db=pair_maps.log_mel_db[row],
        image_map=None if maps.image is None else maps.image[row],
        log_mel_map=None if maps.log_mel is None else maps.log_mel[row],
        true_prob=float(probs[scene]),
        predicted=labels.scenes()[int(probs.argmax())],
        centres=pair_maps.centres,
    )
