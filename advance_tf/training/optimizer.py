"""Adam and SGD as in PyTorch, with weight decay, and the schedule of their rate."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from advance_tf.config import TrainingConfig


@keras.saving.register_keras_serializable("advance_tf")
class DecayedAdam(keras.optimizers.Adam):
    """Adam as PyTorch computes it, with coupled (L2) or decoupled weight decay.

    With g the gradient, w the variable, λ the weight decay and η the rate:

        l2:        g ← g + λ w, then the step
        decoupled: w ← w (1 − η λ), then the step
        step:      w ← w − η m̂ / (sqrt(v̂) + ε),  m̂ = m/(1−β1^t), v̂ = v/(1−β2^t)

    `scale_rates` gives variables a rate of their own, a multiple of η.

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
    >>> optimizer.apply([tf.zeros(1)], [weight])
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
        # Keras' own weight decay does not follow the rates of variables.
        kwargs["weight_decay"] = None
        super().__init__(learning_rate=learning_rate, epsilon=epsilon, **kwargs)
        self.decay = decay
        self.decay_mode = decay_mode
        # Factors of η and ε in the current step; None between the steps.
        self._factors: tuple[tf.Tensor, tf.Tensor] | None = None
        # By the identity of a variable, and by its position once built.
        self._requested_factors: dict[int, float] = {}
        self._rate_factors: list[float] = []

    def scale_rates(self, variables: Iterable[keras.Variable], factor: float) -> None:
        """Multiplies the learning rate of some variables; call it before `build`.

        Args:
            variables: trainable variables.
            factor: factor of their rate, above 0.
        """
        for variable in variables:
            self._requested_factors[id(variable)] = factor

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the moments of the variables, once.

        Args:
            variables: the trainable variables.
        """
        if not self.built:
            requested = self._requested_factors
            self._rate_factors = [requested.get(id(v), 1.0) for v in variables]
        super().build(variables)

    def apply(
        self,
        grads: list[tf.Tensor],
        trainable_variables: list[keras.Variable] | None = None,
    ) -> None:
        """Runs one step.

        Args:
            grads: gradient of the loss with respect to each variable.
            trainable_variables: updated in place; None for those of `build`.
        """
        # Once for all of the hundreds of variables.
        self._factors = self._correction()
        try:
            super().apply(grads, trainable_variables)
        finally:
            self._factors = None

    def _all_reduce_sum_gradients(
        self, grads_and_vars: Iterable[tuple[tf.Tensor, keras.Variable]]
    ) -> list[tuple[tf.Tensor, keras.Variable]]:
        """Sums the gradients over the replicas, if there are several.

        TensorFlow registers a gradient for each sum that it traces, which keeps the
        graph and the memory of its variables as long as the process runs. With one
        replica there is nothing to sum.
        """
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return list(grads_and_vars)
        reduced: list[tuple[tf.Tensor, keras.Variable]] = (
            super()._all_reduce_sum_gradients(grads_and_vars)
        )
        return reduced

    def _correction(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Factors of η and ε that correct the bias of m and v, float64.

        With s = sqrt(1 − β2^t), the step is

            w ← w − η s / (1 − β1^t) · m / (sqrt(v) + s ε),

        which TensorFlow's kernel of Adam computes in one pass over the memory.
        """
        step = tf.cast(self.iterations, tf.float64) + 1.0
        root = tf.sqrt(1.0 - tf.cast(self.beta_2, tf.float64) ** step)
        return root / (1.0 - tf.cast(self.beta_1, tf.float64) ** step), root

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
        gradient = tf.cast(gradient, dtype)
        index = self._get_variable_index(variable)
        own_rate = tf.cast(learning_rate, tf.float64) * self._rate_factors[index]
        if self.decay and self.decay_mode == "l2":
            gradient = gradient + tf.cast(self.decay, dtype) * variable
        elif self.decay:
            share = tf.cast(own_rate * self.decay, dtype)
            self.assign_sub(variable, share * tf.convert_to_tensor(variable))
        self._step(gradient, variable, own_rate)

    def _step(
        self, gradient: tf.Tensor, variable: keras.Variable, rate: tf.Tensor
    ) -> None:
        """Runs the step of one variable, after its decay, with its own rate η."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        rate_factor, epsilon_factor = self._factors or self._correction()
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            # The kernel's own correction, which leaves ε as it is, is not used.
            beta1_power=tf.zeros((), dtype),
            beta2_power=tf.zeros((), dtype),
            lr=tf.cast(rate * rate_factor, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon * epsilon_factor, dtype),
            grad=gradient,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that `from_config` needs."""
        config = super().get_config()
        config.pop("weight_decay")
        config.pop("amsgrad")
        return {**config, "decay": self.decay, "decay_mode": self.decay_mode}


