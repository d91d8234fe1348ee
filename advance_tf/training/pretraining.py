"""Pretrains one tower with the trainer of `advance fit` and writes its weights."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from advance_tf.config import Config
from advance_tf.data import pretraining, tagged_clips
from advance_tf.data.media_errors import media_errors
from advance_tf.data.sampling import (
    TrainingEpochs,
    check_split_size,
    evaluation_batch_size,
)
from advance_tf.features.pipelines import keep_small
from advance_tf.files import remove_partial_files
from advance_tf.locks import lock_folder
from advance_tf.losses.objective import Term, class_objective, event_objective
from advance_tf.metrics.tagging import summary_scores
from advance_tf.models import weights
from advance_tf.models.backbones.registry import sound_input
from advance_tf.models.recognizer import (
    build_audio_tagger,
    build_image_classifier,
    dtype_policy,
)
from advance_tf.training import callbacks, runtime, session
from advance_tf.training.callbacks import Scorer, ValidationScores, collect
from advance_tf.training.pretraining_settings import (
    PretrainingSettings,
    combine_settings,
    write_settings,
)
from advance_tf.training.trainer import Trainer

TOWER_WEIGHTS = "tower.npz"


class Pretraining:
    """Trains a tower with a classification head and saves both.

    Args:
        config: model, features and training are used.
        workdir: folder of the run.
        model: the model to train, built in the scope of `strategy`.
        strategy: strategy of the training, as returned by `runtime.start`.
        objective: term name → `Term` to minimize.
        target: name of the target that is scored.
        scorer: function of targets and outputs of the validation set that
            returns score name → value.
        monitor: the score that selects the best weights.
        plateau_patience: epochs without a better score before the rate drops; 0 for
            the schedule of the configuration.
    """

    def __init__(
        self,
        config: Config,
        workdir: pathlib.Path,
        *,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        objective: Mapping[str, Term],
        target: str,
        scorer: Scorer,
        monitor: str,
        plateau_patience: int,
    ) -> None:
        self.config = config
        self.workdir = workdir
        self.target = target
        self.scorer = scorer
        self.monitor = monitor
        self.plateau_patience = plateau_patience
        with strategy.scope():
            self.trainer = Trainer(model, objective)
            session.compile_trainer(self.trainer, config.training)
            self.progress = session.start_or_resume(self.trainer, workdir)
        self.output = next(iter(objective.values())).output

    def run(
        self, training: tf.data.Dataset, validation: tf.data.Dataset
    ) -> dict[str, float]:
        """Trains to the last epoch and scores the best weights.

        Args:
            training: batches whose first pass is that of `progress.epochs`.
            validation: batches.

        Returns:
            Scores of the best weights on the validation batches.
        """
        # Each epoch reads them twice, for the loss and for the scores.
        validation = keep_small(validation)
        scoring = ValidationScores(validation, self.target, self.output, self.scorer)
        self.progress = session.fit(
            self.trainer,
            training,
            validation,
            self.config.training,
            self.workdir,
            progress=self.progress,
            monitor=f"val_{self.monitor}",
            before_record=[scoring],
            plateau_patience=self.plateau_patience,
        )
        callbacks.load_best_weights(self.workdir, self.trainer.model)
        targets, outputs = collect(
            self.trainer.model, validation, self.target, self.output
        )
        return {name: float(v) for name, v in self.scorer(targets, outputs).items()}

    def save(self, tower: str, source: str) -> pathlib.Path:
        """Writes the best tower with its head.

        Args:
            tower: "image" or "audio".
            source: description of the training data, stored in the file.

        Returns:
            The path of the file: a value of `image_weights` or `audio_weights`,
            and a teacher for `load_teacher`.
        """
        trained, features = self.trainer.model, self.config.features
        audio = tower == "audio"
        metadata = dataclasses.replace(
            weights.tower_metadata(tower, self.config.model),
            source=source,
            log_mel_stats=features.log_mel_stats,
            log_mel_stats_sha256=weights.stats_sha256(features) if audio else "",
        )
        path = self.workdir / TOWER_WEIGHTS
        head = trained.get_layer(weights.HEADS[tower])
        weights.save_tower(path, trained.get_layer(f"{tower}_tower"), metadata, head)
        return path


def class_accuracy(targets: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Computes the fraction of images whose class is predicted correctly.

    Args:
        targets: int [n], class indices.
        logits: float [n, classes].

    Returns:
        "accuracy" in [0, 1].

    >>> class_accuracy(np.array([0, 1]), np.array([[2.0, 1.0], [3.0, 0.0]]))
    {'accuracy': 0.5}
    """
    return {"accuracy": float((logits.argmax(1) == targets).mean())}


