"""Trains the jobs of studies with partly frozen towers on stored activations."""

import dataclasses
import pathlib
from collections.abc import Sequence

from advance_tf.config import Config
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair, rows_of
from advance_tf.data.splits import TRAINING, VALIDATION
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training.activations import compute_activations
from advance_tf.training.frozen import embedding_folder, frozen_recognizer
from advance_tf.training.heads import HeadModel
from advance_tf.training.partly_frozen import train_rest


@dataclasses.dataclass(frozen=True)
class ActivationFiles:
    """Stored activations, which each process opens by itself.

    Attributes:
        pairs: all pairs of the data set.
        folder: folder of stored embeddings.
    """

    pairs: tuple[Pair, ...]
    folder: pathlib.Path


def write_activations(
    config: Config, pairs: Sequence[Pair], *, progress: bool = True
) -> ActivationFiles:
    """Computes and stores the activations of all pairs that a job needs.

    Args:
        config: a configuration of `trains_on_activations`.
        pairs: all pairs of the data set; every pair has `cached_views` views, as any
            may be in training.
        progress: show a progress bar.

    Returns:
        Where they are.

    Raises:
        ValueError: a file cannot be read or does not fit.
    """
    files = ActivationFiles(
        tuple(pairs), embedding_folder(config, config.data.cache_dir)
    )
    compute_activations(
        frozen_recognizer(config),
        config,
        files.pairs,
        files.folder,
        augmented=range(len(pairs)) if config.training.cached_views > 1 else (),
        progress=progress,
    )
    return files


def train_activation_job(
    config: Config,
    files: ActivationFiles,
    manifest: Manifest,
    knowledge: EventKnowledge | None,
) -> HeadModel:
    """Trains heads and parts of towers on one split.

    Args:
        config: a configuration of `trains_on_activations`.
        files: activations of `write_activations`.
        manifest: pairs and splits.
        knowledge: event knowledge of the split; None only for transfer "none".

    Returns:
        The trained parts; row i is that of pair i of the manifest.

    Raises:
        ValueError: a split is too small, or the loss is not finite.
    """
    recognizer = frozen_recognizer(config)
    rows = rows_of(manifest.pairs, [pair.key for pair in files.pairs]).tolist()
    training = manifest.positions(TRAINING)
    activations = compute_activations(
        recognizer,
        config,
        files.pairs,
        files.folder,
        rows=rows,
        augmented=[rows[position] for position in training],
        progress=False,
    )
    return train_rest(
        config,
        activations,
        training,
        manifest.positions(VALIDATION),
        recognizer,
        knowledge=knowledge,
    )
