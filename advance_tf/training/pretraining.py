"""Pretrains one tower with the trainer of `fit`, and writes its weights."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from advance_tf import config as config_module
from advance_tf.config import Config
from advance_tf.files import replacing
from advance_tf.losses.transfer import Term
from advance_tf.models import weights
from advance_tf.training import callbacks, runtime, session
from advance_tf.training.optimizer import build_optimizer
from advance_tf.training.trainer import Score, Trainer
from advance_tf.training.validation_scores import Scorer, ValidationScores, collect
from advance_tf.training.workdir import check_resume, versions

TOWER_WEIGHTS = "tower.npz"
SETTINGS = "pretrain.json"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a pretraining is made from, kept in pretrain.json.

    Attributes:
        tower: "image" or "audio".
        tags: CSV of the clips' events, "" for images.
        held_out: share held out for validation.
        plateau_patience: epochs without a better score before the rate drops.
        mixup: strength of mixup on clips.
    """

    tower: str
    tags: str = ""
    held_out: float = 0.2
    plateau_patience: int = 5
    mixup: float = 1.0


def settle(
    workdir: pathlib.Path,
    read_flags: Callable[[Config], Config],
    base: Config,
    given: Mapping[str, Any],
) -> tuple[Config, Settings]:
    """Joins flags with an earlier part of the run, and writes pretrain.json.

    Args:
        workdir: folder of the run.
        read_flags: lays the user's settings over a configuration.
        base: the configuration of a new run.
        given: fields of `Settings` that the user gave.

    Returns:
        The configuration and the settings.

    Raises:
        ValueError: the tower is not given, or the user's settings contradict an
            earlier part of the run.
    """
    path = workdir / SETTINGS
    stored: dict[str, Any] = {}
    if path.exists():
        contents = json.loads(path.read_text(encoding="utf-8"))
        earlier, stored = config_module.from_dict(contents["config"]), contents["run"]
        config = read_flags(earlier)
        check_resume(earlier, config)
        changed = [name for name in given if given[name] != stored[name]]
        if changed:
            raise ValueError(
                "A run resumes under the settings that it began with; changed: "
                f"{', '.join(f'--{name}' for name in changed)}. Leave them out or use "
                "another --workdir."
            )
    else:
        config = read_flags(base)
    fields = {**stored, **given}
    if not fields.get("tower") or not config.data.data_dir:
        raise ValueError("--tower and --data_dir must be given; received not both.")
    settings = Settings(**fields)
    contents = {
        "config": config_module.to_dict(config),
        "run": dataclasses.asdict(settings),
        "versions": versions(),
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
    return config, settings


class Pretraining:
    """A tower with a head on its way from random weights to a file.

    Args:
        config: model and training are read.
        workdir: folder of the run.
        build: makes the model; called in the strategy's scope.
        objective: what it minimizes.
        target: name of the target that is scored.
        scorer: from targets and outputs of the validation set to scores.
        monitor: the score that decides the best weights.
        plateau_patience: epochs without a better score before the rate drops.
    """

    def __init__(
        self,
        config: Config,
        workdir: pathlib.Path,
        *,
        build,
        objective: Mapping[str, Term],
        target: str,
        scorer: Scorer,
        monitor: str,
        plateau_patience: int,
        scores: Sequence[Score] = (),
    ):
        self.config = config
        self.workdir = workdir
        self.target = target
        self.scorer = scorer
        self.monitor = monitor
        self.plateau_patience = plateau_patience
        with runtime.start(config.training).scope():
            self.trainer = Trainer(build(), objective, scores)
            policy = keras.config.dtype_policy().name
            self.trainer.compile(
                optimizer=build_optimizer(config.training, policy == "mixed_float16"),
                jit_compile=False,
            )
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
        self.trainer.model.load_weights(self.workdir / callbacks.BEST_WEIGHTS)
        targets, outputs = collect(
            self.trainer.model, validation, self.target, self.output
        )
        return {name: float(v) for name, v in self.scorer(targets, outputs).items()}

    def save(self, tower: str, source: str) -> pathlib.Path:
        """Writes the best tower with its head.

        Args:
            tower: "image" or "audio".
            source: what it was trained on, in words.

        Returns:
            The path of the file, for --image_weights, --audio_weights, --teacher.
        """
        model, trained = self.config.model, self.trainer.model
        metadata = weights.TowerMetadata(
            tower=tower,
            depth=getattr(model, f"{tower}_depth"),
            width=getattr(model, f"{tower}_width"),
            source=source,
            log_mel_stats=self.config.features.log_mel_stats,
        )
        path = self.workdir / TOWER_WEIGHTS
        head = trained.get_layer(weights.HEADS[tower])
        weights.save_tower(path, trained.get_layer(f"{tower}_tower"), metadata, head)
        return path


def class_accuracy(targets: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """The share of images whose class is right.

    Args:
        targets: int [n].
        logits: [n, classes].

    Returns:
        "accuracy" in [0, 1].
    """
    return {"accuracy": float((logits.argmax(1) == targets).mean())}
