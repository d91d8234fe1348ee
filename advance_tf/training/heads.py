"""Trains the heads alone, on the embeddings of frozen towers."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advance_tf.config import Config
from advance_tf.data.pairing import Pair
from advance_tf.data.sampling import TrainingEpochs, check_balance, check_split_size
from advance_tf.losses.objective import Term
from advance_tf.metrics.probabilities import softmax
from advance_tf.metrics.scores import ConfusionScores
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.heads import build_heads, with_mask
from advance_tf.models.recognizer import dtype_policy
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training.callbacks import (
    LearningRateSchedule,
    Logs,
    check_logs,
    out_of_patience,
)
from advance_tf.training.checkpoint import Progress
from advance_tf.training.embeddings import Embeddings, StoredPairs
from advance_tf.training.optimizer import build_optimizer
from advance_tf.training.terms import build_terms, modality_dropout_of
from advance_tf.training.trainer import Score, Trainer

MONITOR = "val_f_score"
# Pairs in one call of a trained model.
_BATCH_ROWS = 256


class HeadTrainer:
    """Trains heads on embeddings that are in memory, an epoch in one call of a graph.

    Order, objective, optimizer and the rule for an incomplete last batch are those of
    the training of a recognizer.

    Args:
        config: model, transfer and training are used.
        embeddings: embeddings of the pairs.
        training: int [n], rows of the training pairs.
        validation: int [m], rows of the validation pairs.
        knowledge: event knowledge with these pairs; None only for transfer "none".

    Attributes:
        trainer: the compiled trainer of the heads.

    Raises:
        ValueError: a split is too small, or the knowledge lacks a pair.
    """

    def __init__(
        self,
        config: Config,
        embeddings: StoredPairs,
        training: npt.ArrayLike,
        validation: npt.ArrayLike,
        *,
        knowledge: EventKnowledge | None = None,
    ) -> None:
        self.config = config
        self.rows = {
            "training": np.asarray(training, np.int64),
            "validation": np.asarray(validation, np.int64),
        }
        for split, rows in self.rows.items():
            check_split_size(config.training, split, len(rows))
        self._scenes = embeddings.scenes[self.rows["training"]]
        self._pairs, self._views = len(embeddings), embeddings.view_count
        # Initial weights and dropout depend on the seed alone.
        keras.utils.set_random_seed(config.training.seed)
        with dtype_policy("float32"):
            self.trainer = Trainer(
                self._build_model(embeddings),
                build_terms(config, knowledge, self._scenes),
                [Score(ConfusionScores(name="scores"), "scene", "scene_logits")],
                modality_dropout_of(config),
            )
        self.trainer.compile(
            optimizer=build_optimizer(config.training), jit_compile=False
        )
        self._targets = _targets(embeddings, knowledge, self.trainer.objective)
        self._hold(embeddings)

    def _build_model(self, embeddings: StoredPairs) -> keras.Model:
        """The heads, with the normalization of the training pairs."""
        model, sizes = (
            self.config.model,
            {k: s[0] for k, s in embeddings.shapes.items()},
        )
        heads = build_heads(model, sizes, self.config.transfer.transfer)
        if model.normalize_embeddings:
            own = embeddings.rows(self.rows["training"])
            for tower in TOWERS:
                heads.get_layer(f"{tower}_normalization").adapt(own[tower])
        return heads

    def _hold(self, embeddings: StoredPairs) -> None:
        """Keeps the embeddings in memory, and compiles an epoch as one graph."""
        # [views · n, D]: the row of a view is view · n + row.
        every = embeddings.gather(np.arange(self._views * self._pairs))
        self._inputs = {tower: tf.constant(values) for tower, values in every.items()}
        # Tracing is a good part of a short run; AutoGraph would lengthen it.
        self._train = tf.function(self._train_epoch, autograph=False)
        self._test = tf.function(self._test_step, autograph=False)

    def _gather(
        self, rows: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        pairs = rows % self._pairs
        return (
            {name: tf.gather(values, rows) for name, values in self._inputs.items()},
            {name: tf.gather(values, pairs) for name, values in self._targets.items()},
        )

    def batch(
        self, rows: npt.ArrayLike
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Inputs and targets of pairs, not augmented.

        Args:
            rows: int [m], rows of the embeddings.

        Returns:
            Embeddings [m, D] and targets [m, ...], as `TermShares` takes them.
        """
        return self._gather(tf.constant(np.asarray(rows, np.int64)))

    def _train_epoch(self, batches: tf.Tensor) -> None:
        def train(step: tf.Tensor) -> tuple[tf.Tensor]:
            self.trainer.train_step(self._gather(batches[step]))
            return (step + 1,)

        tf.while_loop(lambda step: step < tf.shape(batches)[0], train, [tf.constant(0)])

    def _test_step(self, rows: tf.Tensor) -> None:
        self.trainer.test_step(self._gather(rows))

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The rows of an epoch's batches.

        Args:
            epoch: counted from 0.

        Returns:
            int64 [steps, batch_size]: view · n + row, for n pairs in all; and with
            `keep_last_batch` the rest as int64 [1, rest], where there is one.
        """
        training = self.config.training
        count = len(self.rows["training"])
        order = TrainingEpochs.of(training).order(count, epoch, self._scenes)
        size = training.batch_size
        whole = count - count % size
        order = order[: count if training.keep_last_batch else whole]
        # A separate stream, so that the order does not depend on the views.
        rng = np.random.default_rng((training.seed, epoch, 1))
        views = rng.integers(self._views, size=len(order))
        rows = views * self._pairs + self.rows["training"][order]
        parts = (rows[:whole].reshape(-1, size), rows[np.newaxis, whole:])
        return [part for part in parts if part.size]

    def train_epoch(self, epoch: int) -> Logs:
        """Trains one epoch and scores the validation pairs.

        Args:
            epoch: counted from 0.

        Returns:
            Losses and scores, those of validation with the prefix `val_`.
        """
        self.trainer.reset_metrics()
        for batches in self.batches(epoch):
            self.train_batches(batches)
        logs = self._results()
        self.trainer.reset_metrics()
        self.test_rows(self.rows["validation"])
        return logs | {f"val_{name}": value for name, value in self._results().items()}

    def train_batches(self, batches: np.ndarray) -> None:
        """Trains on the rows of batches, int64 [steps, batch_size]."""
        self._train(tf.constant(batches))

    def test_rows(self, rows: np.ndarray) -> None:
        """Updates losses and scores by pairs, int64 [m]."""
        self._test(tf.constant(rows))

    def _results(self) -> Logs:
        results = self.trainer.get_metrics_result()
        return {name: float(value) for name, value in results.items()}

    def fit(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        progress: Progress | None = None,
        *,
        verbose: int = 0,
    ) -> None:
        """Trains the remaining epochs.

        Args:
            callbacks: called as by `keras.Model.fit` at the start and the end of the
                training and of each epoch.
            progress: the epochs that are trained already.
            verbose: as for `keras.Model.fit`; 0 prints nothing.
        """
        chain = keras.callbacks.CallbackList(
            list(callbacks),
            add_progbar=verbose > 0,
            model=self.trainer,
            verbose=verbose,
            epochs=self.config.training.epochs,
            steps=sum(map(len, self.batches(0))),
        )
        self.trainer.stop_training = False
        chain.on_train_begin()
        for epoch in range(
            progress.epochs if progress else 0, self.config.training.epochs
        ):
            chain.on_epoch_begin(epoch)
            chain.on_epoch_end(epoch, self.train_epoch(epoch))
            if self.trainer.stop_training:
                break
        chain.on_train_end()


def _targets(
    embeddings: StoredPairs,
    knowledge: EventKnowledge | None,
    objective: Mapping[str, Term],
) -> dict[str, tf.Tensor]:
    """The targets of the objective, a row for each pair."""
    targets = {"scene": tf.constant(embeddings.scenes, tf.int32)}
    needed = {term.target for term in objective.values()} - set(targets)
    if needed and knowledge is not None:
        pairs = [Pair(stem, scene, "", "", "") for scene, stem in embeddings.keys]
        found = knowledge.targets_for(pairs)
        targets |= {
            name: tf.constant(np.asarray(found[name]), tf.float32) for name in needed
        }
    return targets


class _BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the best epoch and the logs of all epochs."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience
        self.progress = Progress()
        self.history: list[Logs] = []
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keeps the weights if the validation score is better."""
        logs = logs or {}
        self.history.append(logs)
        check_logs(logs, MONITOR, epoch)
        score, best = float(logs[MONITOR]), self.progress
        self.progress = dataclasses.replace(best, epochs=epoch + 1)
        if score > best.best_score:
            self.progress = Progress(epoch + 1, epoch + 1, score)
            self.weights = self.model.model.get_weights()
        if out_of_patience(self.progress, self.patience):
            self.model.stop_training = True


