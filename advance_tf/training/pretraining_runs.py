"""Joins data, model and objective for the pretraining of each tower."""

import functools
import pathlib

import tensorflow as tf

from advance_tf.config import Config
from advance_tf.data import folders, pretraining, tagged
from advance_tf.losses.pretraining import class_objective, event_objective
from advance_tf.models.recognizer import build_audio_tagger, build_image_classifier
from advance_tf.training.pretraining import Pretraining, Settings, class_accuracy
from advance_tf.training.validation_scores import Scorer

Run = tuple[Pretraining, tf.data.Dataset, tf.data.Dataset]


def image_run(config: Config, settings: Settings, workdir: pathlib.Path) -> Run:
    """The image tower on a folder of classes, scored by accuracy.

    Args:
        config: data_dir is the folder; model, features and training are read.
        settings: held_out and plateau_patience are read.
        workdir: folder of the run.

    Returns:
        The pretraining, its training and its validation batches.

    Raises:
        ValueError: the folder has too few classes or images.
    """
    folder = folders.read_image_folder(config.data.data_dir, settings.held_out)
    run = Pretraining(
        config,
        workdir,
        build=lambda: build_image_classifier(
            config.model, config.features, len(folder.classes)
        ),
        objective=class_objective(),
        target="class",
        scorer=class_accuracy,
        monitor="accuracy",
        plateau_patience=settings.plateau_patience,
    )
    make = functools.partial(
        pretraining.make_image_dataset,
        images_dir=config.data.data_dir,
        features=config.features,
        batch_size=config.training.batch_size,
        seed=config.training.seed,
    )
    first = run.progress.epochs
    training = make(folder.training, training=True, first_epoch=first)
    return run, training, make(folder.validation)


def audio_run(
    config: Config, settings: Settings, workdir: pathlib.Path, scorer: Scorer
) -> Run:
    """The audio tower on tagged clips, scored by mean average precision.

    Args:
        config: data_dir is the folder of clips; model, features and training
            are read.
        settings: tags, held_out, plateau_patience and mixup are read.
        workdir: folder of the run.
        scorer: from targets and logits to scores, "map" among them.

    Returns:
        The pretraining, its training and its validation batches.

    Raises:
        ValueError: the tags are missing, name no clip, or hold unknown events.
    """
    if not settings.tags:
        raise ValueError("--tags must name the CSV of the clips' events.")
    clips = tagged.read_tags(
        settings.tags, config.data.data_dir, allow_missing=config.data.allow_missing
    )
    kept, held_out = tagged.hold_out(clips, settings.held_out)
    run = Pretraining(
        config,
        workdir,
        build=lambda: build_audio_tagger(config.model, config.features),
        objective=event_objective(),
        target="events",
        scorer=scorer,
        monitor="map",
        plateau_patience=settings.plateau_patience,
    )
    make = functools.partial(
        pretraining.make_clip_dataset,
        clips_dir=config.data.data_dir,
        features=config.features,
        batch_size=config.training.batch_size,
        seed=config.training.seed,
        mixup_strength=settings.mixup,
    )
    first = run.progress.epochs
    training = make(kept, training=True, first_epoch=first)
    return run, training, make(held_out)
