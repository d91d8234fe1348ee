"""Trains the jobs of studies with frozen towers on embeddings in memory.

A job takes seconds: the towers are run once for all jobs, and jobs that differ only in
α, β and seed share one compiled graph. With partly frozen towers it takes minutes: the
frozen stages are run once, see `activation_jobs`. A job leaves its scores and its
predictions, not a run; `advance fit` with the configuration and the manifest of a job
writes one.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from advance_tf.checksums import replacing_checked
from advance_tf.config import Config
from advance_tf.config_io import replace_fields, to_dict
from advance_tf.data.dataset import scene_numbers
from advance_tf.data.layout import join_labels, read_notice
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair, rows_of
from advance_tf.data.splits import SPLITS, TEST
from advance_tf.experiments.activation_jobs import (
    ActivationFiles,
    train_activation_job,
    write_activations,
)
from advance_tf.experiments.head_results import is_trained, write_result
from advance_tf.experiments.reproduction import predictions_of
from advance_tf.experiments.scheduler import Job, thread_settings
from advance_tf.metrics.evaluation import evaluate_predictions
from advance_tf.metrics.tables import predictions_csv
from advance_tf.models.heads import build_heads
from advance_tf.teacher.knowledge import EventKnowledge, load_knowledge
from advance_tf.training.activations import trains_on_activations
from advance_tf.training.embeddings import Embeddings
from advance_tf.training.frozen import embedding_folder, load_embeddings
from advance_tf.training.heads import HeadModel, HeadTrainer, fit_best

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


class SharedHeads:
    """Trains heads that differ in α, β and seed alone with one compiled graph.

    The result equals that of `training.heads.train_heads` for each configuration.

    Args:
        config: a configuration; its α and seed have no effect, and of its β only
            whether it is 0: the graph has no L_E2 then.
        embeddings: embeddings of all pairs.
        training: int [n], rows of the training pairs.
        validation: int [m], rows of the validation pairs.
        knowledge: event knowledge of the split; None only for transfer "none".
    """

    def __init__(
        self,
        config: Config,
        embeddings: Embeddings,
        training: Sequence[int],
        validation: Sequence[int],
        knowledge: EventKnowledge | None = None,
    ) -> None:
        self.embeddings = embeddings
        # The graph lacks terms of weight 0. That of L_E2 needs relevance vectors, which
        # may be undefined.
        beta = float(_has_relevance(config))
        with_all = replace_fields(config, {"alpha": 1.0, "beta": beta})
        self.trained = HeadTrainer(
            with_all, embeddings, training, validation, knowledge=knowledge
        )
        trainer = self.trained.trainer
        if not trainer.optimizer.built:
            trainer.optimizer.build(trainer.model.trainable_variables)
        self._weights = {}
        objective = self.trained.trainer.objective
        for name, term in objective.items():
            # A variable instead of a constant: the graph is traced once.
            variable = tf.Variable(term.weight, dtype=tf.float32, trainable=False)
            self._weights[name] = variable
            objective[name] = dataclasses.replace(term, weight=cast(float, variable))

    def train(self, config: Config) -> HeadModel:
        """Trains the heads of a configuration from the initial weights of its seed.

        Args:
            config: equal to that of the constructor except for α, β and seed.

        Returns:
            The heads with the weights of the best epoch. The next call changes them.

        Raises:
            ValueError: it has L_E2, and that of the constructor does not.
        """
        transfer = config.transfer
        if transfer.uses_relevance and "relevance" not in self._weights:
            raise ValueError(
                "beta must be 0 as in the configuration that the heads were built for; "
                f"received {transfer.beta}. Build them for one with `beta` above 0."
            )
        weight_of = {
            "scene": transfer.scene_weight,
            "relevance": transfer.alpha * transfer.beta,
        }
        for name, variable in self._weights.items():
            variable.assign(weight_of.get(name, transfer.alpha))
        self.trained.config = config
        dropout = self.trained.trainer.modality_dropout
        if dropout is not None:
            dropout.seed.assign(config.training.seed)
        self._reset(config)
        return fit_best(self.trained, self.embeddings)

    def _reset(self, config: Config) -> None:
        """Gives the heads their initial weights and the optimizer its initial state."""
        heads, optimizer = self.trained.trainer.model, self.trained.trainer.optimizer
        keras.utils.set_random_seed(config.training.seed)
        fresh = build_heads(
            config.model, self.embeddings.sizes, config.transfer.transfer
        )
        for layer in fresh.layers:
            # The normalization is that of the training pairs.
            if not layer.name.endswith("_normalization"):
                own = heads.get_layer(layer.name).variables
                for old, new in zip(own, layer.variables, strict=True):
                    old.assign(new)
        for variable in optimizer.variables:
            variable.assign(tf.zeros_like(variable.value))


@dataclasses.dataclass(frozen=True)
class HeadJobs:
    """The jobs of one split.

    Attributes:
        manifest: pairs and splits; without test pairs, nothing is predicted.
        jobs: jobs with frozen towers.
        knowledge_dir: folder of the event knowledge, None if no job needs it.
    """

    manifest: Manifest
    jobs: tuple[Job, ...]
    knowledge_dir: pathlib.Path | None


EmbeddingsOf = Mapping[str, Embeddings | ActivationFiles]


def embedding_key(config: Config) -> str:
    """Names the embeddings that a job needs: its inputs and towers."""
    towers = replace_fields(
        config,
        {
            "dropout": 0.0,
            "head_units": 0,
            "normalize_embeddings": False,
            "modality_dropout": 0.0,
        },
    )
    return json.dumps(to_dict(towers)["model"], sort_keys=True)


def load_all(jobs: Sequence[Job], pairs: Sequence[Pair]) -> EmbeddingsOf:
    """Computes or reads the embeddings that jobs need.

    Args:
        jobs: jobs with frozen towers and the same data set.
        pairs: all pairs of the data set.

    Returns:
        `embedding_key` → embeddings of all pairs, or where their activations are.

    Raises:
        ValueError: a file cannot be read or does not fit.
    """
    configs = {embedding_key(job.config): job.config for job in jobs}
    shown = sys.stderr.isatty()
    found: dict[str, Embeddings | ActivationFiles] = {}
    for key, config in configs.items():
        if trains_on_activations(config):
            found[key] = write_activations(config, pairs, progress=shown)
        else:
            folder = embedding_folder(config, config.data.cache_dir)
            found[key] = load_embeddings(config, pairs, folder, progress=shown)
    return found


def train_jobs(work: HeadJobs, embeddings_of: EmbeddingsOf) -> int:
    """Trains the jobs of a split that have no result, one after the other.

    Args:
        work: the jobs of one split.
        embeddings_of: `embedding_key` → what is stored of all pairs of the manifest.

    Returns:
        The number of jobs that were trained.
    """
    # The event knowledge of a fold has its own pairs alone.
    pairs = work.manifest.pairs
    own = {
        key: _select(each, pairs)
        for key, each in embeddings_of.items()
        if isinstance(each, Embeddings)
    }
    training, validation, test = map(work.manifest.positions, SPLITS)
    knowledge = None
    if work.knowledge_dir is not None:
        knowledge = load_knowledge(work.knowledge_dir, work.manifest)
    waiting = [job for job in work.jobs if not is_trained(job, work.manifest)]
    groups: dict[str, list[Job]] = {}
    for job in waiting:
        same = replace_fields(job.config, {"seed": 0, "alpha": 1.0, "beta": 1.0})
        groups.setdefault(json.dumps(to_dict(same)), []).append(job)
    # Each group has a graph of its own, which TensorFlow would warn about.
    tf.get_logger().addFilter(_is_no_retracing)
    for group in groups.values():
        # One with L_E2, if there is one.
        config = max((job.config for job in group), key=_has_relevance)
        known = knowledge if config.transfer.transfer != "none" else None
        files = embeddings_of[embedding_key(config)]
        if isinstance(files, ActivationFiles):
            for job in group:
                model = train_activation_job(job.config, files, work.manifest, known)
                _write(job, work.manifest, model, test)
                # Frees the towers and the graph of the job.
                keras.backend.clear_session()
            continue
        shared = SharedHeads(
            config,
            own[embedding_key(config)],
            training,
            validation,
            known,
        )
        for job in group:
            _write(job, work.manifest, shared.train(job.config), test)
        # Frees the graph of the group.
        keras.backend.clear_session()
    return len(waiting)


def _has_relevance(config: Config) -> bool:
    """Whether L_E2 is in the objective, for an α above 0."""
    return replace_fields(config, {"alpha": 1.0}).transfer.uses_relevance


def _select(embeddings: Embeddings, pairs: Sequence[Pair]) -> Embeddings:
    """The embeddings of pairs, in their order."""
    rows = rows_of(pairs, embeddings.keys)
    # [n, D], or [views, n, D]
    image, audio = (
        np.take(values, rows, axis=-2)
        for values in (embeddings.image, embeddings.audio)
    )
    return Embeddings(tuple(pair.key for pair in pairs), image, audio)


def _is_no_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()


def _write(job: Job, manifest: Manifest, model: HeadModel, rows: list[int]) -> None:
    """Writes predictions and, as the last file, the result of a job."""
    if rows:
        pairs = manifest.pairs_of(TEST)
        evaluation = evaluate_predictions(
            [pair.stem for pair in pairs],
            [pair.site for pair in pairs],
            scene_numbers(pairs),
            model.scene_probs(rows),
            label=join_labels(manifest.label, read_notice(job.config.data.data_dir)),
            resamples=2,
        )
        with replacing_checked(predictions_of(job)) as temporary:
            temporary.write_text(predictions_csv(evaluation), encoding="utf-8")
    write_result(job, manifest, model.progress)


def run_head_jobs(
    work: Sequence[HeadJobs], embeddings_of: EmbeddingsOf, *, parallel: int = 1
) -> None:
    """Trains the jobs of several splits, each split in one process.

    Args:
        work: the jobs of each split.
        embeddings_of: `embedding_key` → what is stored of all pairs.
        parallel: number of processes.

    Raises:
        ValueError: a split is too small, or a loss is not finite.
    """
    total = sum(len(each.jobs) for each in work)
    waiting = [
        each
        for each in work
        if not all(is_trained(job, each.manifest) for job in each.jobs)
    ]
    done = total - sum(len(each.jobs) for each in waiting)
    with tqdm(
        total=total,
        desc="training heads",
        unit="run",
        initial=done,
        disable=not sys.stderr.isatty(),
    ) as bar:
        parallel = min(parallel, len(waiting))
        if parallel <= 1:
            for each in waiting:
                train_jobs(each, embeddings_of)
                bar.update(len(each.jobs))
            return
        # TensorFlow's start-up messages of the processes are not shown.
        settings = thread_settings(parallel) | {_LOG_LEVEL: "3"}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update({name: before[name] or settings[name] for name in settings})
        try:
            pool = concurrent.futures.ProcessPoolExecutor(
                parallel, multiprocessing.get_context("spawn")
            )
            with pool, _stopped_with_this_process():
                futures = {
                    pool.submit(train_jobs, each, embeddings_of): each
                    for each in waiting
                }
                for future in concurrent.futures.as_completed(futures):
                    future.result()
                    bar.update(len(futures[future].jobs))
        except concurrent.futures.BrokenExecutor as error:
            raise ValueError(
                "A process that trains heads must run to its end; one was ended, often "
                "for lack of memory. Lower `jobs` and run the same command again to "
                "resume."
            ) from error
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


@contextlib.contextmanager
def _stopped_with_this_process() -> Iterator[None]:
    """Ends the processes of a pool where the block ends with an exception.

    Without this, the pool would first train everything that has been submitted.
    """
    try:
        yield
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
