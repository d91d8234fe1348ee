"""Models for inference, with batch normalization folded into the convolutions."""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from advance_tf.models.recognizer import RepeatOver
from advance_tf.models.resnet import Conv2D


@keras.saving.register_keras_serializable("advance_tf")
class BiasedDepthwiseConv2D(layers.DepthwiseConv2D):
    """A depthwise convolution whose bias is one operator, see `resnet.Conv2D`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolves [B, H, W, C] to [B, H', W', C · depth_multiplier]."""
        output = tf.nn.depthwise_conv2d(
            inputs, self.kernel, [1, *self.strides, 1], self.padding.upper()
        )
        return tf.nn.bias_add(output, self.bias)


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


# The packages whose layers are created again in a folded model; it shares others.
_CLONED = ("keras.", "advance_tf.", "tests.", "__main__")


def fold_kernel(
    kernel: np.ndarray,
    norm: layers.BatchNormalization,
    bias: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Folds the batch normalization after a convolution into its kernel and a bias.

        kernel' = kernel · γ / sqrt(σ² + ε), bias' = β + (bias − μ) γ / sqrt(σ² + ε)

    >>> norm = layers.BatchNormalization(epsilon=0.0)
    >>> norm.build((None, 1, 1, 2))
    >>> norm.set_weights([np.array(v) for v in ([2, 2], [1, 1], [3, 3], [4, 4])])
    >>> kernel, bias = fold_kernel(np.ones((1, 1, 1, 2)), norm)
    >>> kernel[0, 0, 0].tolist(), bias.tolist()
    ([1.0, 1.0], [-2.0, -2.0])

    Args:
        kernel: float [height, width, inputs, filters], or that of a depthwise
            convolution, [height, width, channels, multiplier].
        norm: batch normalization of `filters`, or of channels · multiplier, of which
            the moving statistics are used.
        bias: bias of the convolution; None for zeros.

    Returns:
        Kernel and bias [filters], float32, computed in float64.
    """
    mean, variance, gamma, beta = (
        None if value is None else keras.ops.convert_to_numpy(value).astype(np.float64)
        for value in (norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta)
    )
    assert mean is not None
    assert variance is not None
    scale = (1.0 if gamma is None else gamma) / np.sqrt(variance + norm.epsilon)
    shape = kernel.shape[-1:] if kernel.shape[-1] == scale.size else kernel.shape[-2:]
    folded = kernel.astype(np.float64) * scale.reshape(shape)
    shift = (0.0 if bias is None else bias) - mean
    offset = (0.0 if beta is None else beta) + shift * scale
    return folded.astype(np.float32), offset.astype(np.float32)


def with_dtype(layer: layers.Layer, dtype: str) -> layers.Layer:
    """Creates the same layer with another type, for `keras.models.clone_model`.

    Args:
        layer: a layer, or an operation of `keras.ops`, which has no type.
        dtype: such as "float32".

    Returns:
        A new layer of the same settings without its weights.
    """
    settings = layer.get_config()
    if isinstance(layer, layers.Layer):
        settings = {**settings, "dtype": dtype}
    return layer.__class__.from_config(settings)


def _is_plain(layer: layers.Layer) -> bool:
    """Whether a layer is a convolution that a clone with a fused bias can replace."""
    if type(layer) not in (layers.Conv2D, Conv2D, layers.DepthwiseConv2D):
        return False
    return (
        layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
        and layer.dilation_rate == (1, 1)
        and getattr(layer, "groups", 1) == 1
        and layer.strides[0] == layer.strides[1]
    )


class _Folding:
    """Creates, connects and sets the layers of the folded model.

    Args:
        model: the functional model to fold; it may contain functional models.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        # Convolutions whose clone has a bias in its operator.
        self.convolutions: set[layers.Layer] = set()
        # Convolution → the batch normalization after it.
        self.norms: dict[layers.Layer, layers.Layer] = {}
        # Convolution → the padding before it.
        self.margins: dict[layers.Layer, int] = {}
        # Layer → the embedding of an unused tower.
        self.embeddings: dict[str, np.ndarray] = {}
        self.merged_norms: set[layers.Layer] = set()
        # Layers without an operation in the folded model.
        self.merged: set[layers.Layer] = set()
        self._read(model)

    def _read(self, model: keras.Model) -> None:
        """Finds the batch normalization after and the padding before convolutions."""
        convolutions, pads = {}, {}
        consumers = collections.Counter(map(id, model.outputs))
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                self._read(layer)
            elif _is_plain(layer):
                convolutions[id(layer.output)] = layer
            elif isinstance(layer, layers.ZeroPadding2D):
                pads[id(layer.output)] = layer
            consumers.update(map(id, keras.tree.flatten(layer.input)))
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                convolution = convolutions.get(id(layer.input))
                # An output that another layer needs too stays as it is.
                if convolution is not None and consumers[id(layer.input)] == 1:
                    self.norms[convolution] = layer
                    self.merged_norms.add(layer)
        for convolution in convolutions.values():
            if convolution not in self.norms and not convolution.use_bias:
                continue
            self.convolutions.add(convolution)
            pad = pads.get(id(convolution.input))
            if pad is None or consumers[id(convolution.input)] > 1:
                continue
            sides = {side for axis in pad.padding for side in axis}
            is_conv2d = not isinstance(convolution, layers.DepthwiseConv2D)
            is_valid = getattr(convolution, "margin", 0) == 0 and (
                convolution.padding == "valid"
            )
            if is_conv2d and is_valid and len(sides) == 1:
                self.margins[convolution] = sides.pop()
                self.merged.add(pad)

    def clone(self, layer: layers.Layer) -> layers.Layer:
        """Creates the layer of the folded model, with the same name."""
        if layer in self.convolutions:
            return self._clone_convolution(layer)
        if isinstance(layer, RepeatOver):
            return self._constant_embedding(layer)
        if not type(layer).__module__.startswith(_CLONED):
            # Settings of layers of other packages do not always create them again.
            return layer
        clone = with_dtype(layer, "float32")
        if layer in self.merged | self.merged_norms or isinstance(
            layer, layers.Dropout
        ):
            self.merged.add(clone)
        return clone

    def _clone_convolution(self, layer: layers.Layer) -> layers.Layer:
        settings = {
            "strides": layer.strides,
            "padding": layer.padding,
            "name": layer.name,
            "dtype": "float32",
        }
        if isinstance(layer, layers.DepthwiseConv2D):
            return BiasedDepthwiseConv2D(
                layer.kernel_size, depth_multiplier=layer.depth_multiplier, **settings
            )
        margin = self.margins.get(layer, getattr(layer, "margin", 0))
        return Conv2D(layer.filters, layer.kernel_size, margin, **settings)

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
            elif source in self.norms:
                kernel, *bias = source.get_weights()
                folded_weights = fold_kernel(kernel, self.norms[source], *bias)
                layer.set_weights(folded_weights)
            elif layer.weights:
                layer.set_weights(source.get_weights())
            if isinstance(layer, layers.Normalization):
                layer.finalize_state()


def fold_batch_norms(
    recognizer: keras.Model, outputs: Sequence[str] | None = None
) -> keras.Model:
    """Builds a float32 model for inference without batch normalization and dropout.

    Layers keep their names and weights, except for convolutions, which include the
    padding before and the batch normalization after them, and for an unused tower,
    which becomes the constant embedding of zeros. A batch normalization that does not
    follow a convolution, as in a DenseNet, stays; it uses its moving statistics.

    Args:
        recognizer: a model of `build_recognizer`, `build_audio_tagger` or
            `build_image_classifier`, or one tower of it.
        outputs: names of the outputs to keep; None keeps all of them.

    Returns:
        A functional model with the same inputs; its outputs equal those of
        `recognizer(inputs, training=False)` up to the rounding of float32.

    Raises:
        ValueError: an output does not exist.
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
        model: a model for inference, as from `fold_batch_norms`.

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
