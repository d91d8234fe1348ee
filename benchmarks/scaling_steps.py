"""The steps of `benchmarks.scaling`, each measured in its own process."""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import resource
import time

import keras
import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import (
    Config,
    DataConfig,
    FeatureConfig,
    ModelConfig,
    TrainingConfig,
    TransferConfig,
)
from advance_tf.data.advance import AdvanceDataset
from advance_tf.data.cache import PairCache
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.inference import evaluation, predictor
from advance_tf.inference.examples import find_examples
from advance_tf.inference.loading import load_model
from advance_tf.memory import keep_freed_memory
from advance_tf.models.recognizer import build_recognizer
from advance_tf.reporting.evaluation_report import write_evaluation
from advance_tf.runs.training import find_or_compute_knowledge
from advance_tf.runs.workdir import KNOWLEDGE, MANIFEST, load_run, write_config
from advance_tf.teacher.knowledge import compute_knowledge
from advance_tf.teacher.soft_labels import soft_labels_key
from advance_tf.teacher.storage import soft_labels_path
from advance_tf.training import recognition
from advance_tf.training.callbacks import BEST_WEIGHTS

BATCH = 64
CHUNK = 256
EVENTS = len(labels.events())
FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)
MODEL = ModelConfig(
    modality="both", image_depth=18, audio_depth=18, image_width=2, audio_width=2
)


class LoudnessTeacher:
    """A teacher of negligible cost: its logits depend on the power of the clip."""

    name = "loudness"
    sha256 = "0" * 64
    event_mask = np.ones(EVENTS, bool)
    slopes = np.linspace(-40, 40, EVENTS, dtype=np.float32)

    def logits(self, waveforms):
        """Returns float32 [B, 527]."""
        power = np.square(waveforms).mean(axis=1, keepdims=True)
        return self.slopes * np.sqrt(power) - 4


def config_of(folder, cache_dir=""):
    """Returns the configuration of the run."""
    return Config(
        data=DataConfig(data_dir=str(folder / "data"), cache_dir=cache_dir),
        features=FEATURES,
        model=MODEL,
        transfer=TransferConfig(transfer="event"),
        training=TrainingConfig(batch_size=BATCH, epochs=1),
    )


def write_chunks(folder, manifest, decoded):
    """Writes the chunks of a computation of soft labels that was interrupted."""
    key = soft_labels_key(LoudnessTeacher.sha256, manifest.sha256, FEATURES)
    path = soft_labels_path(folder / "run" / KNOWLEDGE, key)
    chunks = path.with_name(f"{path.stem}-parts")
    chunks.mkdir(parents=True)
    done = max(0, len(manifest.pairs) - decoded) // CHUNK * CHUNK
    rng = np.random.default_rng(0)
    for first in range(0, done, CHUNK):
        rows = rng.normal(-4, 2, (CHUNK, EVENTS)).astype(np.float32)
        np.save(chunks / f"{first:08d}.npy", rows)


