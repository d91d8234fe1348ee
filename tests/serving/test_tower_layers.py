"""Which layers of a tower have 8 or 16 bits, and the shares of their weights."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.serving import quantization, tower_layers
from advance_tf.serving.flatbuffer import constant, operators_of, read_model
from advance_tf.serving.parity import Decoded
from advance_tf.serving.tower_layers import choose_layers, towers_of
from advance_tf.serving.weight_rounding import round_weights

SIDE = 8
# Name → kernel. Only the depthwise one has a last axis of 1.
KERNELS = {"first": (3, 3, 3, 8), "middle": (3, 3, 8, 1), "last": (1, 1, 8, 40)}


def convert(folder, kernels, with_softmax=False):
    """A flatbuffer of a tower of these layers, with a matrix before them."""
    rng = np.random.default_rng(0)
    values = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in kernels.items()
    }
    matrix = rng.normal(size=(3, 3)).astype(np.float32)

    def embed(image):
        x = tf.cast(image, tf.float32) / 255
        with tf.name_scope("image_tower"):
            with tf.name_scope("resized"):
                x = tf.reshape(tf.reshape(x, (-1, 3)) @ matrix, (1, SIDE, SIDE, 3))
            for name, kernel in values.items():
                with tf.name_scope(name):
                    if kernel.shape[-1] == 1:
                        x = tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME")
                    else:
                        x = tf.nn.conv2d(x, kernel, 1, "SAME")
                    x = tf.nn.relu(tf.nn.bias_add(x, np.float32([0.1] * x.shape[-1])))
                    if with_softmax:
                        x = tf.nn.softmax(x)
        return {"image_embedding": tf.reduce_mean(x, axis=[1, 2])}

    spec = tf.TensorSpec([1, SIDE, SIDE, 3], tf.uint8, "image")
    signatures = {
        name: tf.function(embed, input_signature=[spec])
        for name in ("embed", "image_only")
    }
    saved = str(folder / "saved")
    tf.saved_model.save(tf.Module(), saved, signatures=signatures)
    return tf.lite.TFLiteConverter.from_saved_model(saved).convert()


def pairs(count=4):
    images = np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    return Decoded(images, np.zeros((count, 4), np.float32))


def names(scopes):
    """The layers of scopes, each of both signatures."""
    found = [
        name for scope in scopes for name in KERNELS if f"image_tower/{name}" in scope
    ]
    assert len(found) == len(scopes) == 2 * len(set(found))
    return set(found)


@pytest.mark.parametrize(
    ("kind", "with_softmax", "expected"),
    [
        # 16 bits, 8 bits with dynamic ranges and with those of the calibration.
        ("float16", False, ({"first", "middle", "last"}, set(), set())),
        ("int8", False, ({"first"}, set(), {"middle", "last"})),
        ("int8", True, ({"first", "middle"}, {"last"}, set())),
        # The kernels have 216, 72 and 320 weights: 392 are fewer than nine tenths.
        ("dynamic", False, ({"first", "middle"}, {"last"}, set())),
    ],
)
def test_layers_of_any_name_are_chosen(tmp_path, kind, with_softmax, expected):
    contents = convert(tmp_path, KERNELS, with_softmax)
    found = choose_layers(contents, kind)
    assert tuple(map(names, (found.half, found.dynamic, found.static))) == expected
    assert found.static <= found.static_operators
    quantized = quantization.quantize(contents, kind, tmp_path, pairs())
    (shares,) = tower_layers.weight_shares(quantized).values()
    counts = {name: np.prod(shape) for name, shape in KERNELS.items()}
    half, *others = ([counts[name] for name in group] for group in expected)
    in_8_bits = sum(map(sum, others))
    # Without the biases, which have 32 bits where the ranges are dynamic.
    assert shares["8 bits"] / (shares["8 bits"] + shares["16 bits"]) == pytest.approx(
        in_8_bits / (in_8_bits + 2 * sum(half))
    )


def test_a_tower_of_one_layer_cannot_be_in_8_bits(tmp_path):
    contents = convert(tmp_path, {"first": KERNELS["first"]})
    for kind in ("int8", "dynamic"):
        with pytest.raises(ValueError, match=f"image tower .* `quantization='{kind}'`"):
            quantization.quantize(contents, kind, tmp_path, pairs())


def test_a_matrix_of_the_front_end_stays_in_32_bits(tmp_path):
    contents = convert(tmp_path, KERNELS)
    (tower,) = towers_of(read_model(contents)).values()
    assert len(tower.kernels) == len(KERNELS)
    expected = {"8 bits": 0, "16 bits": 0, "32 bits": 1}
    assert tower_layers.weight_shares(contents) == {"image": expected}


def test_layers_in_16_bits_are_not_rounded_to_8(tmp_path):
    """Their biases are one constant, which the other layer must not change."""
    kernels = {
        "conv_stem": (1, 1, 3, 8),
        "blocks_0_depthwise_conv": (3, 3, 8, 1),
        "blocks_1_depthwise_conv": (3, 3, 8, 1),
    }
    contents = convert(tmp_path, kernels)
    chosen = choose_layers(contents, "int8")
    rounded = round_weights(contents, pairs(), chosen.static_kernels)

    def constants(contents):
        model = read_model(contents)
        graph = model.subgraphs[0]
        kinds = tower_layers._WITH_KERNEL[:2]
        found = [op.inputs[1:3] for op, _ in operators_of(model, graph, *kinds)]
        return [
            [constant(model, graph.tensors[place]) for place in places]
            for places in found
        ]

    before, after = constants(contents), constants(rounded)
    are_equal = [
        all(map(np.array_equal, own, other))
        for own, other in zip(before, after, strict=True)
    ]
    assert are_equal == [True, True, False]
