"""Residual towers: ResNet v1 with the topology of the released checkpoints."""

import keras
from keras import layers

from advance_tf.models.batch_norm import BatchNorm

# Depth → blocks of each stage.
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_FROM = 50
_EXPANSION = 4


def embedding_size(depth: int, width: int = 64) -> int:
    """Length of a tower's embedding: 32 · width with bottlenecks, else 8 · width."""
    return 8 * width * (_EXPANSION if depth >= BOTTLENECK_FROM else 1)


def _convolution(x, channels, kernel, stride, name):
    """A convolution without bias, padded alike on both sides as PyTorch pads.

    Padding "same" puts the odd row at the end under a stride, which shifts the
    features of converted weights.
    """
    if kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _shortcut(x, channels, stride, name):
    if stride == 1 and x.shape[-1] == channels:
        return x
    if stride > 1:
        # The same numbers as a strided 1×1 convolution, which crashes in oneDNN's
        # AVX-512 kernels on maps of 8 channels (TensorFlow 2.21).
        x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_downsample_skip")(x)
    x = _convolution(x, channels, 1, 1, f"{name}_downsample_0")
    return BatchNorm(name=f"{name}_downsample_1")(x)


def _block(x, depth, width, stride, name):
    """One residual block; in a bottleneck the stride is in the 3×3 convolution."""
    if depth >= BOTTLENECK_FROM:
        channels = width * _EXPANSION
        steps = [(width, 1, 1), (width, 3, stride), (channels, 1, 1)]
    else:
        channels = width
        steps = [(width, 3, stride), (width, 3, 1)]
    residual = x
    for number, (filters, kernel, step_stride) in enumerate(steps, start=1):
        residual = _convolution(
            residual, filters, kernel, step_stride, f"{name}_conv{number}"
        )
        residual = BatchNorm(name=f"{name}_bn{number}")(residual)
        if number < len(steps):
            residual = layers.ReLU(name=f"{name}_relu{number}")(residual)
    total = layers.Add(name=f"{name}_add")(
        [residual, _shortcut(x, channels, stride, name)]
    )
    return layers.ReLU(name=f"{name}_out")(total)


def build_resnet(
    depth: int,
    width: int = 64,
    input_shape: tuple[int, int, int] = (256, 256, 3),
    first_stride: int = 2,
    name: str = "image_tower",
) -> keras.Model:
    """A residual tower from an input map to its embedding.

    Layers are named after PyTorch's keys (`layer1.0.conv1` is
    `layer1_0_conv1`), the last feature map is the layer `features`.

    Args:
        depth: 18, 34, 50, 101 or 152.
        width: channels of the first stage, 64 in the paper.
        input_shape: height, width, channels.
        first_stride: stride of the first convolution; 1 for the audio tower.
        name: of the model.

    Returns:
        A model [B, *input_shape] → embedding [B, embedding_size(depth, width)].

    Raises:
        ValueError: the depth is not a standard one, or width or stride is not
            positive.

    Source: He et al., CVPR 2016, in the form of the authors' checkpoints: no
    convolution bias, batch-norm epsilon 1e-5, symmetric padding, stride in the
    3×3 convolution.
    """
    if depth not in BLOCKS:
        raise ValueError(
            f"depth must be one of {', '.join(map(str, BLOCKS))}; received {depth}."
        )
    if width < 1 or first_stride < 1:
        raise ValueError(
            "width and first_stride must be at least 1; received "
            f"{width} and {first_stride}."
        )
    inputs = keras.Input(input_shape, name="map")
    x = _convolution(inputs, width, 7, first_stride, "conv1")
    x = BatchNorm(name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    # After a ReLU nothing is below the zeros that pad the maximum.
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _block(x, depth, width * 2**stage, stride, f"layer{stage + 1}_{block}")
    x = layers.Identity(name="features")(x)
    outputs = layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(inputs, outputs, name=name)
