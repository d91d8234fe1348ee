"""One training step for every objective, precision and number of replicas."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from advance_tf.losses.transfer import Term


class Score(NamedTuple):
    """A metric with the target and the output that it compares."""

    metric: keras.metrics.Metric
    target: str
    output: str


class Trainer(keras.Model):
    """Minimizes a weighted sum of named loss terms: L = L_s + α L_Ω (Eq. 2).

    The model maps named inputs to named outputs; each term compares one target
    with one output. Every loss is a `keras.losses.Loss`, which divides by the
    number of replicas, so that one replica and two make the same step on the
    same global batch.

    Args:
        model: a functional model with a dictionary of inputs and of outputs.
        objective: term name → `Term`, as `losses.transfer.build_objective`
            makes it.
        scores: metrics to report beside the losses.

    Raises:
        ValueError: the objective is empty, or a term or score names an output
            that the model has not.
    """

    def __init__(
        self,
        model: keras.Model,
        objective: Mapping[str, Term],
        scores: Sequence[Score] = (),
    ):
        super().__init__(name="trainer")
        # Nothing is left to build, and Keras need not take a batch to see it.
        self.built = True
        _check_outputs(model, objective, scores)
        self.model = model
        self.objective = dict(objective)
        self.scores = list(scores)
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

    def call(self, inputs, training=False):
        """The outputs of the trained model."""
        return self.model(inputs, training=training)

    def train_step(self, data):
        """One step on one replica's share of a batch.

        Args:
            data: (inputs, targets), dictionaries of tensors [B, ...]; sample
                weights, a third entry, are not used.

        Returns:
            Metric name → running value.
        """
        inputs, targets = data[:2]
        with tf.GradientTape() as tape:
            outputs = self.model(inputs, training=True)
            losses = self._weigh(targets, outputs)
            total = tf.add_n(list(losses.values()))
            scaled = self.optimizer.scale_loss(total)
        variables = self.model.trainable_variables
        gradients = tape.gradient(scaled, variables)
        # A head that no term reads has no gradient; weight decay must not
        # touch it either, as in the authors' code.
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        ]
        self.optimizer.apply(*map(list, zip(*pairs, strict=True)))
        return self._track(targets, outputs, losses, total)

    def test_step(self, data):
        """Losses and scores of one replica's share of a batch."""
        inputs, targets = data[:2]
        outputs = self.model(inputs, training=False)
        losses = self._weigh(targets, outputs)
        return self._track(targets, outputs, losses, tf.add_n(list(losses.values())))

    def _weigh(self, targets, outputs) -> dict[str, tf.Tensor]:
        return {
            name: term.weight * term.loss(targets[term.target], outputs[term.output])
            for name, term in self.objective.items()
        }

    def _track(self, targets, outputs, losses, total) -> dict:
        # A loss is one replica's share of the global mean; the trackers
        # average over replicas, so they take the whole.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        examples = tf.shape(next(iter(outputs.values())))[0]
        self.total_tracker.update_state(total * replicas, sample_weight=examples)
        for name, loss in losses.items():
            self.trackers[name].update_state(loss * replicas, sample_weight=examples)
        for score in self.scores:
            score.metric.update_state(targets[score.target], outputs[score.output])
        return self.get_metrics_result()


def _check_outputs(model, objective, scores) -> None:
    if not objective:
        raise ValueError(
            "The objective must hold at least one term; received none. Give "
            "--scene_weight or --alpha a value above 0."
        )
    wanted = {name: term.output for name, term in objective.items()}
    wanted |= {score.metric.name: score.output for score in scores}
    for name, output in wanted.items():
        if output not in model.output:
            raise ValueError(
                f"'{name}' reads the output '{output}'; the model has "
                f"{', '.join(model.output)}. Build the model for this transfer."
            )
