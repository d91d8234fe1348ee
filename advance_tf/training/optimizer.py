"""Adam with coupled or decoupled weight decay, and the schedule of its rate."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from advance_tf.config import TrainingConfig


@keras.saving.register_keras_serializable("advance_tf")
class DecayedAdam(keras.optimizers.Adam):
    """Adam as PyTorch computes it, with coupled (L2) or decoupled weight decay.

    With g the gradient, w the variable, λ the weight decay and η the rate:

        l2:        g ← g + λ w, then the step
        decoupled: w ← w (1 − η λ), then the step
        step:      w ← w − η m̂ / (sqrt(v̂) + ε),  m̂ = m/(1−β1^t), v̂ = v/(1−β2^t)

    Keras' own Adam adds ε to the uncorrected sqrt(v) and has decoupled decay
    only; the authors' code uses PyTorch's Adam with `weight_decay`, that is, l2
    on every parameter, including biases and batch-norm scales.

    Args:
        learning_rate: float > 0.
        decay: λ, float ≥ 0.
        decay_mode: "l2" or "decoupled".
        epsilon: ε, float.
        **kwargs: of `keras.optimizers.Adam`.

    Raises:
        ValueError: decay_mode is another value.

    >>> weight = keras.Variable([1.0])
    >>> optimizer = DecayedAdam(learning_rate=0.1, decay=0.5)
    >>> optimizer.apply([ops.zeros(1)], [weight])
    >>> round(float(weight[0]), 4)
    0.9
    """

    def __init__(
        self,
        learning_rate: float = 1e-5,
        decay: float = 0.0,
        decay_mode: str = "l2",
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        if decay_mode not in ("l2", "decoupled"):
            raise ValueError(
                f"decay_mode must be 'l2' or 'decoupled'; received {decay_mode!r}."
            )
        # Keras' own weight decay is the decoupled one.
        kwargs["weight_decay"] = decay if decay and decay_mode == "decoupled" else None
        super().__init__(learning_rate=learning_rate, epsilon=epsilon, **kwargs)
        self.decay = decay
        self.decay_mode = decay_mode

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable; Keras calls it once per variable and step.

        Args:
            gradient: gradient of the loss with respect to the variable, same shape.
            variable: updated in place.
            learning_rate: η, scalar.
        """
        dtype = variable.dtype
        rate = ops.cast(learning_rate, dtype)
        gradient = ops.cast(gradient, dtype)
        if self.decay_mode == "l2" and self.decay:
            gradient = gradient + ops.cast(self.decay, dtype) * variable
        step = ops.cast(self.iterations + 1, dtype)
        index = self._get_variable_index(variable)
        mean, square = self._momentums[index], self._velocities[index]
        self.assign_add(mean, (gradient - mean) * (1 - self.beta_1))
        self.assign_add(square, (ops.square(gradient) - square) * (1 - self.beta_2))
        mean_hat = mean / (1 - ops.power(ops.cast(self.beta_1, dtype), step))
        square_hat = square / (1 - ops.power(ops.cast(self.beta_2, dtype), step))
        self.assign_sub(
            variable, rate * mean_hat / (ops.sqrt(square_hat) + self.epsilon)
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that `from_config` needs."""
        config = super().get_config()
        config.pop("weight_decay")
        config.pop("amsgrad")
        return {**config, "decay": self.decay, "decay_mode": self.decay_mode}


def learning_rate_at(config: TrainingConfig, epoch: int) -> float:
    """Computes the learning rate of an epoch.

        η(epoch) = learning_rate · drop_factor^(number of drop_epochs ≤ epoch)

    Args:
        config: learning_rate, drop_epochs and drop_factor are used.
        epoch: counted from 0; a drop "after epoch 30" applies from epoch 30 on.

    Returns:
        A float > 0. Source: the authors' code (the paper does not mention it).

    >>> config = TrainingConfig(learning_rate=1.0, drop_epochs=(2,), drop_factor=0.5)
    >>> [learning_rate_at(config, epoch) for epoch in range(4)]
    [1.0, 1.0, 0.5, 0.5]
    """
    drops = sum(epoch >= drop for drop in config.drop_epochs)
    return config.learning_rate * config.drop_factor**drops


def build_optimizer(
    config: TrainingConfig, mixed_float16: bool = False
) -> keras.optimizers.Optimizer:
    """Builds the optimizer of a configuration, with loss scaling for float16.

    Args:
        config: learning_rate, weight_decay and weight_decay_mode are used.
        mixed_float16: whether gradients are computed in float16 and need
            dynamic loss scaling.

    Returns:
        A `DecayedAdam`, wrapped in a `LossScaleOptimizer` for float16.
    """
    optimizer = DecayedAdam(
        learning_rate=config.learning_rate,
        decay=config.weight_decay,
        decay_mode=config.weight_decay_mode,
    )
    if mixed_float16:
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