@keras.saving.register_keras_serializable("advance_tf")
class MomentumSGD(DecayedAdam):
    """Gradient descent with momentum as PyTorch computes it, with weight decay.

    With the symbols of `DecayedAdam` and the momentum μ:

        step:      m ← μ m + g,  w ← w − η m

    Keras' own SGD includes η in m, which differs after the rate has changed.

    Args:
        learning_rate: float > 0.
        momentum: μ in [0, 1).
        **kwargs: of `DecayedAdam`: decay, decay_mode.

    >>> weight = keras.Variable([1.0])
    >>> optimizer = MomentumSGD(learning_rate=0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.apply([tf.ones(1)], [weight])
    >>> round(float(weight[0]), 4)
    0.75
    """

    def __init__(
        self, learning_rate: float = 1e-3, momentum: float = 0.9, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum

    def _step(
        self, gradient: tf.Tensor, variable: keras.Variable, rate: tf.Tensor
    ) -> None:
        tf.raw_ops.ResourceApplyMomentum(
            var=_handle(variable),
            accum=_handle(self._momentums[self._get_variable_index(variable)]),
            lr=tf.cast(rate, variable.dtype),
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that `from_config` needs."""
        return {**super().get_config(), "momentum": self.momentum}


def _handle(variable: keras.Variable | tf.Variable) -> tf.Tensor:
    """Returns the resource of a variable, or of its copy on the current replica."""
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return variable.handle


def scale_rates(
    optimizer: keras.optimizers.Optimizer,
    variables: Iterable[keras.Variable],
    factor: float,
) -> None:
    """Multiplies the learning rate of some variables.

    Args:
        optimizer: of `build_optimizer`, not built yet.
        variables: trainable variables.
        factor: factor of their rate, above 0.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    optimizer.scale_rates(variables, factor)


def learning_rate_at(config: TrainingConfig, epoch: int) -> float:
    """Computes the learning rate of an epoch, with W = warmup_epochs.

        warm-up   η = learning_rate · (epoch + 1)/(W + 1)  in the first W epochs, then
        drops     η = learning_rate · drop_factor^(number of drop_epochs ≤ epoch)
        cosine    η = learning_rate · (1 + cos(π (epoch − W)/(epochs − W)))/2
        constant  η = learning_rate

    Args:
        config: learning_rate, learning_rate_schedule, warmup_epochs and the settings
            of the schedule are used.
        epoch: counted from 0; a drop at 31 applies from epoch 31 on, the 32nd.

    Returns:
        A float > 0. Source of the drops: the authors' code (the paper does not
        mention them), which lowers the rate when the epochs 30, 60 and 90, counted
        from 0, are done.

    >>> config = TrainingConfig(learning_rate=1.0, drop_epochs=(2,), drop_factor=0.5)
    >>> [learning_rate_at(config, epoch) for epoch in range(4)]
    [1.0, 1.0, 0.5, 0.5]
    >>> config = TrainingConfig(
    ...     learning_rate=1.0, epochs=4, learning_rate_schedule="cosine"
    ... )
    >>> [round(learning_rate_at(config, epoch), 3) for epoch in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    warmup = config.warmup_epochs
    if epoch < warmup:
        return config.learning_rate * (epoch + 1) / (warmup + 1)
    if config.learning_rate_schedule == "cosine":
        share = (epoch - warmup) / (config.epochs - warmup)
        return config.learning_rate * (1 + math.cos(math.pi * share)) / 2
    if config.learning_rate_schedule == "constant":
        return config.learning_rate
    drops = sum(epoch >= drop for drop in config.drop_epochs)
    return config.learning_rate * config.drop_factor**drops


def build_optimizer(
    config: TrainingConfig, mixed_float16: bool = False
) -> keras.optimizers.Optimizer:
    """Builds the optimizer of a configuration, with loss scaling for float16.

    Args:
        config: optimizer, momentum, learning_rate, weight_decay and
            weight_decay_mode are used.
        mixed_float16: whether gradients are computed in float16 and need
            dynamic loss scaling.

    Returns:
        A `DecayedAdam` or `MomentumSGD`, wrapped in a `LossScaleOptimizer` for float16.
    """
    settings: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "decay": config.weight_decay,
        "decay_mode": config.weight_decay_mode,
    }
    optimizer = (
        MomentumSGD(momentum=config.momentum, **settings)
        if config.optimizer == "sgd"
        else DecayedAdam(**settings)
    )
    if mixed_float16:
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
