"""Compensated rounding of kernels, and flatbuffers with shared parameters."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.serving import litert, weight_rounding
from advance_tf.serving.flatbuffer import (
    constant,
    operators_of,
    read_model,
    write_model,
)
from advance_tf.serving.parity import Decoded
from advance_tf.serving.weight_rounding import compensated_rounding, round_weights

SIDE, CHANNELS = 64, 6


def objective(rows, rounded, covariance):
    error = rows - rounded
    return np.einsum("ci,ij,cj->c", error, covariance, error)


def nearest(rows):
    scale = np.abs(rows).max(axis=1, keepdims=True) / 127
    return np.round(rows / scale) * scale


@pytest.mark.parametrize("size", [9, 40])
def test_errors_of_correlated_inputs_are_compensated(size):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, size))
    # Inputs that are nearly equal, as under a kernel on a smooth image.
    covariance = np.ones((size, size)) + 0.02 * np.eye(size)
    rounded = compensated_rounding(rows, covariance)
    steps = 127 * rounded / np.abs(rows).max(axis=1, keepdims=True)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert (np.abs(steps).max(axis=1).round(9) == 127).all()
    found, plain = (objective(rows, q, covariance) for q in (rounded, nearest(rows)))
    assert found.mean() < 0.35 * plain.mean()


def test_independent_inputs_are_rounded_to_the_nearest():
    rows = np.random.default_rng(0).normal(size=(20, 9))
    rounded = compensated_rounding(rows, np.diag(np.arange(1.0, 10.0)))
    np.testing.assert_allclose(rounded, nearest(rows), atol=1e-12)


def test_a_row_of_zeros_stays_zero():
    assert not compensated_rounding(np.zeros((1, 4)), np.ones((4, 4))).any()


@pytest.fixture(scope="module")
def calibration():
    """Smooth images: waves of low frequency."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    phases = rng.uniform(0, 6, (30, 1, 1, CHANNELS))
    waves = np.sin(2 * y[None, ..., None] + 3 * x[None, ..., None] + phases)
    images = np.round(120 + 100 * waves).astype(np.uint8)
    return Decoded(images, np.zeros((30, 4), np.float32))


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """A depthwise convolution and one of 1×1; one channel is dead."""
    rng = np.random.default_rng(1)
    depthwise = rng.normal(size=(3, 3, CHANNELS, 1)).astype(np.float32)
    depthwise[..., 2, :] *= 1e-12
    pointwise = rng.normal(size=(1, 1, CHANNELS, 8)).astype(np.float32)
    bias = rng.uniform(1, 2, CHANNELS).astype(np.float32)

    def embed(image):
        x = tf.cast(image, tf.float32) / 255
        x = tf.nn.depthwise_conv2d(x, depthwise, [1, 2, 2, 1], "SAME")
        x = tf.nn.bias_add(x, bias)
        x = tf.nn.bias_add(tf.nn.conv2d(x, pointwise, 1, "SAME"), tf.ones(8))
        return {"image_embedding": x}

    spec = tf.TensorSpec([1, SIDE, SIDE, CHANNELS], tf.uint8, "image")
    folder = str(tmp_path_factory.mktemp("saved"))
    function = tf.function(embed, input_signature=[spec])
    # The subgraph of the first signature has other tensors.
    other = tf.function(
        lambda image: {"b": tf.cast(image, tf.int32)}, input_signature=[spec]
    )
    signatures = {"a": other, "embed": function}
    tf.saved_model.save(tf.Module(), folder, signatures=signatures)
    return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def layers(contents):
    """Kernel [channels, inputs] and bias of each layer."""
    model = read_model(contents)
    graph = model.subgraphs[1]
    found = []
    kinds = weight_rounding._DEPTHWISE, weight_rounding._CONV
    for operator, kind in operators_of(model, graph, *kinds):
        kernel, bias = (constant(model, graph.tensors[i]) for i in operator.inputs[1:3])
        axis = -1 if kind == weight_rounding._DEPTHWISE else 0
        found.append((np.moveaxis(kernel, axis, 0).reshape(len(bias), -1), bias))
    return found


def test_kernels_of_a_model_are_on_the_grid(contents, calibration):
    kernels = range(len(read_model(contents).buffers))
    assert weight_rounding.has_depthwise(contents, kernels)
    assert not weight_rounding.has_depthwise(contents, [])
    rounded = round_weights(contents, calibration, kernels)
    before, after = layers(contents), layers(rounded)
    for (kernel, _), (own, _) in zip(before, after, strict=True):
        live = np.abs(kernel).max(axis=1) > 1e-9
        np.testing.assert_allclose(
            np.abs(own).max(axis=1)[live], np.abs(kernel).max(axis=1)[live], rtol=1e-6
        )
        steps = 127 * own / np.abs(own).max(axis=1, keepdims=True)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    # The dead channel can hold its bias in 32 bits, at a step of 1e-3 of its inputs.
    (kernel, bias) = after[0]
    assert np.abs(kernel).max(axis=1)[2] / 127 * 1e-3 * 2**31 > bias[2]


def test_the_error_on_smooth_images_is_smaller(calibration):
    values = calibration.image[..., 0] / 255
    taps = [
        values[:, y : y + SIDE - 2, x : x + SIDE - 2].reshape(-1)
        for y in range(3)
        for x in range(3)
    ]
    covariance = np.cov(taps, bias=True)
    rows = np.random.default_rng(0).normal(size=(50, 9))
    rounded = compensated_rounding(rows, covariance)
    found, plain = (objective(rows, q, covariance) for q in (rounded, nearest(rows)))
    assert found.mean() < 0.3 * plain.mean()


def test_equal_parameters_are_stored_once(float32, decoded, tmp_path):
    from ai_edge_quantizer import qtyping, quantizer

    path = tmp_path / "a.tflite"
    path.write_bytes(float32)
    recipe = quantizer.Quantizer(str(path))
    operation = qtyping.TFLOperationName.CONV_2D
    recipe.add_dynamic_config(".*", operation, 8)
    quantized = bytes(recipe.quantize(enable_progress_report=False).quantized_model)
    shared = write_model(read_model(quantized))
    assert len(shared) < 0.985 * len(quantized)
    for signature in ("recognize", "image_only"):
        expected = litert.LiteModel(quantized).probs(decoded, signature)
        found = litert.LiteModel(shared).probs(decoded, signature)
        for name, probs in expected.items():
            np.testing.assert_array_equal(found[name], probs)
