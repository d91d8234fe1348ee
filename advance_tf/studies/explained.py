"""Runs side by side on the same pairs: activation maps and their figure."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data.layout import Pair
from advance_tf.data.manifest import Manifest
from advance_tf.data.notice import read_notice
from advance_tf.data.splits import TRAINING, spread_over_scenes
from advance_tf.metrics.report import join_labels
from advance_tf.serving.event_probs import softmax
from advance_tf.studies import chosen
from advance_tf.studies.evaluated import predict_pairs, run_names, scene_indices
from advance_tf.studies.looked import Looked, look, shown_image
from advance_tf.training.workdir import MANIFEST, load_run, read_config
from advance_tf.visualization.cam_figure import Row, View, cam_figure


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """What the figure needs of a run, without its model."""

    features: FeatureConfig
    views: list[View]
    label: str
    data_dir: pathlib.Path


def shared_manifest(workdirs: Sequence[str | pathlib.Path]) -> Manifest:
    """The manifest of runs that may be compared pair by pair; loads no model.

    Args:
        workdirs: folders of runs; their features may differ.

    Returns:
        Their manifest.

    Raises:
        ValueError: there is no run, one has no manifest, or one is of other pairs
            or another split.
    """
    if not workdirs:
        raise ValueError("--workdirs must name at least one run; received none.")
    folders = [pathlib.Path(workdir) for workdir in workdirs]
    hashes = [read_config(folder)[1]["manifest_sha256"] for folder in folders]
    if len(set(hashes)) > 1:
        received = ", ".join(
            f"{folder}: {(hash_ or 'none')[:12]}"
            for folder, hash_ in zip(folders, hashes, strict=True)
        )
        raise ValueError(
            "All --workdirs must be runs on the same manifest, or a training pair of "
            f"one is a test pair of another; received {received}. Train them with the "
            "same --manifest."
        )
    if not hashes[0]:
        raise ValueError(
            f"{folders[0]} must have a {MANIFEST}; it was converted without data. "
            "Convert it again with --data_dir."
        )
    return Manifest.load(folders[0] / MANIFEST)


def explain(
    workdirs: Sequence[str | pathlib.Path],
    split: str,
    *,
    data_dir: str | None = None,
    stems: Sequence[str] = (),
    pairs: int = 4,
    choose: str = chosen.SPREAD,
) -> Figure:
    """The figure of runs on the same pairs, maps of the true scene.

    One run is loaded at a time.

    Args:
        workdirs: folders of runs of one manifest; their features may differ.
        split: to choose pairs from.
        data_dir: folder of the data set; by default as each run was trained.
        stems: pairs by name, of any split; empty: chosen.
        pairs: how many to choose.
        choose: "spread" over the scenes, or "gain": where the last run gains most
            over the first in the true scene's probability.

    Returns:
        A figure for `canvas.png`; it says how the pairs were chosen.

    Raises:
        ValueError: the runs are of different manifests, a stem is unknown, a file
            cannot be read, or there are not two runs to gain or no pair gains.
    """
    manifest = shared_manifest(workdirs)
    names = run_names(workdirs)
    if stems:
        found = chosen.by_stem(manifest.of("all"), stems)
        note = "Pairs chosen by hand with --stems; they are not representative."
    elif choose == chosen.GAIN:
        every = manifest.of(split)
        found, note = _gaining(workdirs, names, every, split, pairs, data_dir)
    else:
        found = spread_over_scenes(manifest.of(split), pairs)
        note = f"Pairs spread evenly over the scenes of '{split}', whatever they show."
    parts = [_looked(workdir, found, data_dir) for workdir in workdirs]
    rows = [
        Row(
            pair.stem,
            pair.scene,
            shown_image(parts[0].data_dir / pair.image),
            tuple(part.views[place] for part in parts),
        )
        for place, pair in enumerate(found)
    ]
    return cam_figure(
        names,
        [part.features for part in parts],
        rows,
        title="Where the scene is seen and heard",
        note=note,
        label=_label(manifest, parts, found),
    )


def _gaining(
    workdirs, names, pairs: Sequence[Pair], split: str, count: int, data_dir
) -> tuple[list[Pair], str]:
    """The pairs on which the last run gains over the first, and their caption."""
    if len(workdirs) < 2:
        raise ValueError(
            "--choose=gain compares the last of --workdirs with the first; received "
            "one run. Name two, or use --choose=spread."
        )
    before, after = (_true_probs(workdirs[k], pairs, data_dir) for k in (0, -1))
    found = chosen.most_gaining(pairs, before, after, count)
    if not found:
        raise ValueError(
            f"--choose=gain must find a pair on which {names[-1]} gives the true scene "
            f"a higher probability than {names[0]}; received none among {len(pairs)} "
            f"pairs of '{split}'. Turn --workdirs about, or use --choose=spread."
        )
    note = (
        f"Pairs of '{split}' on which {names[-1]} gains most over {names[0]} in the "
        "true scene's probability: chosen for the gain, one of each site, not "
        f"representative. Over all {len(pairs)} pairs the mean gain is "
        f"{(after - before).mean():+.3f}."
    )
    return found, note


def _true_probs(workdir, pairs: Sequence[Pair], data_dir) -> np.ndarray:
    """A run's probability of the true scene of each pair, float32 [n]."""
    run = load_run(workdir)
    logits = predict_pairs(run, pairs, data_dir or run.config.data.data_dir)
    probs = softmax(logits["scene_logits"])
    return probs[np.arange(len(pairs)), scene_indices(pairs)]


def _looked(workdir, pairs: Sequence[Pair], data_dir) -> _Part:
    """Loads a run, looks with it, and lets go of its model."""
    run = load_run(workdir)
    folder = pathlib.Path(data_dir or run.config.data.data_dir)
    scenes = scene_indices(pairs)
    seen = look(run, pairs, folder, scenes)
    return _Part(
        run.config.features,
        [_view(seen, place, scene) for place, scene in enumerate(scenes)],
        join_labels(run.label, read_notice(folder)),
        folder,
    )


def _label(manifest: Manifest, parts: Sequence[_Part], pairs: Sequence[Pair]) -> str:
    """What must be said of the data of the pairs and the runs."""
    splits = dict(zip(manifest.pairs, manifest.splits, strict=True))
    seen = any(splits[pair] == TRAINING for pair in pairs)
    return join_labels(
        "shows training pairs" if seen else "", *(part.label for part in parts)
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
