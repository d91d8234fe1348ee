"""A small study, and files of its runs as training and evaluation write them."""

import pathlib

import keras
import numpy as np

from advance_tf import labels
from advance_tf.checksums import file_sha256
from advance_tf.experiments.study import open_study
from advance_tf.metrics.evaluation import evaluate_predictions
from advance_tf.metrics.probabilities import softmax
from advance_tf.models.recognizer import build_recognizer
from advance_tf.reporting.evaluation_report import write_report
from advance_tf.runs.workdir import write_config
from advance_tf.training.callbacks import BEST_WEIGHTS, CHECKPOINT
from advance_tf.training.checkpoint import Progress, save_state

SMALL = {
    "image_depth": 10,
    "audio_depth": 10,
    "image_width": 2,
    "audio_width": 2,
    "image_size": 32,
    "clip_seconds": 1.0,
    "batch_size": 13,
    "epochs": 2,
    "drop_epochs": (),
}


def open_small_study(folder: pathlib.Path, data_dir: pathlib.Path, **settings):
    """Opens a study with small models in a subfolder."""
    given = {"data_dir": str(data_dir), **SMALL, **settings}
    return open_study(folder / "study", given)


def write_trained(job, manifest, *, best_score: float = 0.5) -> None:
    """Writes a finished run of a job, with the initial weights of its seed."""
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
    """Writes a checkpoint after some epochs, by default all."""
    trainer = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    trainer.model = trainer
    trainer.compile("sgd", "mse")
    trainer.optimizer.build(trainer.trainable_variables)
    epochs = job.config.training.epochs if epochs is None else epochs
    job.workdir.mkdir(parents=True, exist_ok=True)
    save_state(job.workdir / CHECKPOINT, trainer, Progress(epochs, epochs, best_score))


def write_evaluated(job, manifest) -> None:
    """Writes a finished and evaluated run, whose weights cannot be loaded.

    Predictions are random, with the name of the run as seed, and biased towards
    the true scene.
    """
    job.workdir.mkdir(parents=True)
    write_config(job.workdir, job.config, manifest)
    write_progress(job)
    weights = job.workdir / BEST_WEIGHTS
    weights.write_bytes(job.name.encode())
    pairs = manifest.pairs_of("test")
    true = np.array([labels.scenes().index(pair.scene) for pair in pairs])
    rng = np.random.default_rng(list(job.name.encode()))
    logits = rng.normal(size=(len(pairs), 13)) + 2 * rng.random() * np.eye(13)[true]
    evaluation = evaluate_predictions(
        [pair.stem for pair in pairs],
        [pair.site for pair in pairs],
        true,
        softmax(logits),
        label="random predictions",
        resamples=2,
        details={
            "data_dir": job.config.data.data_dir,
            "weights_sha256": file_sha256(weights),
        },
    )
    write_report(job.workdir / "evaluation" / "test", evaluation)
