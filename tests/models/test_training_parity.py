"""Gradients and batch-normalization statistics in training equal those of PyTorch.

Both libraries compute in float64. In float32 a sum near 0 may be rounded to different
sides of a ReLU's threshold; PyTorch's own float32 gradients then differ from its
float64 gradients by up to 13 % at depth 50.
"""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from advance_tf.models import conversion
from advance_tf.models.resnet import build_resnet
from advance_tf.models.weights import assign_arrays, layer_arrays, without_head
from tests.models.torch_resnet import (
    AUDIO,
    IMAGE,
    create_resnet,
    random_inputs,
    to_nchw,
)

SCENES = [3, 0, 6, 1]


@contextlib.contextmanager
def dtype_policy(name):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def torch_step(model, x):
    """Loss, gradients and updated statistics of PyTorch, with its names."""
    model.train()
    # oneDNN crashes in the gradient of strided 1×1 convolutions with 8 channels.
    with torch.backends.mkldnn.flags(enabled=False):
        loss = torch.nn.functional.cross_entropy(
            model(to_nchw(x)), torch.tensor(SCENES)
        )
        loss.backward()
    gradients = {k: p.grad.numpy() for k, p in model.named_parameters()}
    statistics = {k: b.numpy() for k, b in model.named_buffers() if "running" in k}
    return float(loss.detach()), {**gradients, **statistics}


def keras_step(tower, head, x):
    """Loss and gradients of the tower with a dense head."""
    kernel, bias = (tf.Variable(array) for array in head)
    named = {
        f"{layer.name}/{variable.name}": variable.value
        for layer in tower.layers
        for variable in layer.trainable_weights
    }
    named |= {"head/kernel": kernel, "head/bias": bias}
    with tf.GradientTape() as tape:
        logits = tower(x, training=True) @ kernel + bias
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(SCENES, logits)
        )
    return float(loss), tape.gradient(loss, named)


@pytest.mark.parametrize("kind", [IMAGE, AUDIO], ids=["image", "audio"])
@pytest.mark.parametrize("depth", [18, 50])
def test_gradients_of_every_tensor_equal_those_of_pytorch(kind, depth):
    x = random_inputs(kind, batch=len(SCENES)).astype(np.float64)
    model = create_resnet(
        depth, 8, kind["channels"], 7, kind["first_stride"], to_nchw(x).float()
    ).double()
    arrays = {k: v.numpy() for k, v in model.state_dict().items() if "num_" not in k}
    converted, metadata = conversion.convert_tower(arrays, "model.pt")
    with dtype_policy("float64"):
        tower = build_resnet(depth, 8, kind["shape"], kind["first_stride"])
    body, _ = without_head(converted, metadata)
    assign_arrays("model.pt", layer_arrays(tower), body)

    found, gradients = keras_step(
        tower, (converted["head/kernel"], converted["head/bias"]), x
    )
    loss, expected_arrays = torch_step(model, x)
    assert found == pytest.approx(loss, rel=1e-9)
    # Gradients have the names and layouts of weights and are converted like them.
    expected, _ = conversion.convert_tower(expected_arrays, "gradients")
    assert len(gradients) == sum("running" not in key for key in expected_arrays)
    for name, gradient in gradients.items():
        difference = np.linalg.norm(gradient - expected[name])
        assert difference <= 1e-6 * np.linalg.norm(expected[name]), name
    for name, statistic in layer_arrays(tower).items():
        if "/moving_" in name:
            np.testing.assert_allclose(statistic, expected[name], rtol=1e-9)
