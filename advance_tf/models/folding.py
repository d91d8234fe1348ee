"""Models for inference, with batch normalization folded into the convolutions."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from advance_tf.models.recognizer import RepeatOver


@keras.saving.register_keras_serializable("advance_tf")
class PaddedConv2D(layers.Conv2D):
    """A convolution that pads its input, as one operator and a bias.

    TensorFlow fuses Conv2D → BiasAdd → ReLU and Conv2D → BiasAdd → Add → ReLU;
    Keras' Conv2D adds a reshaped bias instead, and a separate padding layer copies
    the feature map.

    Args:
        filters: number of output channels.
        kernel_size: side, or height and width.
        margin: number of zeros on every side of the feature map.
        **kwargs: arguments of `keras.layers.Conv2D` other than `padding`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        margin: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, **{"padding": "valid", **kwargs})
        self.margin = margin

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolves [B, H, W, C] to [B, H', W', filters]."""
        height, width = self.kernel_size
        sides = [self.margin, self.margin]
        padding: str | list[list[int]] = [[0, 0], sides, sides, [0, 0]]
        if self.strides == (1, 1) and height == width == 2 * self.margin + 1:
            padding = "SAME"
        output = tf.nn.conv2d(inputs, self.kernel, self.strides, padding)
        return tf.nn.bias_add(output, self.bias)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the convolution of the padded feature map."""
        batch, height, width, channels = input_shape
        height, width = (
            side if side is None else side + 2 * self.margin for side in (height, width)
        )
        return super().compute_output_shape((batch, height, width, channels))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable("advance_tf")
class ConstantEmbedding(layers.Layer):
    """The embedding of an unused tower, the same for every example of a batch.

    Args:
        size: length of the embedding.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the embedding with zeros as initial values."""
        self.embedding = self.add_weight(
            shape=(self.size,), initializer="zeros", trainable=False, name="embedding"
        )

    def call(self, batch: tf.Tensor) -> tf.Tensor:
        """Returns the embedding [B, size] for inputs [B, ...] of any value."""
        return tf.broadcast_to(self.embedding, [tf.shape(batch)[0], self.size])

    def compute_output_shape(
        self, batch_shape: tuple[int | None, ...]
    ) -> tuple[int | None, int]:
        """Returns (B, size)."""
        return (batch_shape[0], self.size)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "size": self.size}


def fold_kernel(
    kernel: np.ndarray, norm: layers.BatchNormalization
) -> tuple[np.ndarray, np.ndarray]:
    """Folds the batch normalization after a convolution into its kernel and a bias.

        kernel' = kernel · γ / sqrt(σ² + ε), bias = β − μ γ / sqrt(σ² + ε)

    >>> norm = layers.BatchNormalization(epsilon=0.0)
    >>> norm.build((None, 1, 1, 2))
    >>> norm.set_weights([np.array(v) for v in ([2, 2], [1, 1], [3, 3], [4, 4])])
    >>> kernel, bias = fold_kernel(np.ones((1, 1, 1, 2)), norm)
    >>> kernel[0, 0, 0].tolist(), bias.tolist()
    ([1.0, 1.0], [-2.0, -2.0])

    Args:
        kernel: float [height, width, inputs, filters].
        norm: batch normalization, of which the moving statistics are used.

    Returns:
        Kernel and bias [filters], float32, computed in float64.
    """
    gamma, beta, mean, variance = (
        keras.ops.convert_to_numpy(value).astype(np.float64)
        for value in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    scale = gamma / np.sqrt(variance + norm.epsilon)
    folded = kernel.astype(np.float64) * scale
    return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)