PretrainingParts = tuple[Pretraining, tf.data.Dataset, tf.data.Dataset]


def build_image_pretraining(
    config: Config, settings: PretrainingSettings, workdir: pathlib.Path
) -> PretrainingParts:
    """Builds the pretraining of the image tower on a folder of image classes.

    The validation score is accuracy.

    Args:
        config: data_dir is the folder; model, features and training are used.
        settings: held_out and plateau_patience are used.
        workdir: folder of the run.

    Returns:
        The pretraining, its training batches and its validation batches.

    Raises:
        ValueError: the folder has too few classes or images, or the initial weights
            do not fit.
    """
    folder = pretraining.read_image_folder(config.data.data_dir, settings.held_out)
    check_split_size(config.training, "training", len(folder.training), "images")
    trained = session.run_precision(workdir)
    strategy = runtime.start(config.training, trained=trained)
    with strategy.scope():
        model = build_image_classifier(
            config.model, config.features, len(folder.classes)
        )
        _load_initial_weights(model, config, workdir, "image")
    run = Pretraining(
        config,
        workdir,
        model=model,
        strategy=strategy,
        objective=class_objective(),
        target="class",
        scorer=class_accuracy,
        monitor="accuracy",
        plateau_patience=settings.plateau_patience,
    )
    make_batches = functools.partial(
        pretraining.make_image_dataset,
        images_dir=config.data.data_dir,
        features=config.features,
        batch_size=config.training.batch_size,
    )
    epochs = TrainingEpochs.of(config.training, run.progress.epochs)
    training = make_batches(folder.training, training=epochs)
    size = _validation_batch_size(config, strategy, len(folder.validation))
    return run, training, make_batches(folder.validation, batch_size=size)


def _load_initial_weights(
    model: keras.Model, config: Config, workdir: pathlib.Path, tower: str
) -> None:
    # A run that has trained an epoch does not need the file any more.
    if not session.run_progress(workdir).epochs:
        weights.load_pretrained(model, config.model, towers=[tower])


def _validation_batch_size(
    config: Config, strategy: tf.distribute.Strategy, count: int
) -> int:
    replicas = strategy.num_replicas_in_sync
    return evaluation_batch_size(count, config.training.batch_size, replicas)


def build_audio_pretraining(
    config: Config, settings: PretrainingSettings, workdir: pathlib.Path
) -> PretrainingParts:
    """Builds the pretraining of the audio tower on tagged clips.

    The validation score is mean average precision.

    Args:
        config: data_dir is the folder of clips; model, features and training
            are used.
        settings: tags, held_out, plateau_patience and mixup are used.
        workdir: folder of the run.

    Returns:
        The pretraining, its training batches and its validation batches.

    Raises:
        ValueError: the tags are missing, list too few clips, or contain unknown
            events; the audio backbone takes waveforms; or the initial weights do not
            fit.
    """
    if not settings.tags:
        raise ValueError(
            "tags must be the path of a CSV of the clips' events; received none."
        )
    if sound_input(config.model) != "log_mel":
        raise ValueError(
            "audio_backbone must take log-mels to be pretrained on tagged clips; "
            f"received {config.model.audio_backbone}, which takes waveforms. Use "
            "resnet."
        )
    clips = tagged_clips.read_tags(
        settings.tags, config.data.data_dir, allow_missing=config.data.allow_missing
    )
    train_clips, held_out = tagged_clips.hold_out(clips, settings.held_out)
    check_split_size(config.training, "training", len(train_clips), "clips")
    trained = session.run_precision(workdir)
    strategy = runtime.start(config.training, trained=trained)
    with strategy.scope():
        model = build_audio_tagger(config.model, config.features)
        _load_initial_weights(model, config, workdir, "audio")
    run = Pretraining(
        config,
        workdir,
        model=model,
        strategy=strategy,
        objective=event_objective(),
        target="events",
        scorer=summary_scores,
        monitor="map",
        plateau_patience=settings.plateau_patience,
    )
    make_batches = functools.partial(
        pretraining.make_clip_dataset,
        clips_dir=config.data.data_dir,
        features=config.features,
        batch_size=config.training.batch_size,
        mixup_strength=settings.mixup,
    )
    epochs = TrainingEpochs.of(config.training, run.progress.epochs)
    training = make_batches(train_clips, training=epochs)
    size = _validation_batch_size(config, strategy, len(held_out))
    return run, training, make_batches(held_out, batch_size=size)


