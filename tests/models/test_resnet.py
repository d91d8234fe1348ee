"""Topology of the towers, and batch normalization against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.models import resnet
from advance_tf.models.resnet import (
    BLOCKS,
    BatchNorm,
    Conv2D,
    build_resnet,
    embedding_size,
)
from advance_tf.models.weights import layer_arrays
from tests.imports import ROOT


def count_trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_towers_of_the_paper_have_its_number_of_parameters():
    image = build_resnet(101)
    audio = build_resnet(50, 64, (400, 64, 1), first_stride=1, name="audio_tower")
    assert count_trainable(image) == 42_500_160
    assert count_trainable(audio) == 23_501_760
    assert image.output_shape == audio.output_shape == (None, 2048)
    assert image.get_layer("features").output.shape == (None, 8, 8, 2048)
    assert audio.get_layer("features").output.shape == (None, 25, 4, 2048)


@pytest.mark.parametrize("depth", BLOCKS)
def test_every_depth_has_its_layers(depth):
    model = build_resnet(depth, 2, (32, 32, 3))
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    shortcuts = [x for x in convolutions if "downsample" in x.name]
    # The depth of a ResNet counts the dense layer too.
    assert len(convolutions) - len(shortcuts) == depth - 1
    assert len(shortcuts) == (3 if depth < 50 else 4)
    assert model.output_shape == (None, embedding_size(depth, 2))
    assert all(not x.use_bias for x in convolutions)


def expected_keys(depth):
    """PyTorch's keys of a tower, by a rule."""
    names = ["conv1.weight", *(f"bn1.{n}" for n in ("weight", "bias"))]
    names += ["bn1.running_mean", "bn1.running_var"]
    steps = 3 if depth >= 50 else 2
    for stage, blocks in enumerate(BLOCKS[depth], start=1):
        for block in range(blocks):
            prefix = f"layer{stage}.{block}"
            pairs = [(f"conv{n}", f"bn{n}") for n in range(1, steps + 1)]
            if block == 0 and (stage > 1 or steps == 3):
                pairs.append(("downsample.0", "downsample.1"))
            for convolution, norm in pairs:
                names.append(f"{prefix}.{convolution}.weight")
                for part in ("weight", "bias", "running_mean", "running_var"):
                    names.append(f"{prefix}.{norm}.{part}")
    return names


_PARTS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def torch_name(name):
    layer, variable = name.split("/")
    if layer.startswith("layer"):
        stage, block, rest = layer.split("_", 2)
        rest = rest.replace("downsample_", "downsample.")
        layer = f"{stage}.{block}.{rest}"
    return f"{layer}.{_PARTS[variable]}"


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_layers_are_named_after_pytorchs_keys(depth):
    names = layer_arrays(build_resnet(depth, 1, (32, 32, 3)))
    assert sorted(map(torch_name, names)) == sorted(expected_keys(depth))


def test_rule_equals_the_published_keys():
    path = ROOT / "tests/golden/checkpoint_keys.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    keys = [line.split()[0] for line in lines if line and not line.startswith("#")]
    keys = [k for k in keys if not k.endswith("num_batches_tracked")]
    towers = [k for k in keys if not k.startswith("fc.")]
    assert towers == [
        *towers[: len(expected_keys(101))],
        *towers[-len(expected_keys(50)) :],
    ]
    assert sorted(towers) == sorted(expected_keys(101) + expected_keys(50))


def test_first_convolution_pads_symmetrically():
    model = build_resnet(18, 1, (8, 8, 1))
    first = keras.Model(model.input, model.get_layer("conv1").output)
    image = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    kernel = first.get_layer("conv1").kernel.numpy()[..., 0, 0]
    padded = np.pad(image, 3)
    expected = [
        [(padded[y : y + 7, x : x + 7] * kernel).sum() for x in range(0, 8, 2)]
        for y in range(0, 8, 2)
    ]
    found = first(image[None, ..., None])[0, ..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def numpy_convolution(x, kernel, stride):
    """Convolution of [B, H, W, C] with as many zeros on both sides, in float64."""
    side = kernel.shape[0]
    margin = [side // 2, side // 2]
    padded = np.pad(x.astype(np.float64), [[0, 0], margin, margin, [0, 0]])
    height, width = (range(0, size, stride) for size in x.shape[1:3])
    return np.stack(
        [
            [
                np.tensordot(padded[:, i : i + side, j : j + side], kernel, 3)
                for j in width
            ]
            for i in height
        ]
    ).transpose(2, 0, 1, 3)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (7, 2), (1, 1)])
def test_convolution_pads_symmetrically_with_every_stride(side, stride, training):
    rng = np.random.default_rng(0)
    # An even and an odd side: Keras' padding "same" differs on even ones.
    x = rng.normal(size=(2, 8, 5, 3)).astype(np.float32)
    layer = Conv2D(4, side, side // 2, strides=stride, use_bias=False)
    found = layer(x, training=training)
    assert layer.compute_output_shape(x.shape) == found.shape
    kernel = layer.kernel.numpy().astype(np.float64)
    np.testing.assert_allclose(
        found, numpy_convolution(x, kernel, stride), rtol=1e-4, atol=1e-5
    )


def test_weights_files_fit_those_of_keras_convolutions(tmp_path):
    path = tmp_path / "tower.weights.h5"
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 7, use_bias=False)(keras.layers.ZeroPadding2D(3)(inputs))
    plain = keras.Model(inputs, keras.layers.Conv2D(5, 1, use_bias=False)(x))
    plain.save_weights(path)
    x = Conv2D(4, 7, 3, use_bias=False)(inputs)
    padded = keras.Model(inputs, Conv2D(5, 1, use_bias=False)(x))
    padded.load_weights(path)
    for found, expected in zip(padded.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_only_strides_pad_in_training():
    """A copy of the feature map costs more than many a convolution."""
    model = build_resnet(18, 2, (32, 32, 3))
    graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(
        tf.TensorSpec((2, 32, 32, 3))
    )
    pads = [op.name for op in graph.graph.get_operations() if op.type == "Pad"]
    # The first convolution, the pooling, and the first one of three stages.
    assert len(pads) == 5
    paddings = {
        op.get_attr("padding")
        for op in graph.graph.get_operations()
        if op.type == "Conv2D"
    }
    # oneDNN has no gradient for explicit padding.
    assert paddings == {b"SAME", b"VALID"}


def gradients_of(model, x, training):
    """Variable path → gradient of the sum of squares, computed in a graph."""

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(x, training=training) ** 2)
        return tape.gradient(total, model.trainable_variables)

    paths = [variable.path for variable in model.trainable_variables]
    return dict(zip(paths, gradients(tf.constant(x)), strict=True))


