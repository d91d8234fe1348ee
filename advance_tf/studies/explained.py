"""Runs side by side on the same pairs: activation maps and their figure."""

import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from advance_tf import labels
from advance_tf.data.dataset import make_dataset
from advance_tf.data.layout import Pair
from advance_tf.data.media import media_errors
from advance_tf.data.notice import read_notice
from advance_tf.data.splits import TRAINING
from advance_tf.metrics.report import join_labels
from advance_tf.serving.event_probs import softmax
from advance_tf.studies import chosen
from advance_tf.studies.evaluated import run_names
from advance_tf.studies.looked import (
    Looked,
    look,
    scene_indices,
    shown_image,
)
from advance_tf.training.workdir import Run, load_run
from advance_tf.visualization.cam_figure import Row, View, cam_figure


def load_runs(workdirs: Sequence[str]) -> list[Run]:
    """Loads runs that may be compared pair by pair.

    Args:
        workdirs: folders of runs.

    Returns:
        The runs, all of one manifest; features may differ.

    Raises:
        ValueError: there is none, or one is of other pairs or another split.
    """
    if not workdirs:
        raise ValueError("--workdirs must name at least one run; received none.")
    runs = [load_run(workdir) for workdir in workdirs]
    hashes = [run.manifest.sha256 if run.manifest else "none" for run in runs]
    if len(set(hashes)) > 1:
        received = ", ".join(
            f"{run.workdir}: {hash_[:12]}"
            for run, hash_ in zip(runs, hashes, strict=True)
        )
        raise ValueError(
            "All --workdirs must be runs on the same manifest, or a training pair of "
            f"one is a test pair of another; received {received}. Train them with the "
            "same --manifest."
        )
    return runs


def true_probs(run: Run, pairs: Sequence[Pair], data_dir) -> np.ndarray:
    """The probability of the true scene of each pair, float32 [n]."""
    features, size = run.config.features, run.config.training.batch_size
    with media_errors(pairs, data_dir, features):
        outputs = run.recognizer.predict(
            make_dataset(pairs, data_dir, features, size).map(lambda x, _: x), verbose=0
        )
    probs = softmax(outputs["scene_logits"])
    return probs[np.arange(len(pairs)), scene_indices(pairs)]


def explain(
    runs: Sequence[Run],
    split: str,
    *,
    data_dir: str | None = None,
    stems: Sequence[str] = (),
    pairs: int = 4,
    choose: str = chosen.SPREAD,
) -> Figure:
    """The figure of runs on the same pairs, maps of the true scene.

    Args:
        runs: of `load_runs`.
        split: to choose pairs from.
        data_dir: folder of the data set; by default as each run was trained.
        stems: pairs by name, of any split; empty: chosen.
        pairs: how many to choose.
        choose: "spread" over the scenes, or "gain": where the last run gives the
            true scene most more than the first.

    Returns:
        A figure for `canvas.png`; it says how the pairs were chosen.

    Raises:
        ValueError: a stem is unknown, a file cannot be read, or there are not
            two runs to gain.
    """
    names = run_names([run.workdir for run in runs])
    folders = [data_dir or run.config.data.data_dir for run in runs]
    if stems:
        found = chosen.by_stem(runs[0].pairs_of("all"), stems)
        note = "Pairs chosen by hand with --stems; they are not representative."
    elif choose == chosen.GAIN:
        found, note = _gaining(runs, names, folders, split, pairs)
    else:
        found = chosen.spread_over_scenes(runs[0].pairs_of(split), pairs)
        note = f"Pairs spread evenly over the scenes of '{split}', whatever they show."
    scenes = scene_indices(found)
    views = [
        look(run, found, folder, scenes)
        for run, folder in zip(runs, folders, strict=True)
    ]
    rows = [
        Row(
            pair.stem,
            pair.scene,
            shown_image(pathlib.Path(folders[0]) / pair.image),
            tuple(_view(own, place, scenes[place]) for own in views),
        )
        for place, pair in enumerate(found)
    ]
    return cam_figure(
        names,
        [run.config.features for run in runs],
        rows,
        title="Where the scene is seen and heard",
        note=note,
        label=_label(runs, folders, found),
    )


def _gaining(runs, names, folders, split: str, count: int) -> tuple[list[Pair], str]:
    if len(runs) < 2:
        raise ValueError(
            "--choose=gain compares the last of --workdirs with the first; received "
            "one run. Name two, or use --choose=spread."
        )
    pairs = runs[0].pairs_of(split)
    before, after = (true_probs(runs[k], pairs, folders[k]) for k in (0, -1))
    note = (
        f"Pairs of '{split}' on which {names[-1]} gives the true scene most more "
        f"than {names[0]}: chosen for the gain, one of each site, not representative. "
        f"Over all {len(pairs)} pairs the mean gain is {(after - before).mean():+.3f}."
    )
    return chosen.most_gaining(pairs, before, after, count), note


def _label(runs, folders, pairs: Sequence[Pair]) -> str:
    """What must be said of the data of the pairs and the runs."""
    manifest = runs[0].manifest
    splits = dict(zip(manifest.pairs, manifest.splits, strict=True))
    seen = any(splits[pair] == TRAINING for pair in pairs)
    return join_labels(
        "shows training pairs" if seen else "",
        *(run.label for run in runs),
        *(read_notice(folder) for folder in folders),
    )


def _view(looked: Looked, place: int, scene: int) -> View:
    maps = looked.maps
    probs = maps.scene_probs[place]
    return View(
        log_mel_db=looked.log_mel_db[place],
        image_map=None if maps.image is None else maps.image[place],
        log_mel_map=None if maps.log_mel is None else maps.log_mel[place],
        true_prob=float(probs[scene]),
        predicted=labels.scenes()[int(probs.argmax())],
    )
