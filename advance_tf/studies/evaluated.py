"""The evaluation of a trained run on a split."""

import pathlib
from collections.abc import Sequence

import numpy as np

from advance_tf import labels
from advance_tf.config import to_dict
from advance_tf.data.dataset import make_dataset
from advance_tf.data.layout import Pair
from advance_tf.data.media import media_errors
from advance_tf.data.notice import read_notice
from advance_tf.metrics.evaluation import Evaluation, evaluate_predictions
from advance_tf.metrics.report import join_labels, write_report
from advance_tf.models.weights import file_sha256
from advance_tf.serving.event_probs import event_probs, softmax
from advance_tf.studies.taught import TaughtRun
from advance_tf.training.callbacks import BEST_WEIGHTS, LOG
from advance_tf.training.workdir import Run
from advance_tf.visualization.plots import run_pictures


def run_names(workdirs: Sequence[str | pathlib.Path]) -> list[str]:
    """The shortest endings of paths that tell them apart.

    Args:
        workdirs: folders of runs.

    Returns:
        For example "event/0" and "none/0"; a folder that is a bare number
        always has its parent before it.
    """
    parts = [pathlib.Path(workdir).resolve().parts for workdir in workdirs]
    least = 2 if any(own[-1].isdigit() for own in parts) else 1
    for length in range(least, max(map(len, parts))):
        names = [pathlib.PurePath(*own[-length:]).as_posix() for own in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return [str(workdir) for workdir in workdirs]


def scene_indices(pairs: Sequence[Pair]) -> np.ndarray:
    """The true scenes of pairs, int64 [n]."""
    return np.array([labels.scenes().index(pair.scene) for pair in pairs], np.int64)


def predict_pairs(
    run: Run,
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    *,
    batch_size: int | None = None,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """What a run's model says of pairs, each decoded from its files.

    Args:
        run: loaded.
        pairs: at least one.
        data_dir: folder of the data set.
        batch_size: pairs in a batch; by default as the run was trained.
        progress: show a bar.

    Returns:
        Output name → float32 with a row for each pair; `scene_logits` [n, 13]
        is always there.

    Raises:
        ValueError: a file cannot be read.
    """
    features = run.config.features
    size = batch_size or run.config.training.batch_size
    batches = make_dataset(pairs, data_dir, features, size)
    with media_errors(pairs, data_dir, features):
        return run.recognizer.predict(
            batches.map(lambda inputs, _: inputs), verbose=int(progress)
        )


def evaluate_run(
    taught: TaughtRun,
    split: str,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Predicts every pair of a split and scores the predictions.

    Nothing is augmented, and each pair is decoded from its files.

    Args:
        taught: a run.
        split: "training", "validation", "test" or "all".
        batch_size: pairs in a batch; by default as the run was trained.
        seed: of the resamples behind the intervals.
        progress: show a bar.

    Returns:
        The evaluation, labelled with what must be said of the data.

    Raises:
        ValueError: the split has no pair, or a file cannot be read.
    """
    run = taught.run
    pairs = run.pairs_of(split)
    outputs = predict_pairs(
        run, pairs, taught.data_dir, batch_size=batch_size, progress=progress
    )
    events = event_probs(outputs, taught.knowledge)
    seen = "measured on training pairs" if split in ("training", "all") else ""
    return evaluate_predictions(
        [pair.stem for pair in pairs],
        [pair.site for pair in pairs],
        scene_indices(pairs),
        softmax(outputs["scene_logits"]),
        event_probs=events.probs,
        event_source=events.source,
        split=split,
        label=join_labels(seen, run.label, read_notice(taught.data_dir)),
        seed=seed,
        details={
            "workdir": str(run.workdir),
            "config": to_dict(run.config),
            "data_dir": str(taught.data_dir),
            "weights_sha256": file_sha256(run.workdir / BEST_WEIGHTS),
        },
    )


def write_evaluation(
    taught: TaughtRun,
    evaluation: Evaluation,
    output_dir: str | pathlib.Path | None = None,
) -> pathlib.Path:
    """Writes an evaluation with its pictures.

    Args:
        taught: the run.
        evaluation: of it.
        output_dir: by default <workdir>/evaluation/<split>.

    Returns:
        The folder.
    """
    workdir, split = taught.run.workdir, evaluation.split
    folder = pathlib.Path(output_dir or workdir / "evaluation" / split)
    pictures = run_pictures(
        workdir / LOG,
        evaluation.confusion,
        evaluation.scenes,
        f"{run_names([workdir])[0]}, {split}",
        evaluation.label,
    )
    write_report(folder, evaluation, pictures)
    return folder
