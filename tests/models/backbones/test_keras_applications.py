"""Networks of keras.applications: their own preprocessing, weights from local files."""

import keras
import numpy as np
import pytest

from advance_tf.config import FeatureConfig
from advance_tf.models.backbones.keras_applications import (
    PREPROCESSING,
    KerasApplication,
    names,
    preprocess,
)
from advance_tf.models.backbones.registry import build_backbone, find_backbone
from advance_tf.models.folding import fold_batch_norms

FEATURES = FeatureConfig(image_size=32)
APPLICATIONS = keras.applications
LEVELS = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)


def test_every_network_has_a_preprocessing():
    for name in names():
        assert any(name.startswith(start) for start in PREPROCESSING), name


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("ResNet50V2", APPLICATIONS.resnet_v2),
        ("ResNet50", APPLICATIONS.resnet),
        ("DenseNet121", APPLICATIONS.densenet),
        ("MobileNetV2", APPLICATIONS.mobilenet_v2),
        ("MobileNetV3Small", APPLICATIONS.mobilenet_v3),
        ("EfficientNetV2B0", APPLICATIONS.efficientnet_v2),
        ("ConvNeXtTiny", APPLICATIONS.convnext),
        ("VGG16", APPLICATIONS.vgg16),
        ("InceptionV3", APPLICATIONS.inception_v3),
    ],
)
def test_preprocessing_is_that_of_keras(name, module):
    levels = keras.Input((32, 32, 3))
    found = preprocess(levels, name)
    values = LEVELS
    if found is not levels:
        values = np.asarray(keras.Model(levels, found)(LEVELS))
    expected = module.preprocess_input(LEVELS.copy())
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def mobilenet():
    """MobileNetV3Small with a classifier and random statistics of its batch norms."""
    keras.utils.set_random_seed(2)
    network = APPLICATIONS.MobileNetV3Small(weights=None, classes=4)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.moving_mean.shape
            layer.moving_mean.assign(np.random.default_rng(1).normal(0, 0.3, size))
    return network


@pytest.mark.parametrize("ending", [".weights.h5", ".keras", ".h5"])
def test_local_weights_give_the_networks_features(mobilenet, ending, tmp_path):
    path = tmp_path / f"network{ending}"
    features = APPLICATIONS.MobileNetV3Small(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    features.set_weights(mobilenet.get_weights()[: len(features.weights)])
    if ending == ".keras":
        # With its classifier, and for another size of the image.
        mobilenet.save(path)
    elif ending == ".weights.h5":
        mobilenet.save_weights(path)
    else:
        features.save(path)
    tower = build_backbone("keras:MobileNetV3Small", "image", FEATURES, str(path))
    assert tower.output_shape == (None, 576)
    expected = np.mean(features(LEVELS, training=False), axis=(1, 2))
    found = tower(LEVELS, training=False)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    folded = fold_batch_norms(tower)
    np.testing.assert_allclose(folded(LEVELS), expected, rtol=0, atol=1e-5)


def test_constants_of_efficientnet_are_those_of_imagenet():
    tower = build_backbone("keras:EfficientNetB0", features=FEATURES)
    normalized = keras.Model(tower.input, tower.get_layer("stem_conv_pad").input)
    found = np.asarray(normalized(LEVELS))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(found, (LEVELS / 255 - mean) / std, atol=1e-4)


def test_weights_of_another_network_or_without_network_are_an_error(
    mobilenet, tmp_path, monkeypatch
):
    mobilenet.save(tmp_path / "a.keras")
    with pytest.raises(
        ValueError, match=r"a\.keras must hold the weights of ResNet50V2"
    ):
        build_backbone(
            "keras:ResNet50V2", features=FEATURES, weights=str(tmp_path / "a.keras")
        )
    # The format of Keras 2 has the layers by their number.
    mobilenet.save(tmp_path / "a.h5")
    message = r"a\.h5 must .* MobileNetV3Small .*Layer count mismatch.*\(`include_top"
    with pytest.raises(ValueError, match=message):
        build_backbone(
            "keras:MobileNetV3Small", "image", FEATURES, str(tmp_path / "a.h5")
        )
    backbone = find_backbone("keras:MobileNetV3Small")
    assert isinstance(backbone, KerasApplication)

    def fails(**settings):
        raise OSError("no route to host")

    monkeypatch.setattr(backbone, "_constructor", fails)
    with pytest.raises(ValueError, match="no route to host. Without a network, pass"):
        backbone.weights_source("imagenet")


def test_unknown_network_is_an_error():
    with pytest.raises(ValueError, match="keras: and one of .*received 'keras:None'"):
        find_backbone("keras:None")
