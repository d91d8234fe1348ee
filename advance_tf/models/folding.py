"""The recognizer for inference: batch norms folded into the convolutions."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from advance_tf.models.recognizer import RepeatOver


@keras.saving.register_keras_serializable("advance_tf")
class PaddedConv2D(layers.Conv2D):
    """A convolution that pads by itself, as one operator and a bias.

    Conv2D → BiasAdd → ReLU and Conv2D → BiasAdd → Add → ReLU are what
    TensorFlow fuses; Keras' own layer adds a reshaped bias, and the padding in a
    layer of its own copies the map.

    Args:
        filters: output channels.
        kernel_size: one number or two.
        margin: zeros on every side of the map.
        **kwargs: of `keras.layers.Conv2D`; padding must be left alone.
    """

    def __init__(self, filters, kernel_size, margin=0, **kwargs):
        super().__init__(filters, kernel_size, **{"padding": "valid", **kwargs})
        self.margin = margin

    def call(self, inputs):
        """[B, H, W, C] → [B, H', W', filters]."""
        height, width = self.kernel_size
        sides = [self.margin, self.margin]
        padding: str | list[list[int]] = [[0, 0], sides, sides, [0, 0]]
        if self.strides == (1, 1) and height == width == 2 * self.margin + 1:
            padding = "SAME"
        output = tf.nn.conv2d(inputs, self.kernel, self.strides, padding)
        return tf.nn.bias_add(output, self.bias)

    def compute_output_shape(self, input_shape):
        """The shape of the padded map's convolution."""
        batch, height, width, channels = input_shape
        extra = 2 * self.margin
        return super().compute_output_shape(
            (batch, height + extra, width + extra, channels)
        )

    def get_config(self):
        """The configuration with the margin."""
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable("advance_tf")
class ConstantEmbedding(layers.Layer):
    """The embedding of a tower that is not in use, for every example of a batch.

    Args:
        size: length of the embedding.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape):
        """Makes the embedding, zeros until it is set."""
        self.embedding = self.add_weight(
            shape=(self.size,), initializer="zeros", trainable=False, name="embedding"
        )

    def call(self, batch):
        """[B, ...] → [B, size], independent of the values."""
        return tf.broadcast_to(self.embedding, [tf.shape(batch)[0], self.size])

    def compute_output_shape(self, batch_shape):
        """The batch's size with the embedding's length."""
        return (batch_shape[0], self.size)

    def get_config(self):
        """The configuration with the size."""
        return {**super().get_config(), "size": self.size}


def fold_kernel(
    kernel: np.ndarray, norm: layers.BatchNormalization
) -> tuple[np.ndarray, np.ndarray]:
    """The kernel and bias of a convolution with the batch norm after it.

        kernel' = kernel · γ / sqrt(σ² + ε), bias = β − μ γ / sqrt(σ² + ε)

    Args:
        kernel: [height, width, inputs, filters].
        norm: its moving statistics are used.

    Returns:
        float32 kernel' and bias [filters], computed in float64.
    """
    gamma, beta, mean, variance = (
        keras.ops.convert_to_numpy(value).astype(np.float64)
        for value in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    scale = gamma / np.sqrt(variance + norm.epsilon)
    folded = kernel.astype(np.float64) * scale
    return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)


class _Folding:
    """How each layer of a functional model is made anew."""

    def __init__(self, model: keras.Model):
        self.model = model
        self.norms: dict[layers.Layer, layers.Layer] = {}
        self.margins: dict[layers.Layer, int] = {}
        self.embeddings: dict[str, np.ndarray] = {}
        self.merged: set[layers.Layer] = set()
        self._read(model)

    def _read(self, model):
        """Finds the batch norm behind, and the padding before, each convolution."""
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
                        "Every batch norm must follow a convolution to be folded; "
                        f"{layer.name} follows something else."
                    )
                self.norms[convolutions[id(layer.input)]] = layer
        for convolution in convolutions.values():
            if id(convolution.input) in pads:
                pad = pads[id(convolution.input)]
                self.margins[convolution] = pad.padding[0][0]
                self.merged.add(pad)

    def clone(self, layer):
        """The layer of the folded model, of the same name and without weights."""
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
            return self._constant(layer)
        clone = layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})
        if layer in self.merged or isinstance(
            layer, layers.BatchNormalization | layers.Dropout
        ):
            self.merged.add(clone)
        return clone

    def _constant(self, layer):
        tower = self.model.get_layer(layer.name.replace("_repeat", "_tower"))
        zero = tf.zeros((1, *tower.input_shape[1:]))
        self.embeddings[layer.name] = fold_batch_norms(tower)(zero)[0].numpy()
        return ConstantEmbedding(
            tower.output_shape[-1], name=layer.name, dtype="float32"
        )

    def call(self, layer, *inputs, **settings):
        """Applies a layer of the folded model; what is folded passes through."""
        if layer in self.merged:
            return inputs[0]
        if isinstance(layer, ConstantEmbedding):
            return layer(inputs[1])
        return layer(*inputs, **settings)

    def set_weights(self, model, folded):
        """Gives the folded layers their weights."""
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
    """A float32 model for inference, without batch norms.

    Layers keep their names and weights, but for convolutions, which carry the
    batch norm (and the padding) that was a layer of its own; dropout is gone,
    and a tower that is not in use is its constant embedding of zeros.

    Args:
        recognizer: of `build_recognizer`, `build_audio_tagger` or
            `build_image_classifier`, or one tower of it.
        outputs: names of the outputs to keep; None for all of them.

    Returns:
        A functional model of the same inputs; its outputs equal those of
        `recognizer(inputs, training=False)` up to float32's rounding.

    Raises:
        ValueError: there is no such output, or a batch norm follows something
            other than a convolution.
    """
    folding = _Folding(recognizer)
    folded = keras.models.clone_model(
        recognizer,
        clone_function=folding.clone,
        call_function=folding.call,
        recursive=True,
    )
    if outputs is not None:
        known = folded.output if isinstance(folded.output, dict) else {}
        if not outputs or not set(outputs) <= set(known):
            raise ValueError(
                f"outputs must be one or more of {', '.join(known) or 'none'}; "
                f"received {', '.join(outputs) or 'none'}."
            )
        chosen = {name: known[name] for name in outputs}
        folded = keras.Model(folded.input, chosen, name=folded.name)
    folding.set_weights(recognizer, folded)
    return folded


def freeze(model: keras.Model):
    """The model as one function whose weights are constants of its graph.

    oneDNN brings a constant kernel into its own layout once; the kernel in a
    variable, at every call.

    Args:
        model: as `fold_batch_norms` makes it.

    Returns:
        A tf.function from the model's input, a tensor or a dictionary of them,
        to its output, for any batch size, traced once. It holds copies: later
        changes of the model do not reach it.
    """
    kept = [
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    signature = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), model.input
    )

    @tf.function(input_signature=[signature])
    def frozen(inputs):
        weights = [[tf.constant(value) for value in values] for values in kept]
        with tf.name_scope(model.name):
            return model.stateless_call(*weights, inputs, training=False)[0]

    return frozen
