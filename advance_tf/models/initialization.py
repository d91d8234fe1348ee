"""Random weights of ResNets and heads, as in PyTorch or as in Keras."""

import math
from typing import Any

import keras
from keras import layers


@keras.saving.register_keras_serializable("advance_tf")
class UniformByFanIn(keras.initializers.RandomUniform):
    """Uniform numbers within ±1/√fan_in, PyTorch's `Linear` for kernel and bias.

    A bias has the bound of its kernel, whose fan-in it cannot see.

    >>> values = UniformByFanIn(100)((100, 13))
    >>> bool(abs(values.numpy()).max() <= 0.1)
    True

    Args:
        fan_in: number of inputs of the layer.
        seed: as of `keras.initializers.RandomUniform`.
    """

    def __init__(self, fan_in: int, seed: int | None = None) -> None:
        bound = 1.0 / math.sqrt(fan_in)
        super().__init__(minval=-bound, maxval=bound, seed=seed)
        self.fan_in = fan_in

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        seed = super().get_config()["seed"]
        return {"fan_in": self.fan_in, "seed": seed}


def convolution_initializer(
    filters: int, kernel_size: tuple[int, int], initialization: str
) -> keras.initializers.Initializer | str:
    """The initializer of the kernel of a convolution of a ResNet.

        authors  w ~ N(0, 2/fan_out),  fan_out = filters · height · width
        keras    w ~ N(0, 2/fan_in), truncated at two deviations

    Args:
        filters: number of output channels.
        kernel_size: height and width.
        initialization: "authors" or "keras".

    Returns:
        The initializer. Source of the first: `kaiming_normal_` with mode "fan_out"
        in the authors' networks, as in torchvision.
    """
    if initialization == "keras":
        return "he_normal"
    fan_out = filters * math.prod(kernel_size)
    return keras.initializers.RandomNormal(stddev=math.sqrt(2.0 / fan_out))


def dense(
    inputs: keras.KerasTensor, units: int, initialization: str, **settings: Any
) -> layers.Dense:
    """Creates a dense layer for embeddings of a known size.

    Args:
        inputs: what the layer will be applied to, [B, D].
        units: number of outputs.
        initialization: "authors": kernel and bias uniform within ±1/√D; "keras":
            Glorot's uniform numbers and zeros.
        **settings: of `keras.layers.Dense`, such as `name`.

    Returns:
        The layer, not applied.

    >>> layer = dense(keras.Input((100,)), 13, "authors", name="scene_head")
    >>> layer.name, layer.bias_initializer.fan_in
    ('scene_head', 100)
    """
    if initialization == "authors":
        fan_in = int(inputs.shape[-1])
        settings = {
            "kernel_initializer": UniformByFanIn(fan_in),
            "bias_initializer": UniformByFanIn(fan_in),
            **settings,
        }
    return layers.Dense(units, **settings)
