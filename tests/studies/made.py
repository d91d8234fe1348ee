"""A small study, and runs that are trained by writing them."""

import pathlib

import keras
import numpy as np

from advance_tf import config_flags, labels
from advance_tf.metrics.evaluation import evaluate_predictions
from advance_tf.metrics.report import write_report
from advance_tf.models.recognizer import build_recognizer
from advance_tf.models.weights import file_sha256
from advance_tf.serving.event_probs import softmax
from advance_tf.studies.study import open_study
from advance_tf.training.callbacks import BEST_WEIGHTS, CHECKPOINT
from advance_tf.training.checkpoint import Progress, save_state
from advance_tf.training.workdir import write_config

SMALL = {
    "image_depth": 18,
    "audio_depth": 18,
    "image_width": 2,
    "audio_width": 2,
    "image_size": 32,
    "clip_seconds": 1.0,
    "batch_size": 13,
    "epochs": 2,
    "drop_epochs": (),
}


def a_study(folder: pathlib.Path, data_dir: pathlib.Path, **settings):
    """A study in a folder."""
    given = {"data_dir": str(data_dir), **SMALL, **settings}
    return open_study(
        folder / "study", given, config_flags.parse, config_flags.arguments_of
    )


def write_trained(job, manifest, *, best_score: float = 0.5) -> None:
    """The folder of a finished run of a job, with weights of its seed."""
    job.workdir.mkdir(parents=True)
    write_config(job.workdir, job.config, manifest)
    manifest.save(job.workdir / "manifest.csv")
    config = job.config
    keras.utils.set_random_seed(config.training.seed)
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    recognizer.save_weights(job.workdir / BEST_WEIGHTS)
    write_progress(job, best_score=best_score)


def write_progress(job, *, epochs: int | None = None, best_score: float = 0.5) -> None:
    """A checkpoint that tells of finished epochs."""
    trainer = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    trainer.model = trainer
    trainer.compile("sgd", "mse")
    trainer.optimizer.build(trainer.trainable_variables)
    done = job.config.training.epochs if epochs is None else epochs
    job.workdir.mkdir(parents=True, exist_ok=True)
    save_state(job.workdir / CHECKPOINT, trainer, Progress(done, done, best_score))


def write_evaluated(job, manifest) -> None:
    """The folder of a finished and evaluated run; its weights are never loaded.

    Predictions are drawn at random from the run's name, and lean to the truth.
    """
    job.workdir.mkdir(parents=True)
    write_config(job.workdir, job.config, manifest)
    write_progress(job)
    weights = job.workdir / BEST_WEIGHTS
    weights.write_bytes(job.name.encode())
    pairs = manifest.of("test")
    true = np.array([labels.scenes().index(pair.scene) for pair in pairs])
    rng = np.random.default_rng(list(job.name.encode()))
    logits = rng.normal(size=(len(pairs), 13)) + 2 * rng.random() * np.eye(13)[true]
    evaluation = evaluate_predictions(
        [pair.stem for pair in pairs],
        [pair.site for pair in pairs],
        true,
        softmax(logits),
        label="made",
        resamples=2,
        details={
            "data_dir": job.config.data.data_dir,
            "weights_sha256": file_sha256(weights),
        },
    )
    write_report(job.workdir / "evaluation" / "test", evaluation)
