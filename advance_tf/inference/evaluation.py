"""The evaluation of a trained run on a split."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from advance_tf import labels
from advance_tf.checksums import file_sha256
from advance_tf.config_io import to_dict
from advance_tf.data.layout import join_labels, read_notice
from advance_tf.data.pairing import Pair
from advance_tf.inference.predictor import Predictor
from advance_tf.metrics.evaluation import Evaluation, evaluate_predictions
from advance_tf.runs.workdir import Run, as_run
from advance_tf.training.callbacks import BEST_WEIGHTS


def run_names(workdirs: Sequence[str | pathlib.Path]) -> list[str]:
    """The shortest endings of paths that are unique.

    Args:
        workdirs: folders of runs.

    Returns:
        For example "event/0" and "none/0"; a folder whose name is a number
        always has its parent before it.

    >>> run_names(["runs/event", "runs/none"])
    ['event', 'none']
    >>> run_names(["tables/event/0", "tables/none/0"])
    ['event/0', 'none/0']
    """
    parts = [pathlib.Path(workdir).resolve().parts for workdir in workdirs]
    least = 2 if any(own[-1].isdigit() for own in parts) else 1
    for length in range(least, max(map(len, parts))):
        names = [pathlib.PurePath(*own[-length:]).as_posix() for own in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return [str(workdir) for workdir in workdirs]


def true_scenes(pairs: Sequence[Pair]) -> np.ndarray:
    """The indices of the scenes of pairs, int64 [n] in 0..12."""
    return np.array([labels.scenes().index(pair.scene) for pair in pairs], np.int64)


def evaluate(
    run: Run | str | pathlib.Path,
    split: str = "test",
    *,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Predicts every pair of a split and scores the predictions.

    Nothing is augmented, and each pair is decoded from its files.

    Args:
        run: a loaded run, or its folder.
        split: "training", "validation", "test" or "all".
        batch_size: pairs in a batch; None for the value of the training.
        seed: seed of the bootstrap resamples of the confidence intervals.
        progress: whether to show a progress bar on a terminal.

    Returns:
        The evaluation; its label states what limits its scores, such as a split
        with shared sites.

    Raises:
        ValueError: the split has no pair, or a file cannot be read.

    Example:
        >>> import advance_tf
        >>> evaluation = advance_tf.evaluate("runs/event")  # doctest: +SKIP
        >>> evaluation.weighted_f  # doctest: +SKIP
    """
    run = as_run(run)
    pairs = run.pairs_of(split)
    found = Predictor.from_run(run).predict_pairs(
        pairs,
        run.data_dir,
        batch_size=batch_size or run.config.training.batch_size,
        progress=progress,
    )
    events = found.events
    measured = "measured on training pairs" if split in ("training", "all") else ""
    return evaluate_predictions(
        [pair.stem for pair in pairs],
        [pair.site for pair in pairs],
        true_scenes(pairs),
        found.scene_probs,
        event_probs=events.probs,
        event_source=events.source,
        split=split,
        label=join_labels(measured, run.label, read_notice(run.data_dir)),
        seed=seed,
        details={
            "workdir": str(run.workdir),
            "config": to_dict(run.config),
            "data_dir": str(run.data_dir),
            "initial_weights": {
                tower: dataclasses.asdict(source)
                for tower, source in run.weights.items()
            },
            "weights_sha256": file_sha256(run.workdir / BEST_WEIGHTS),
        },
    )