@dataclasses.dataclass(frozen=True, eq=False)
class HeadModel:
    """Trained heads and the embeddings that they are applied to.

    Attributes:
        heads: model of `build_heads` with the weights of the best epoch; of a training
            on activations, with the trained parts of the towers before the heads.
        embeddings: the embeddings, or activations, of all pairs.
        progress: number of epochs, and the best epoch with its validation F.
        history: losses and scores of each epoch.
    """

    heads: keras.Model
    embeddings: StoredPairs
    progress: Progress
    history: tuple[Mapping[str, float], ...]

    def logits(
        self, pairs: npt.ArrayLike, mask: tuple[float, float] = (1.0, 1.0)
    ) -> dict[str, np.ndarray]:
        """The logits of pairs, not augmented.

        Args:
            pairs: int [m], rows of the embeddings.
            mask: 1 or 0 for image and sound: which inputs the heads use, if they were
                trained with modality_dropout.

        Returns:
            "scene_logits" → float32 [m, 13] and, depending on the transfer,
            "audio_event_logits" or "audiovisual_event_logits" → float32 [m, 527].
        """
        rows = np.asarray(pairs, np.int64)
        parts = []
        for start in range(0, max(1, len(rows)), _BATCH_ROWS):
            own = self.embeddings.rows(rows[start : start + _BATCH_ROWS])
            parts.append(self.heads(with_mask(self.heads, own, mask), training=False))
        return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

    def scene_probs(
        self, pairs: npt.ArrayLike, mask: tuple[float, float] = (1.0, 1.0)
    ) -> np.ndarray:
        """The scene probabilities of pairs.

        Args:
            pairs: int [m], rows of the embeddings.
            mask: as for `logits`.

        Returns:
            float32 [m, 13]; each row sums to 1.
        """
        return softmax(self.logits(pairs, mask)["scene_logits"])


