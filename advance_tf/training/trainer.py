"""The Keras model that runs the training step of every objective and precision."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from advance_tf.losses.objective import Term
from advance_tf.models.heads import PRESENT, with_mask
from advance_tf.training.modality_dropout import ModalityDropout

Tensors = Mapping[str, tf.Tensor]


class Score(NamedTuple):
    """A metric with the target and the output that it compares."""

    metric: keras.metrics.Metric
    target: str
    output: str


class Trainer(keras.Model):
    """Minimizes a weighted sum of named loss terms: L = L_s + α L_Ω (Eq. 2).

    The model maps named inputs to named outputs; each term compares one target
    with one output. Every loss is a `keras.losses.Loss`, which divides by the
    number of replicas: on the same global batch, a step on two replicas equals
    a step on one.

    Args:
        model: a functional model whose inputs and outputs are dictionaries.
        objective: term name → `Term`, as returned by `build_objective`.
        scores: metrics that are reported together with the losses.
        modality_dropout: draws the input "present" of `model` in training; in
            evaluation all inputs are present.

    Raises:
        ValueError: the objective is empty, or a term or score names an output
            that the model does not have.

    >>> inputs = keras.Input((3,), name="x")
    >>> model = keras.Model({"x": inputs}, {"y": keras.layers.Dense(1)(inputs)})
    >>> term = Term(keras.losses.MeanSquaredError(), "target", "y", weight=0.5)
    >>> trainer = Trainer(model, {"regression": term})
    >>> trainer.compile(optimizer="sgd")
    >>> logs = trainer.train_on_batch(
    ...     {"x": tf.zeros((2, 3))}, {"target": tf.ones((2, 1))}, return_dict=True
    ... )
    >>> {name: float(value) for name, value in logs.items()}
    {'loss': 0.5, 'regression_loss': 0.5}
    """

    def __init__(
        self,
        model: keras.Model,
        objective: Mapping[str, Term],
        scores: Sequence[Score] = (),
        modality_dropout: ModalityDropout | None = None,
    ) -> None:
        super().__init__(name="trainer")
        # The model is built already; without this Keras would build the trainer
        # with a first batch.
        self.built = True
        _check_outputs(model, objective, scores)
        self.model = model
        self.objective = dict(objective)
        self.scores = list(scores)
        self.modality_dropout = modality_dropout
        self.total_tracker = keras.metrics.Mean(name="loss")
        self.trackers = {
            name: keras.metrics.Mean(name=f"{name}_loss") for name in objective
        }

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Trackers of the total and of each term, then the scores."""
        return [
            self.total_tracker,
            *self.trackers.values(),
            *(score.metric for score in self.scores),
        ]

    def call(self, inputs: Tensors, training: bool = False) -> dict[str, tf.Tensor]:
        """Returns the outputs of the trained model.

        Args:
            inputs: input name → tensor [B, ...].
            training: whether dropout and batch norm are in training mode.

        Returns:
            Output name → tensor [B, ...].
        """
        if self.modality_dropout is not None:
            inputs = with_mask(self.model, inputs)
        outputs: dict[str, tf.Tensor] = self.model(inputs, training=training)
        return outputs

    def train_step(self, data: Sequence[Tensors]) -> dict[str, tf.Tensor]:
        """Runs one step on one replica's share of a batch.

        Args:
            data: (inputs, targets), dictionaries of tensors [B, ...]; sample
                weights, a third entry, are not used.

        Returns:
            Metric name → running value.
        """
        inputs, targets = data[:2]
        weight = _share_weight(targets)
        if self.modality_dropout is not None:
            batch = tf.shape(next(iter(inputs.values())))[0]
            step = tf.cast(self.optimizer.iterations, tf.int64)
            inputs = {**inputs, PRESENT: self.modality_dropout.draw(batch, step)}
        with tf.GradientTape() as tape:
            outputs = self.model(inputs, training=True)
            losses = self._weighted_losses(targets, outputs)
            total = tf.add_n(list(losses.values()))
            scaled = self.optimizer.scale_loss(weight * total)
        variables = self.model.trainable_variables
        gradients = tape.gradient(scaled, variables)
        # A head that no term uses has no gradient; weight decay must not
        # change it either, as in the authors' code.
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        ]
        gradients, variables = map(list, zip(*pairs, strict=True))
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = _with_overflow_of_all(gradients)
        self.optimizer.apply(gradients, variables)
        return self._update_metrics(targets, outputs, losses, total)

    def test_step(self, data: Sequence[Tensors]) -> dict[str, tf.Tensor]:
        """Computes losses and scores of one replica's share of a batch.

        Args:
            data: (inputs, targets), as for `train_step`.

        Returns:
            Metric name → running value.
        """
        inputs, targets = data[:2]
        outputs = self(inputs, training=False)
        losses = self._weighted_losses(targets, outputs)
        total = tf.add_n(list(losses.values()))
        return self._update_metrics(targets, outputs, losses, total)

    def _weighted_losses(
        self, targets: Tensors, outputs: Tensors
    ) -> dict[str, tf.Tensor]:
        return {
            name: term.weight * term.loss(targets[term.target], outputs[term.output])
            for name, term in self.objective.items()
        }

    def _update_metrics(
        self, targets: Tensors, outputs: Tensors, losses: Tensors, total: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        # A loss is one replica's share of the global mean; the trackers average
        # over the replicas, so they receive the share times the replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        examples = tf.shape(next(iter(outputs.values())))[0]
        self.total_tracker.update_state(total * replicas, sample_weight=examples)
        for name, loss in losses.items():
            self.trackers[name].update_state(loss * replicas, sample_weight=examples)
        for score in self.scores:
            score.metric.update_state(targets[score.target], outputs[score.output])
        results: dict[str, tf.Tensor] = self.get_metrics_result()
        return results


def _share_weight(targets: Tensors) -> tf.Tensor | float:
    """The weight of a replica's loss that makes the sum the mean over the batch.

    A loss is the mean over the share of a replica, divided by the number R of replicas.
    In an incomplete last batch the shares differ: n_r of n examples have the weight
    R n_r / n.
    """
    strategy = tf.distribute.get_strategy()
    replicas, first = strategy.num_replicas_in_sync, next(iter(targets.values()))
    if replicas == 1 or first.shape[0] is not None:
        # Whole batches are divided evenly.
        return 1.0
    own = tf.cast(tf.shape(first)[0], tf.float32)
    every = tf.distribute.get_replica_context().all_reduce("SUM", own)
    return replicas * own / every


def _with_overflow_of_all(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Makes a replica's gradients NaN if those of any replica are not finite.

    Keras' loss scaling looks for an overflow in the gradients of one replica, before
    they are summed over all. The others would apply an infinite sum; in a cluster each
    process would decide for itself, and those that apply wait for the others.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return gradients
    finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
    overflow = 1.0 - tf.cast(tf.reduce_all(finite), tf.float32)
    total = tf.distribute.get_replica_context().all_reduce("SUM", overflow)
    return [tf.where(total > 0, np.nan, gradient) for gradient in gradients]


def _check_outputs(
    model: keras.Model, objective: Mapping[str, Term], scores: Sequence[Score]
) -> None:
    if not objective:
        raise ValueError(
            "The objective must have at least one term; received none. Set "
            "`scene_weight` or `alpha` above 0."
        )
    needed = {name: term.output for name, term in objective.items()}
    needed |= {score.metric.name: score.output for score in scores}
    for name, output in needed.items():
        if output not in model.output:
            raise ValueError(
                f"'{name}' needs the output '{output}'; the model has "
                f"{', '.join(model.output)}. Build the model for this `transfer`."
            )