def test_gradients_of_strided_shortcuts_are_those_of_numpy():
    """Strided 1×1 convolutions with 8 channels crash in oneDNN."""
    counts = (1, 2, 4, 8, 16)
    starts = np.cumsum((0, *counts))
    inputs = keras.Input((10, 6, starts[-1]))
    outputs = [
        resnet._shortcut(
            inputs[..., start : start + count], 2 * count, 2, f"of_{count}", "authors"
        )
        for start, count in zip(starts, counts, strict=False)
    ]
    model = keras.Model(inputs, keras.layers.Concatenate()(outputs))
    x = np.random.default_rng(0).normal(size=(4, 10, 6, starts[-1])).astype("f")
    # With the initial statistics a batch norm divides by √(1 + 1e-5).
    found = gradients_of(model, x, training=False)
    for start, count in zip(starts, counts, strict=False):
        used = x[:, ::2, ::2, start : start + count].reshape(-1, count)
        kernel = model.get_layer(f"of_{count}_downsample_0").kernel
        expected = 2 * used.T @ (used @ kernel.numpy()[0, 0]) / (1 + 1e-5)
        bound = 1e-4 * np.abs(expected).max()
        gradient = found[kernel.path][0, 0]
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=bound)


def test_gradients_of_a_narrow_tower_are_finite():
    model = build_resnet(50, 4, (40, 24, 1), first_stride=1)
    x = np.random.default_rng(0).normal(size=(4, 40, 24, 1)).astype("f")
    found = gradients_of(model, x, training=True)
    assert all(np.isfinite(gradient).all() for gradient in found.values())
    assert max(np.abs(gradient).max() for gradient in found.values()) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((20,), "depth must be one of 10"), ((18, 0), "must be at least 1")],
)
def test_invalid_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_resnet(*arguments)


SHAPE = (4, 5, 3, 6)
COUNT = 4 * 5 * 3


def create_batch_norm(dtype="float32"):
    """A layer with random scale and shift, and these."""
    layer = BatchNorm(dtype=dtype)
    layer.build((None, *SHAPE[1:]))
    rng = np.random.default_rng(1)
    gamma, beta = rng.uniform(0.5, 2, 6), rng.normal(size=6)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    return layer, gamma, beta


def random_maps():
    return np.random.default_rng(0).normal(3, 2, SHAPE).astype(np.float32)


def test_training_normalizes_with_the_batch_and_updates_the_statistics():
    layer, gamma, beta = create_batch_norm()
    x = random_maps()
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    found = layer(tf.constant(x), training=True)
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-5)
    unbiased = variance * COUNT / (COUNT - 1)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * unbiased, rtol=1e-5)


def test_inference_normalizes_with_the_moving_statistics():
    layer, gamma, beta = create_batch_norm()
    layer.moving_mean.assign(np.arange(6))
    layer.moving_variance.assign(np.arange(1, 7))
    x = random_maps()
    found = layer(tf.constant(x), training=False)
    expected = gamma * (x - np.arange(6)) / np.sqrt(np.arange(1, 7) + 1e-5) + beta
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, np.arange(6))


def test_frozen_layer_uses_the_moving_statistics_in_training():
    layer, _, _ = create_batch_norm()
    layer.trainable = False
    x = tf.constant(random_maps())
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    np.testing.assert_array_equal(layer.moving_mean, 0)


def test_gradient_equals_that_of_the_formula():
    layer, gamma, beta = create_batch_norm()
    x = tf.constant(random_maps())
    weights = tf.constant(np.random.default_rng(2).normal(size=SHAPE), tf.float32)

    def by_formula(inputs):
        mean, variance = tf.nn.moments(inputs, [0, 1, 2])
        scaled = (inputs - mean) * tf.math.rsqrt(variance + 1e-5)
        return tf.reduce_sum(weights * (gamma.astype("f") * scaled + beta.astype("f")))

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        found = tf.reduce_sum(weights * layer(x, training=True))
        expected = by_formula(x)
    np.testing.assert_allclose(
        tape.gradient(found, x), tape.gradient(expected, x), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_keeps_float32_statistics(policy):
    layer, _, _ = create_batch_norm(keras.DTypePolicy(policy))
    reference, _, _ = create_batch_norm()
    found = layer(tf.constant(random_maps()), training=True)
    assert found.dtype == policy.removeprefix("mixed_")
    assert layer.moving_mean.dtype == "float32"
    expected = reference(tf.constant(random_maps()), training=True)
    np.testing.assert_allclose(
        tf.cast(found, tf.float32), expected, rtol=0.03, atol=0.03
    )
