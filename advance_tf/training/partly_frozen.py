"""Trains heads and the parts of towers behind their frozen stages, on activations."""

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advance_tf.config import Config
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.heads import (
    PRESENT,
    connect_heads,
    copy_heads,
    mask_input,
)
from advance_tf.models.recognizer import freeze
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training.activations import (
    Activations,
    cut_towers,
    embed_activations,
)
from advance_tf.training.embeddings import StoredPairs
from advance_tf.training.heads import HeadModel, HeadTrainer, fit_best
from advance_tf.training.optimizer import scale_rates


def build_rest(
    recognizer: keras.Model, config: Config, activations: StoredPairs
) -> keras.Model:
    """Builds the part of a recognizer that is trained on activations.

    Args:
        recognizer: a model of `build_recognizer`; the parts of its towers behind the
            frozen stages are those of the result, its heads are copied.
        config: model and transfer are used.
        activations: their shapes are used.

    Returns:
        A model of {"image": [B, ...], "audio": [B, ...]}, and "present" [B, 2] with
        modality_dropout, → the outputs of `build_recognizer`. A tower that is cut is
        the layer `image_rest` or `audio_rest`.
    """
    inputs: dict[str, keras.KerasTensor] = {}
    embeddings: dict[str, keras.KerasTensor] = {}
    cuts = cut_towers(recognizer, config)
    for tower in TOWERS:
        inputs[tower] = keras.Input(activations.shapes[tower], name=tower)
        embeddings[tower] = inputs[tower]
        if tower in cuts:
            embeddings[tower] = cuts[tower].rest(inputs[tower])  # [B, D]
    present = mask_input(config.model)
    outputs = connect_heads(
        embeddings["image"],
        embeddings["audio"],
        config.model,
        config.transfer.transfer,
        present,
    )
    if present is not None:
        inputs[PRESENT] = present
    model = keras.Model(inputs, outputs, name="rest")
    copy_heads(recognizer, model)
    return model


def trained_towers(model: keras.Model) -> list[str]:
    """The towers of which a model of `build_rest` has a part, "image" or "audio"."""
    names = {layer.name for layer in model.layers}
    return [tower for tower in TOWERS if f"{tower}_rest" in names]


class RestTrainer(HeadTrainer):
    """Trains heads and parts of towers on activations that are read batch by batch.

    Order, objective, optimizer and the rule for an incomplete last batch are those of
    the training of a recognizer, and so are the initial weights. A tower that is not
    in use is not trained.

    Args:
        config: model, transfer and training are used.
        activations: activations of the pairs.
        training: int [n], rows of the training pairs.
        validation: int [m], rows of the validation pairs.
        recognizer: a model with the initial weights; its towers are trained in place.
        knowledge: event knowledge with these pairs; None only for transfer "none".

    Raises:
        ValueError: a split is too small, or the knowledge lacks a pair.
    """

    def __init__(
        self,
        config: Config,
        activations: Activations,
        training: npt.ArrayLike,
        validation: npt.ArrayLike,
        recognizer: keras.Model,
        *,
        knowledge: EventKnowledge | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._activations = activations
        super().__init__(config, activations, training, validation, knowledge=knowledge)
        settings = config.training
        if settings.tower_learning_rate:
            factor = settings.tower_learning_rate / settings.learning_rate
            for tower in trained_towers(self.trainer.model):
                layer = self.trainer.model.get_layer(f"{tower}_rest")
                scale_rates(self.trainer.optimizer, layer.trainable_variables, factor)
        self.trainer.optimizer.build(self.trainer.model.trainable_variables)

    def _build_model(self, embeddings: StoredPairs) -> keras.Model:
        """The trained parts of the towers, with the heads on them."""
        freeze(self._recognizer, self.config.model)
        model = build_rest(self._recognizer, self.config, embeddings)
        if self.config.model.normalize_embeddings:
            rows = self.rows["training"]
            keys = tuple(embeddings.keys[row] for row in rows)
            own = {
                tower: [[views[0][row] for row in rows]]
                for tower, views in self._activations.views.items()
            }
            found = embed_activations(
                self._recognizer, self.config, Activations(keys, own)
            )
            for tower in TOWERS:
                layer = model.get_layer(f"{tower}_normalization")
                layer.adapt(found.views(tower)[0])
        return model

    def _hold(self, embeddings: StoredPairs) -> None:
        """Compiles a step; the activations stay where they are."""
        self._train = tf.function(self._train_step, autograph=False)
        self._test = tf.function(
            self._test_batch, autograph=False, reduce_retracing=True
        )

    def _train_step(
        self, inputs: dict[str, tf.Tensor], targets: dict[str, tf.Tensor]
    ) -> None:
        self.trainer.train_step((inputs, targets))

    def _test_batch(
        self, inputs: dict[str, tf.Tensor], targets: dict[str, tf.Tensor]
    ) -> None:
        self.trainer.test_step((inputs, targets))

    def _gather(
        self, rows: npt.ArrayLike
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        numbers = np.asarray(rows)
        found = self._activations.gather(numbers)
        inputs = {tower: tf.constant(values) for tower, values in found.items()}
        pairs = tf.constant(numbers % self._pairs)
        targets = {name: tf.gather(own, pairs) for name, own in self._targets.items()}
        return inputs, targets

    def train_batches(self, batches: np.ndarray) -> None:
        """Trains on the rows of batches, int64 [steps, batch_size]."""
        for rows in batches:
            self._train(*self._gather(rows))

    def test_rows(self, rows: np.ndarray) -> None:
        """Updates losses and scores by pairs, int64 [m]."""
        size = self.config.training.batch_size
        for start in range(0, len(rows), size):
            self._test(*self._gather(rows[start : start + size]))


def train_rest(
    config: Config,
    activations: Activations,
    training: npt.ArrayLike,
    validation: npt.ArrayLike,
    recognizer: keras.Model,
    *,
    knowledge: EventKnowledge | None = None,
) -> HeadModel:
    """Trains heads and parts of towers on activations; nothing is written.

    Args:
        config: model, transfer and training are used.
        activations: activations of the pairs.
        training: int [n], rows of the training pairs.
        validation: int [m], rows of the validation pairs, which select the epoch.
        recognizer: a model of `frozen_recognizer`; its towers are trained in place.
        knowledge: event knowledge of a split with these training pairs; None only
            for transfer "none".

    Returns:
        The trained parts with the weights of the epoch of the best validation F.

    Raises:
        ValueError: a split is too small, the knowledge lacks a pair, or the loss is
            not finite.
    """
    trained = RestTrainer(
        config, activations, training, validation, recognizer, knowledge=knowledge
    )
    model = fit_best(trained, activations)
    copy_heads(model.heads, recognizer)
    return model