class _Folding:
    """Creates, connects and sets the layers of the folded model.

    Args:
        model: the functional model to fold; it may contain functional models.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        # Convolution → the batch normalization after it.
        self.norms: dict[layers.Layer, layers.Layer] = {}
        # Convolution → the padding before it.
        self.margins: dict[layers.Layer, int] = {}
        # Layer → the embedding of an unused tower.
        self.embeddings: dict[str, np.ndarray] = {}
        # Layers without an operation in the folded model.
        self.merged: set[layers.Layer] = set()
        self._read(model)

    def _read(self, model: keras.Model) -> None:
        """Finds the batch normalization after and the padding before convolutions."""
        convolutions = {}
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                self._read(layer)
            elif isinstance(layer, layers.Conv2D):
                convolutions[id(layer.output)] = layer
        pads = {
            id(layer.output): layer
            for layer in model.layers
            if isinstance(layer, layers.ZeroPadding2D)
        }
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                if id(layer.input) not in convolutions:
                    raise ValueError(
                        "Every batch normalization must follow a convolution; "
                        f"{layer.name} follows another layer. Use a model of "
                        "`advance_tf.models`."
                    )
                self.norms[convolutions[id(layer.input)]] = layer
        for convolution in convolutions.values():
            if id(convolution.input) in pads:
                pad = pads[id(convolution.input)]
                self.margins[convolution] = pad.padding[0][0]
                self.merged.add(pad)

    def clone(self, layer: layers.Layer) -> layers.Layer:
        """Creates the layer of the folded model, with the same name."""
        if layer in self.norms:
            return PaddedConv2D(
                layer.filters,
                layer.kernel_size,
                self.margins.get(layer, 0),
                strides=layer.strides,
                name=layer.name,
                dtype="float32",
            )
        if isinstance(layer, RepeatOver):
            return self._constant_embedding(layer)
        clone = layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})
        if layer in self.merged or isinstance(
            layer, layers.BatchNormalization | layers.Dropout
        ):
            self.merged.add(clone)
        return clone

    def _constant_embedding(self, layer: layers.Layer) -> ConstantEmbedding:
        """Computes the embedding of zeros of an unused tower."""
        tower = self.model.get_layer(layer.name.replace("_repeat", "_tower"))
        zero = tf.zeros((1, *tower.input_shape[1:]))
        self.embeddings[layer.name] = fold_batch_norms(tower)(zero)[0].numpy()
        return ConstantEmbedding(
            tower.output_shape[-1], name=layer.name, dtype="float32"
        )

    def call(self, layer: layers.Layer, *inputs: Any, **settings: Any) -> Any:
        """Applies a layer of the folded model; merged layers return their input."""
        if layer in self.merged:
            return inputs[0]
        if isinstance(layer, ConstantEmbedding):
            return layer(inputs[1])
        return layer(*inputs, **settings)

    def set_weights(self, model: keras.Model, folded: keras.Model) -> None:
        """Sets the weights of the folded model from those of the original one."""
        for layer in folded.layers:
            if layer.name in self.embeddings:
                layer.set_weights([self.embeddings[layer.name]])
                continue
            if isinstance(layer, layers.InputLayer):
                continue
            source = model.get_layer(layer.name)
            if isinstance(layer, keras.Model):
                self.set_weights(source, layer)
            elif isinstance(layer, PaddedConv2D):
                kernel = keras.ops.convert_to_numpy(source.kernel)
                layer.set_weights(fold_kernel(kernel, self.norms[source]))
            elif layer.weights:
                layer.set_weights(source.get_weights())


def fold_batch_norms(
    recognizer: keras.Model, outputs: Sequence[str] | None = None
) -> keras.Model:
    """Builds a float32 model for inference without batch normalization and dropout.

    Layers keep their names and weights, except for convolutions, which include the
    padding before and the batch normalization after them, and for an unused tower,
    which becomes the constant embedding of zeros.

    Args:
        recognizer: a model of `build_recognizer`, `build_audio_tagger` or
            `build_image_classifier`, or one tower of it.
        outputs: names of the outputs to keep; None keeps all of them.

    Returns:
        A functional model with the same inputs; its outputs equal those of
        `recognizer(inputs, training=False)` up to the rounding of float32.

    Raises:
        ValueError: an output does not exist, or a batch normalization follows
            another layer than a convolution.
    """
    folding = _Folding(recognizer)
    folded = keras.models.clone_model(
        recognizer,
        clone_function=folding.clone,
        call_function=folding.call,
        recursive=True,
    )
    if outputs is not None:
        available = folded.output if isinstance(folded.output, dict) else {}
        if not outputs or not set(outputs) <= set(available):
            raise ValueError(
                f"outputs must be one or more of {', '.join(available) or 'none'}; "
                f"received {', '.join(outputs) or 'none'}. Use None for all."
            )
        selected = {name: available[name] for name in outputs}
        folded = keras.Model(folded.input, selected, name=folded.name)
    folding.set_weights(recognizer, folded)
    return folded


def freeze_graph(model: keras.Model) -> Callable[..., Any]:
    """Converts a model to one tf.function with the weights as constants of its graph.

    oneDNN converts a constant kernel to its own memory layout once, a variable at
    every call.

    Args:
        model: a model without batch normalization, as from `fold_batch_norms`.

    Returns:
        A tf.function from the model's input, a tensor or a dictionary of tensors,
        to its output, for any batch size. It contains copies of the weights: later
        changes of the model have no effect.
    """
    constants = [
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    signature = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), model.input
    )

    @tf.function(input_signature=[signature])
    def frozen(inputs: Any) -> Any:
        weights = [[tf.constant(value) for value in values] for values in constants]
        with tf.name_scope(model.name):
            return model.stateless_call(*weights, inputs, training=False)[0]

    return frozen
