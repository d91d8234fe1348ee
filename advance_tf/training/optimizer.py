"""Adam with the two readings of weight decay, and the learning rate's drops."""

import keras
from keras import ops

from advance_tf.config import TrainingConfig


@keras.saving.register_keras_serializable("advance_tf")
class DecayedAdam(keras.optimizers.Adam):
    """Adam as PyTorch computes it, with coupled (L2) or decoupled weight decay.

    With g the gradient, w the variable, λ the weight decay and η the rate:

        l2:        g ← g + λ w, then the step
        decoupled: w ← w (1 − η λ), then the step
        step:      w ← w − η m̂ / (sqrt(v̂) + ε),  m̂ = m/(1−β1^t), v̂ = v/(1−β2^t)

    Keras' own Adam adds ε to the uncorrected sqrt(v) and knows the decoupled
    reading only; the authors' code is PyTorch's Adam with `weight_decay`, that
    is, l2 on every parameter, biases and batch-norm scales among them.

    Args:
        learning_rate: float > 0.
        decay: λ, float ≥ 0.
        decay_mode: "l2" or "decoupled".
        epsilon: ε, float.
        **kwargs: of `keras.optimizers.Adam`.
    """

    def __init__(
        self, learning_rate=1e-5, decay=0.0, decay_mode="l2", epsilon=1e-8, **kwargs
    ):
        if decay_mode not in ("l2", "decoupled"):
            raise ValueError(
                f"decay_mode must be 'l2' or 'decoupled'; received {decay_mode!r}."
            )
        # Keras' own weight decay is the decoupled one.
        kwargs["weight_decay"] = decay if decay and decay_mode == "decoupled" else None
        super().__init__(learning_rate=learning_rate, epsilon=epsilon, **kwargs)
        self.decay = decay
        self.decay_mode = decay_mode

    def update_step(self, gradient, variable, learning_rate):
        """One step of `variable`; Keras calls it once per variable."""
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

    def get_config(self):
        """The arguments that make this optimizer again."""
        config = super().get_config()
        config.pop("weight_decay")
        config.pop("amsgrad")
        return {**config, "decay": self.decay, "decay_mode": self.decay_mode}


def learning_rate_at(config: TrainingConfig, epoch: int) -> float:
    """The learning rate of an epoch: a factor lower after each drop.

        η(epoch) = learning_rate · drop_factor^(number of drop_epochs ≤ epoch)

    Args:
        config: learning_rate, drop_epochs and drop_factor are read.
        epoch: counted from 0; a drop "after epoch 30" acts from epoch 30 on.

    Returns:
        A float > 0. Source: the authors' code (the paper is silent).
    """
    drops = sum(epoch >= drop for drop in config.drop_epochs)
    return config.learning_rate * config.drop_factor**drops


def build_optimizer(
    config: TrainingConfig, mixed_float16: bool = False
) -> keras.optimizers.Optimizer:
    """The optimizer of a configuration, with loss scaling for float16.

    Args:
        config: learning_rate, weight_decay and weight_decay_mode are read.
        mixed_float16: whether gradients are computed in float16 and need
            dynamic loss scaling.

    Returns:
        A `DecayedAdam`, inside a `LossScaleOptimizer` under float16.
    """
    optimizer = DecayedAdam(
        learning_rate=config.learning_rate,
        decay=config.weight_decay,
        decay_mode=config.weight_decay_mode,
    )
    if mixed_float16:
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