def link_cached(folder, manifest, decoded):
    """Links cached pairs, so that the cache lacks only the first `decoded` ones."""
    cache, data_dir = PairCache(folder / "cache", FEATURES), folder / "data"
    models = manifest.pairs[:: max(1, len(manifest.pairs) // 50)][:50]
    cache.fill(models, data_dir, progress=False)
    files = [cache.path(pair, data_dir) for pair in models]
    for number, pair in enumerate(manifest.pairs[decoded:]):
        path = cache.path(pair, data_dir)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(files[number % len(files)], path)
    for pair in manifest.pairs[:decoded]:
        cache.path(pair, data_dir).unlink(missing_ok=True)


def prepare(folder, decoded):
    """Writes what the steps start from: an untrained run, chunks and cached pairs."""
    config = config_of(folder)
    manifest = make_manifest(config.data)
    run = folder / "run"
    manifest.save(run / MANIFEST)
    write_config(run, config, manifest, knowledge_dir=str(run / KNOWLEDGE))
    keras.utils.set_random_seed(0)
    build_recognizer(MODEL, FEATURES, "event").save_weights(run / BEST_WEIGHTS)
    write_chunks(folder, manifest, decoded)
    link_cached(folder, manifest, decoded)
    return 0


def write_manifest(folder, decoded):
    """Scans, splits, audits, hashes and writes."""
    manifest = make_manifest(config_of(folder).data)
    manifest.save(folder / "split" / MANIFEST)
    assert len(manifest.sha256) == 64
    return 0


def read_manifest(folder, decoded):
    """Reads, audits and hashes."""
    manifest = Manifest.load(folder / "split" / MANIFEST)
    assert len(manifest.sha256) == 64
    return 0


def teach(folder, decoded):
    """Computes the remaining soft labels, and the event knowledge of all."""
    run = folder / "run"
    dataset = AdvanceDataset(Manifest.load(run / MANIFEST), folder / "data")
    parts = list((run / KNOWLEDGE).glob("*-parts/*.npy"))
    compute_knowledge(
        LoudnessTeacher(), dataset, run / KNOWLEDGE, FEATURES, progress=False
    )
    return len(dataset.pairs) - CHUNK * len(parts)


def fill_cache(folder, decoded):
    """Fills the cache of all pairs; returns the number of decoded pairs."""
    manifest = Manifest.load(folder / "run" / MANIFEST)
    cache = PairCache(folder / "cache", FEATURES)
    return cache.fill(manifest.pairs, folder / "data", progress=False)


def fit_start(folder, cache_dir):
    """Starts a run as `train_run` does, and trains one step."""
    config = config_of(folder, cache_dir)
    manifest = Manifest.load(folder / "run" / MANIFEST)
    knowledge = find_or_compute_knowledge(folder / "run" / KNOWLEDGE, manifest, config)
    trainer = recognition.build_trainer(config, knowledge)
    training, _ = recognition.make_datasets(config, manifest, knowledge)
    trainer.fit(training.take(1), verbose=0)
    return 0


def evaluate(folder, decoded):
    """Evaluates all pairs, of which the first are decoded and their inputs repeated."""
    make_dataset = predictor.make_dataset

    def repeated(files, batch_size, **options):
        batches = make_dataset(files, batch_size, **options)
        if len(files.pairs) <= decoded:
            return batches
        some = batches.take(decoded // batch_size).cache().repeat()
        return some.unbatch().take(len(files.pairs)).batch(batch_size).prefetch(2)

    predictor.make_dataset = repeated
    run = load_run(folder / "run")
    found = evaluation.evaluate(run, "all", batch_size=BATCH)
    write_evaluation(run, found, folder / "evaluation")
    return min(len(found.stems), decoded // BATCH * BATCH)


def predict(folder, decoded):
    """Lists all examples and predicts the first ones."""
    model = load_model(folder / "run")
    examples, _ = find_examples(folder / "data")
    predictions = model.predict_batch(examples, batch_size=16)
    return sum(found.ok for found in itertools.islice(predictions, decoded))


STEPS = {
    "prepare": prepare,
    "manifest, write": write_manifest,
    "manifest, read": read_manifest,
    "teach": teach,
    "cache": fill_cache,
    "cache, filled": fill_cache,
    "fit, files": lambda folder, _: fit_start(folder, ""),
    "fit, cache": lambda folder, _: fit_start(folder, str(folder / "cache")),
    "evaluate": evaluate,
    "predict": predict,
}


def peak_mib():
    """Returns the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    """Runs a step and prints its measurements as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", choices=STEPS, required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--decoded", type=int, required=True)
    arguments = parser.parse_args()
    keep_freed_memory()
    # Starts TensorFlow's threads, which are no cost of a step.
    tf.constant(0.0).numpy()
    start_mib, cpu, started = peak_mib(), time.process_time(), time.perf_counter()
    with contextlib.redirect_stdout(None):
        decoded = STEPS[arguments.step](arguments.folder, arguments.decoded)
    result = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": peak_mib(),
        "start_mib": start_mib,
        "decoded": decoded,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
