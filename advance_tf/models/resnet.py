"""ResNet v1 towers of bottleneck or basic blocks, with fused batch normalization."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from advance_tf.models.initialization import convolution_initializer


@keras.saving.register_keras_serializable("advance_tf")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization over the global batch.

        y = γ (x − μ) / sqrt(σ² + ε) + β
        moving ← 0.9 moving + 0.1 batch, with the batch variance n/(n−1) σ²

    Keras' BatchNormalization differs in three points: by default it computes the
    statistics of each replica separately, so that a step on two replicas differs
    from one on a single device; it does not use TensorFlow's fused kernel; and it
    stores the biased variance, where PyTorch, and therefore the released weights,
    have the unbiased one.

    Args:
        name: name of the layer.
        repeated: whether the batch is one example in place of B equal ones. With n
            positions of the example, the moving variance is then that of n B values
            for large B, σ², in place of n/(n−1) σ².
        **kwargs: arguments of `keras.layers.BatchNormalization`; momentum is 0.9
            and epsilon 1e-5 by default.
    """

    def __init__(
        self, name: str | None = None, repeated: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(name=name, **{"momentum": 0.9, "epsilon": 1e-5, **kwargs})
        self.repeated = repeated

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "repeated": self.repeated}

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Normalizes [B, H, W, C]; the output has the same shape and type."""
        del mask
        use_batch = bool(training) and self.trainable
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        # The fused kernel supports neither several replicas nor float64.
        if inputs.dtype == tf.float64 or (use_batch and replicas > 1):
            return self._normalize(inputs, use_batch)
        output, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.cast(self.gamma, tf.float32),
            tf.cast(self.beta, tf.float32),
            mean=None if use_batch else tf.convert_to_tensor(self.moving_mean),
            variance=None if use_batch else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=use_batch,
        )
        if use_batch:
            # The fused kernel returns the unbiased variance.
            if self.repeated:
                count = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
                variance = variance * (count - 1.0) / count
            self._update_statistics(mean, variance)
        return output

    def _normalize(self, inputs: tf.Tensor, use_batch: bool) -> tf.Tensor:
        """Normalizes with basic operations, on any number of replicas."""
        kind = tf.float64 if inputs.dtype == tf.float64 else tf.float32
        wide = tf.cast(inputs, kind)
        mean, variance = self.moving_mean, self.moving_variance
        if use_batch:
            mean, variance = self._global_moments(wide)
        weights = (mean, variance, self.beta, self.gamma)
        output = tf.nn.batch_normalization(
            wide, *(tf.cast(weight, kind) for weight in weights), self.epsilon
        )
        return tf.cast(output, inputs.dtype)

    def _global_moments(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance [C] of the batches of all replicas."""
        axes = list(range(len(values.shape) - 1))
        count = tf.cast(tf.size(values) // values.shape[-1], values.dtype)
        context = tf.distribute.get_replica_context()
        total, sums = context.all_reduce(
            tf.distribute.ReduceOp.SUM, [count, tf.reduce_sum(values, axes)]
        )
        mean = sums / total
        # A second pass instead of E[x²] − μ², which cancels in float32.
        squares = context.all_reduce(
            tf.distribute.ReduceOp.SUM, tf.reduce_sum(tf.square(values - mean), axes)
        )
        unbiased = squares / tf.maximum(total - 1.0, 1.0)
        self._update_statistics(mean, squares / total if self.repeated else unbiased)
        return mean, squares / total

    def _update_statistics(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Updates the moving averages [C] with the statistics of a batch."""
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            old = tf.convert_to_tensor(moving)
            moving.assign(old * self.momentum + batch * (1.0 - self.momentum))


@keras.saving.register_keras_serializable("advance_tf")
class Conv2D(layers.Conv2D):
    """A convolution that pads its input with zeros, in one operation.

    A separate padding layer copies the feature map, keeps the copy for the backward
    pass and cuts the margins off its gradient; here only a stride in training needs
    the copy. Keras' padding "same" adds an odd row at the end only, if there is a
    stride, which would shift the features of converted weights. A bias is one
    operation too: TensorFlow fuses Conv2D → BiasAdd → ReLU and Conv2D → BiasAdd →
    Add → ReLU; Keras' Conv2D adds a reshaped bias.

    The class has the name of Keras' layer because Keras names the groups of a
    weights file after the classes: files of plain `keras.layers.Conv2D` fit.

    Args:
        filters: number of output channels.
        kernel_size: side, or height and width.
        margin: number of zeros on every side of the feature map, 0 with the padding
            "same".
        **kwargs: arguments of `keras.layers.Conv2D`; padding is "valid" by default.
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

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Convolves [B, H, W, C] to [B, H', W', filters]."""
        sides = [self.margin, self.margin]
        padding: str | list[list[int]] = [[0, 0], sides, sides, [0, 0]]
        height, width = self.kernel_size
        if self.margin == 0:
            padding = self.padding.upper()
        elif self.strides == (1, 1) and height == width == 2 * self.margin + 1:
            padding = "SAME"
        elif training:
            # oneDNN has no gradient of a convolution with explicit padding; that of
            # Eigen takes several times as long as a copy of the feature map.
            inputs, padding = tf.pad(inputs, padding), "VALID"
        output = tf.nn.conv2d(inputs, self.kernel, self.strides, padding)
        return tf.nn.bias_add(output, self.bias) if self.use_bias else output

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


# Depth → number of blocks of each stage.
BLOCKS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_FROM = 50
_EXPANSION = 4


def embedding_size(depth: int, width: int = 64) -> int:
    """Returns the length of a tower's embedding.

    >>> embedding_size(18), embedding_size(50)
    (512, 2048)

    Args:
        depth: depth of the ResNet.
        width: number of channels of its first stage.

    Returns:
        32 · width with bottleneck blocks (from depth 50), otherwise 8 · width.
    """
    return 8 * width * (_EXPANSION if depth >= BOTTLENECK_FROM else 1)


def _convolution(
    x: keras.KerasTensor, channels: int, kernel: int, stride: int, name: str, init: str
) -> keras.KerasTensor:
    """Applies a convolution without bias and with PyTorch's symmetric padding."""
    return Conv2D(
        channels,
        kernel,
        kernel // 2,
        strides=stride,
        use_bias=False,
        kernel_initializer=convolution_initializer(channels, (kernel, kernel), init),
        name=name,
    )(x)


def _shortcut(
    x: keras.KerasTensor, channels: int, stride: int, name: str, init: str
) -> keras.KerasTensor:
    """Returns the input of a block with the shape of its output."""
    if stride == 1 and x.shape[-1] == channels:
        return x
    if stride > 1:
        # Pooling and a 1×1 convolution equal a strided 1×1 convolution, which crashes
        # in oneDNN's AVX-512 kernels with 8 channels (TensorFlow 2.21).
        x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_downsample_skip")(x)
    x = _convolution(x, channels, 1, 1, f"{name}_downsample_0", init)
    return BatchNorm(name=f"{name}_downsample_1")(x)


def _block(
    x: keras.KerasTensor, depth: int, width: int, stride: int, name: str, init: str
) -> keras.KerasTensor:
    """Applies a residual block; the stride is in its first 3×3 convolution.

    [B, H, W, C] → [B, H / stride, W / stride, channels], channels = width or, in a
    bottleneck block, 4 · width.
    """
    if depth >= BOTTLENECK_FROM:
        channels = width * _EXPANSION
        steps = [(width, 1, 1), (width, 3, stride), (channels, 1, 1)]
    else:
        channels = width
        steps = [(width, 3, stride), (width, 3, 1)]
    residual = x
    for number, (filters, kernel, step_stride) in enumerate(steps, start=1):
        residual = _convolution(
            residual, filters, kernel, step_stride, f"{name}_conv{number}", init
        )
        residual = BatchNorm(name=f"{name}_bn{number}")(residual)
        if number < len(steps):
            residual = layers.ReLU(name=f"{name}_relu{number}")(residual)
    total = layers.Add(name=f"{name}_add")(
        [residual, _shortcut(x, channels, stride, name, init)]
    )
    return layers.ReLU(name=f"{name}_out")(total)


def build_resnet(
    depth: int,
    width: int = 64,
    input_shape: tuple[int, int, int] = (256, 256, 3),
    first_stride: int = 2,
    name: str = "image_tower",
    initialization: str = "authors",
) -> keras.Model:
    """Builds a ResNet tower from an image or a log-mel to its embedding.

    Layers are named after PyTorch's keys (`layer1.0.conv1` becomes
    `layer1_0_conv1`); the last feature map is the output of the layer `features`.

    >>> tower = build_resnet(18, width=4, input_shape=(32, 32, 3))
    >>> tower.output_shape, tower.get_layer("features").output.shape
    ((None, 32), (None, 1, 1, 32))

    Args:
        depth: 10, 18, 34, 50, 101 or 152.
        width: number of channels of the first stage, 64 in the paper.
        input_shape: height, width, channels.
        first_stride: stride of the first convolution; 1 for the audio tower.
        name: name of the model.
        initialization: distribution of the random kernels, "authors" or "keras", see
            `convolution_initializer`.

    Returns:
        A model [B, *input_shape] → embedding [B, embedding_size(depth, width)].

    Raises:
        ValueError: the depth is not a standard one, or width or stride is below 1.

    Source: He et al., CVPR 2016, in the form of the authors' checkpoints: no
    convolution bias, batch-norm epsilon 1e-5, symmetric padding, stride in the
    3×3 convolution.
    """
    if depth not in BLOCKS:
        raise ValueError(
            f"depth must be one of {', '.join(map(str, BLOCKS))}; received {depth}. "
            "Choose one of these."
        )
    if width < 1 or first_stride < 1:
        raise ValueError(
            "width and `first_stride` must be at least 1; received "
            f"{width} and {first_stride}. Raise them."
        )
    inputs = keras.Input(input_shape, name="map")
    # [B, H / first_stride, W / first_stride, width]
    x = _convolution(inputs, width, 7, first_stride, "conv1", initialization)
    x = BatchNorm(name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    # Values are ≥ 0 after the ReLU, so padding with zeros does not change the maximum.
    # [B, H / 2 / first_stride, W / 2 / first_stride, width]
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    # The last three stages halve height and width and double the channels.
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            label = f"layer{stage + 1}_{block}"
            x = _block(x, depth, width * 2**stage, stride, label, initialization)
    # [B, h, w, D]
    x = layers.Identity(name="features")(x)
    # [B, D]
    outputs = layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(inputs, outputs, name=name)