@dataclasses.dataclass(frozen=True)
class PretrainedTower:
    """The result of a pretraining.

    Attributes:
        path: the weights of the tower with its head, tower.npz.
        scores: score name → value of the best weights on the held-out data.
    """

    path: pathlib.Path
    scores: Mapping[str, float]


@dtype_policy()
def train_tower(
    config: Config, settings: PretrainingSettings, workdir: pathlib.Path
) -> PretrainedTower:
    """Trains a tower, or resumes.

    Args:
        config: of `combine_settings`; data_dir is the folder of images or clips;
            model, features and training are used.
        settings: tower, validation data and, for the audio tower, tags and mixup.
        workdir: folder of the run; the settings are stored in it.

    Returns:
        The weights and their scores.

    Raises:
        ValueError: the data or the tags are not valid, a file cannot be read, or
            another process trains the run.
    """
    is_image = settings.tower == "image"
    image_dir = config.data.data_dir if is_image else ""
    build = build_image_pretraining if is_image else build_audio_pretraining
    with lock_folder(workdir, "run"):
        remove_partial_files(workdir)
        write_settings(workdir, config, settings)
        with media_errors(features=config.features, image_dir=image_dir):
            run, *batches = build(config, settings, workdir)
            scores = run.run(*batches)
        path = run.save(settings.tower, source=f"pretrained on {config.data.data_dir}")
    return PretrainedTower(path, scores)


def pretrain(
    config: Config, settings: PretrainingSettings, workdir: str | pathlib.Path
) -> pathlib.Path:
    """Pretrains a tower with a classification head, or resumes.

    The image tower is trained on a folder of classes and selected by accuracy, the
    audio tower on tagged clips and selected by mean average precision. It starts from
    `image_weights` or `audio_weights`.

    Args:
        config: data_dir is the folder of images or clips; model, features and
            training are used. `config.PRETRAINING` has the defaults of
            `advance pretrain`: its learning rate is 1e-3, that of `Config()` 1e-5.
        settings: tower, validation data and, for the audio tower, tags and mixup.
        workdir: folder of the run. A run in it is resumed; once it has trained an
            epoch, it must have the same settings, except for more epochs.

    Returns:
        The path of <workdir>/tower.npz: a value of `image_weights` or
        `audio_weights`, and for the audio tower a teacher for `load_teacher`.

    Raises:
        ValueError: the settings differ from those of the run in `workdir`, one of a
            new run has no effect in a pretraining, the data or the tags are not valid,
            a file cannot be read, or another process trains the run.

    Example:
        config = replace_fields(PRETRAINING, {"data_dir": "clips"})
        settings = PretrainingSettings("audio", tags="tags.csv")
        path = pretrain(config, settings, "runs/tagger")
        teacher = advance_tf.teacher.load_teacher(path)
    """
    workdir = pathlib.Path(workdir)
    values = {
        name: value
        for group in dataclasses.asdict(config).values()
        for name, value in group.items()
    }
    config, settings = combine_settings(
        workdir, values, config, dataclasses.asdict(settings)
    )
    return train_tower(config, settings, workdir).path
