"""Random weights have the distributions of PyTorch's layers, or of Keras'."""

import keras
import numpy as np
import pytest
import torch

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.heads import build_heads
from advance_tf.models.initialization import UniformByFanIn
from advance_tf.models.recognizer import build_image_classifier, build_towers
from advance_tf.models.resnet import build_resnet

SIZES = {"image": 384, "audio": 128}


def heads(**settings):
    keras.utils.set_random_seed(0)
    model = ModelConfig(head_units=300, **settings)
    return build_heads(model, SIZES, "kl_audio")


@pytest.mark.parametrize(
    ("name", "fan_in"),
    [("hidden", 512), ("scene_head", 300), ("audio_event_head", 128)],
)
def test_dense_layers_are_uniform_as_pytorchs_linear(name, fan_in):
    kernel, bias = heads().get_layer(name).get_weights()
    torch.manual_seed(0)
    twin = torch.nn.Linear(fan_in, kernel.shape[1])
    bound = 1 / np.sqrt(fan_in)
    for found, expected in ((kernel, twin.weight), (bias, twin.bias)):
        values = expected.detach().numpy()
        for array in (found, values):
            assert np.abs(array).max() <= bound * (1 + 1e-6)
        # The deviation of uniform numbers; a bias has few.
        tolerance = 0.03 if found.ndim == 2 else 0.35
        assert found.std() == pytest.approx(bound / np.sqrt(3), rel=tolerance)
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=tolerance)
    assert np.abs(kernel).max() > 0.98 * bound


def test_convolutions_are_normal_by_fan_out_as_in_the_authors_code():
    keras.utils.set_random_seed(0)
    tower = build_resnet(50, 32, (32, 32, 3))
    torch.manual_seed(0)
    ratios = []
    for layer in tower.layers:
        if isinstance(layer, keras.layers.Conv2D):
            height, width, inputs, outputs = layer.kernel.shape
            twin = torch.nn.Conv2d(inputs, outputs, (height, width), bias=False)
            torch.nn.init.kaiming_normal_(
                twin.weight, mode="fan_out", nonlinearity="relu"
            )
            ratios.append(np.std(layer.kernel) / twin.weight.std().item())
    assert len(ratios) == 53
    np.testing.assert_allclose(ratios, 1, atol=0.08)
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)
    # Not truncated at two deviations, as Keras' he_normal is.
    kernel = tower.get_layer("layer4_0_conv2").kernel.numpy()
    assert np.abs(kernel).max() > 3.5 * kernel.std()


def test_keras_are_those_of_earlier_versions():
    found = heads(initialization="keras")
    keras.utils.set_random_seed(0)
    expected = keras.layers.Dense(300)
    expected.build((None, 512))
    np.testing.assert_array_equal(found.get_layer("hidden").kernel, expected.kernel)
    assert not np.any(found.get_layer("scene_head").bias)
    model = ModelConfig(image_depth=18, image_width=8, initialization="keras")
    tower = build_towers(model, FeatureConfig(image_size=32, clip_seconds=0.5))[0]
    kernel = tower.get_layer("layer2_0_conv1").kernel.numpy()
    # By fan-in, 3 · 3 · 8 inputs of 16 outputs.
    assert kernel.std() == pytest.approx(np.sqrt(2 / 72), rel=0.08)
    assert np.abs(kernel).max() < 2.3 * np.sqrt(2 / 72)


def test_the_classifier_of_pretraining_has_the_initialization_of_the_configuration():
    features = FeatureConfig(image_size=32)
    for name, bound in (("authors", 1 / np.sqrt(32)), ("keras", 0)):
        model = ModelConfig(image_depth=18, image_width=4, initialization=name)
        head = build_image_classifier(model, features, 9).get_layer("image_class_head")
        largest = np.abs(head.bias).max()
        assert 0.3 * bound <= largest <= bound


def test_the_initializer_survives_its_configuration():
    first = UniformByFanIn(25, seed=4)
    again = UniformByFanIn.from_config(first.get_config())
    np.testing.assert_array_equal(first((5, 5)), again((5, 5)))
    assert again.fan_in == 25