def train_heads(
    config: Config,
    embeddings: Embeddings,
    training: npt.ArrayLike,
    validation: npt.ArrayLike,
    *,
    knowledge: EventKnowledge | None = None,
    seed: int | None = None,
) -> HeadModel:
    """Trains heads on embeddings in memory; nothing is written, no tower is built.

    The heads are those of a run with the same settings, split and frozen towers.

    Args:
        config: model, transfer and training are used.
        embeddings: embeddings of the pairs.
        training: int [n], rows of the training pairs.
        validation: int [m], rows of the validation pairs, which select the epoch.
        knowledge: event knowledge of a split with these training pairs; None only
            for transfer "none". The teacher's targets are found by scene and stem.
        seed: seed of weights, order and dropout; None for that of the configuration.

    Returns:
        The heads with the weights of the epoch of the best validation F.

    Raises:
        ValueError: a split is too small, the knowledge lacks a pair, the loss is not
            finite, or class weights and sampling are balanced.

    >>> rng = np.random.default_rng(0)
    >>> keys = tuple(("beach" if k % 2 else "forest", str(k)) for k in range(40))
    >>> image = rng.normal(size=(40, 8)) + np.arange(40)[:, None] % 2
    >>> embeddings = Embeddings(keys, image, np.zeros((40, 4)))
    >>> from advance_tf.config import TrainingConfig, TransferConfig
    >>> config = Config(
    ...     transfer=TransferConfig(transfer="none"),
    ...     training=TrainingConfig(epochs=5, batch_size=15, learning_rate=0.1),
    ... )
    >>> model = train_heads(config, embeddings, range(30), range(30, 40))
    >>> model.logits([30, 31])["scene_logits"].shape, model.progress.epochs
    ((2, 13), 5)
    """
    if seed is not None:
        settings = dataclasses.replace(config.training, seed=seed)
        config = dataclasses.replace(config, training=settings)
    trained = HeadTrainer(config, embeddings, training, validation, knowledge=knowledge)
    return fit_best(trained, embeddings)


def fit_best(trained: HeadTrainer, embeddings: StoredPairs) -> HeadModel:
    """Trains all epochs of a trainer in its initial state and keeps the best weights.

    Args:
        trained: the trainer; its heads become those of the result.
        embeddings: the embeddings that it was made for.

    Returns:
        The heads with the weights of the epoch of the best validation F.

    Raises:
        ValueError: the loss is not finite, or class weights and sampling are balanced.
    """
    training = trained.config.training
    check_balance(training)
    best = _BestWeights(training.patience)
    trained.fit([LearningRateSchedule(training), best])
    heads = trained.trainer.model
    heads.set_weights(best.weights)
    return HeadModel(heads, embeddings, best.progress, tuple(best.history))
