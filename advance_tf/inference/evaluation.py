"""The evaluation of a trained run on a split."""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf.config_io import to_dict
from advance_tf.data.dataset import scene_numbers
from advance_tf.data.layout import join_labels, read_notice
from advance_tf.data.pairing import Pair
from advance_tf.inference.predictor import Predictor, Probabilities
from advance_tf.metrics.evaluation import Evaluation, evaluate_predictions
from advance_tf.metrics.scores import confusion_matrix, weighted_scores
from advance_tf.models.heads import heads_model
from advance_tf.runs.workdir import Run, as_run
from advance_tf.training.activations import stored_embeddings, trains_on_stored
from advance_tf.training.frozen import embedding_folder


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


def predict_pairs(
    run: Run,
    pairs: Sequence[Pair],
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> Probabilities:
    """Predicts pairs of the data set of a run, without its temperature.

    A run that was trained on stored embeddings or activations of frozen towers uses
    these: the frozen parts compute, and store, only what pairs lack. One
    with modality_dropout runs its towers, for both inputs and for each alone.

    Args:
        run: a loaded run.
        pairs: the pairs, at least one.
        batch_size: pairs in a batch; None for the value of the training.
        progress: whether to show a progress bar on a terminal.

    Returns:
        The probabilities, in the order of the pairs.

    Raises:
        ValueError: a file cannot be read, or the logits are not finite.
    """
    predictor = Predictor.from_run(run, calibrated=False)
    folder = embedding_folder(run.config, run.workdir)
    is_single = not run.config.model.modality_dropout
    if is_single and trains_on_stored(run.config) and folder.is_dir():
        data = dataclasses.replace(run.config.data, data_dir=str(run.data_dir))
        embeddings = stored_embeddings(
            run.recognizer,
            dataclasses.replace(run.config, data=data),
            pairs,
            folder,
            progress=progress and sys.stderr.isatty(),
        )
        # Its layers, which have the precision of the run, whatever the policy is now.
        heads = heads_model(run.recognizer)
        logits = heads(embeddings.rows(range(len(pairs))), training=False)
        return predictor.probabilities({k: v.numpy() for k, v in logits.items()})
    return predictor.predict_pairs(
        pairs,
        run.data_dir,
        batch_size=batch_size or run.config.training.batch_size,
        progress=progress,
        single=True,
    )


def input_scores(
    true: np.ndarray, both: np.ndarray, single: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """The scores of a model with modality_dropout for each set of inputs.

    Args:
        true: int [n].
        both: scene probabilities [n, 13] from both inputs.
        single: "image" and "sound" → those from this input alone.

    Returns:
        "both", "image" and "sound" → weighted precision, recall, f_score and
        accuracy, in [0, 1]; empty where `single` is.
    """
    if not single:
        return {}
    return {
        name: {
            score: float(value)
            for score, value in weighted_scores(
                confusion_matrix(true, probs.argmax(axis=1), probs.shape[1])
            ).items()
        }
        for name, probs in {"both": both, **single}.items()
    }


def evaluate(
    run: Run | str | pathlib.Path,
    split: str = "test",
    *,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Predicts every pair of a split and scores the predictions.

    Nothing is augmented. Each pair is decoded from its files, unless the run stored
    the embeddings of its frozen towers, see `predict_pairs`.

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
    # Reports compare the probabilities with and without a temperature.
    found = predict_pairs(run, pairs, batch_size=batch_size, progress=progress)
    true = scene_numbers(pairs)
    events = found.events
    measured = "measured on training pairs" if split in ("training", "all") else ""
    return evaluate_predictions(
        [pair.stem for pair in pairs],
        [pair.site for pair in pairs],
        true,
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
                for tower, source in run.initial_weights.items()
            },
            "inputs": input_scores(true, found.scene_probs, found.single),
            "weights_sha256": run.weights_sha256,
        },
    )
