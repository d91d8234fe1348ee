"""Presets of KerasHub from local folders, against KerasHub's own layers."""

import keras
import keras_hub
import numpy as np
import pytest

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.backbones.registry import build_backbone, find_backbone
from advance_tf.models.folding import fold_batch_norms
from advance_tf.models.weights import load_tower, save_tower, tower_metadata
from advance_tf.training.embeddings import tower_digest

FEATURES = FeatureConfig(image_size=32)
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
SCALE, OFFSET = (0.01, 0.02, 0.03), (-1.0, -2.0, -0.5)
MODELS, LAYERS = keras_hub.models, keras_hub.layers


def write_preset(folder, network, converter):
    network.save_to_preset(str(folder))
    converter.save_to_preset(str(folder))
    return folder, network, converter


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    keras.utils.set_random_seed(0)
    return write_preset(
        tmp_path_factory.mktemp("vit"),
        MODELS.ViTBackbone((28, 28, 3), 7, 2, 2, 8, 16),
        LAYERS.ViTImageConverter(image_size=(28, 28), scale=SCALE, offset=OFFSET),
    )


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """DINOv2 with two register tokens, and a bicubic converter with antialiasing."""
    keras.utils.set_random_seed(1)
    network = MODELS.DINOV2Backbone(
        7, 2, 8, 2, 16, num_register_tokens=2, image_shape=(28, 28, 3)
    )
    converter = LAYERS.DINOV2ImageConverter(
        image_size=(28, 28),
        scale=SCALE,
        offset=OFFSET,
        interpolation="bicubic",
        antialias=True,
    )
    return write_preset(tmp_path_factory.mktemp("dino"), network, converter)


@pytest.fixture(scope="module")
def dino3(tmp_path_factory):
    """DINOv3 with two register tokens."""
    keras.utils.set_random_seed(3)
    network = MODELS.DINOV3Backbone(
        7, 1, 8, 2, 16, num_register_tokens=2, image_shape=(28, 28, 3)
    )
    converter = LAYERS.DINOV3ImageConverter(
        image_size=(28, 28), scale=SCALE, offset=OFFSET
    )
    return write_preset(tmp_path_factory.mktemp("dino3"), network, converter)


def write_image_encoder(folder, name, *more):
    """A network of images and texts, of whose encoders that of images is used."""
    network = getattr(MODELS, f"{name}Backbone")(
        getattr(MODELS, f"{name}VisionEncoder")(
            7, 8, 1, 2, 16, image_shape=(28, 28, 3)
        ),
        getattr(MODELS, f"{name}TextEncoder")(20, 8, 8, 1, 2, 16),
        *more,
    )
    converter = getattr(LAYERS, f"{name}ImageConverter")(
        image_size=(28, 28), scale=SCALE, offset=OFFSET
    )
    write_preset(folder, network, converter)
    return folder, network.vision_encoder, converter


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """CLIP, whose last argument is the size of its projection."""
    keras.utils.set_random_seed(4)
    return write_image_encoder(tmp_path_factory.mktemp("clip"), "CLIP", 8)


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    """SigLIP, whose image encoder pools its tokens by attention."""
    keras.utils.set_random_seed(5)
    return write_image_encoder(tmp_path_factory.mktemp("siglip"), "SigLIP")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    keras.utils.set_random_seed(2)
    network = MODELS.ResNetBackbone([64], [7], [64, 8], [1, 1], [1, 2], "basic_block")
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.moving_mean.shape
            layer.moving_mean.assign(np.random.default_rng(1).normal(0, 0.3, size))
    converter = LAYERS.ResNetImageConverter(
        image_size=(24, 24), scale=1 / 255, offset=-0.5
    )
    return write_preset(tmp_path_factory.mktemp("resnet"), network, converter)


def own_output(network, converter, images=IMAGES):
    """What KerasHub computes: tokens [B, n, D] or feature map [B, h, w, D]."""
    given = keras.tree.pack_sequence_as(network.input, [converter(images)])
    return np.asarray(network(given, training=False))


@pytest.mark.parametrize("name", ["vit", "dino", "dino3", "clip"])
def test_embedding_is_the_mean_of_the_patches_and_the_class_token(name, request):
    folder, network, converter = request.getfixturevalue(name)
    tokens = own_output(network, converter)
    patches, token = tokens[:, -16:], tokens[:, 0]
    expected = {
        "": np.concatenate([patches.mean(1), token], axis=1),
        ",tokens=both": np.concatenate([patches.mean(1), token], axis=1),
        ",tokens=patches": patches.mean(1),
        ",tokens=class": token,
    }
    # How tokens are chosen does not depend on the network.
    for options in expected if name == "vit" else [""]:
        values = expected[options]
        tower = build_backbone(f"kerashub:{folder}{options}", "image", FEATURES)
        np.testing.assert_allclose(tower(IMAGES), values, rtol=0, atol=1e-5)
        folded = fold_batch_norms(tower)
        np.testing.assert_allclose(folded(IMAGES), values, rtol=0, atol=1e-5)
        names = {layer.name for layer in tower.layers}
        assert ("features" in names) == (options != ",tokens=class")
        if "features" in names:
            maps = keras.Model(tower.input, tower.get_layer("features").output)
            found = np.asarray(maps(IMAGES))
            grid = patches.reshape(2, 4, 4, 8)
            np.testing.assert_allclose(found[..., :8], grid, rtol=0, atol=1e-5)


def test_embedding_of_a_network_that_pools_its_tokens_is_its_output(siglip):
    folder, network, converter = siglip
    expected = own_output(network, converter)
    tower = build_backbone(f"kerashub:{folder}", "image", FEATURES)
    np.testing.assert_allclose(tower(IMAGES), expected, rtol=0, atol=1e-5)
    assert expected.shape == (2, 8)
    assert "features" not in {layer.name for layer in tower.layers}


def test_feature_map_of_a_convolutional_network(resnet):
    folder, network, converter = resnet
    tower = build_backbone(f"kerashub:{folder}", "image", FEATURES)
    expected = own_output(network, converter).mean((1, 2))
    np.testing.assert_allclose(tower(IMAGES), expected, rtol=0, atol=1e-5)
    folded = fold_batch_norms(tower)
    np.testing.assert_allclose(folded(IMAGES), expected, rtol=0, atol=1e-5)
    # Its batch norms are trained.
    changed = np.asarray(tower(IMAGES, training=True))
    assert np.abs(changed - expected).max() > 1e-3


def test_size_of_a_network_of_any_size(resnet, vit):
    folder, network, _ = resnet
    tower = build_backbone(f"kerashub:{folder},size=32", "image", FEATURES)
    expected = np.asarray(network(IMAGES / 255 - 0.5)).mean((1, 2))
    np.testing.assert_allclose(tower(IMAGES), expected, rtol=0, atol=1e-5)
    # The position embeddings of a ViT are of one size.
    with pytest.raises(ValueError, match="must be a preset of KerasHub"):
        build_backbone(f"kerashub:{vit[0]},size=35", "image", FEATURES)


@pytest.mark.parametrize("name", ["vit", "dino", "dino3", "clip", "siglip", "resnet"])
def test_the_run_has_a_copy_of_the_layers(name, request, tmp_path):
    folder, *_ = request.getfixturevalue(name)
    backbone = find_backbone(f"kerashub:{folder}")
    assert backbone.weights_source("preset").source == "local preset of KerasHub"
    assert len(backbone.weights_source("preset").sha256) == 64
    backbone.store(tmp_path / "image_backbone")
    copied = backbone.stored_name(tmp_path / "image_backbone")
    tower = build_backbone(backbone.name, "image", FEATURES)
    copy = build_backbone(copied, "image", FEATURES)
    assert tower_digest(copy) != tower_digest(tower)
    copy.set_weights(tower.get_weights())
    assert tower_digest(copy) == tower_digest(tower)
    np.testing.assert_array_equal(copy(IMAGES), tower(IMAGES))


def test_pretrained_weights_of_a_transformer_are_stored_by_name(vit, tmp_path):
    """Several of its variables have the same name."""
    model = ModelConfig(image_backbone=f"kerashub:{vit[0]}")
    metadata = tower_metadata("image", model)
    tower = build_backbone(model.image_backbone, "image", FEATURES)
    save_tower(tmp_path / "tower.npz", tower, metadata)
    other = build_backbone(model.image_backbone, "image", FEATURES)
    other.set_weights([np.zeros_like(array) for array in other.get_weights()])
    load_tower(tmp_path / "tower.npz", other, metadata)
    for found, expected in zip(other.get_weights(), tower.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_wrong_presets_and_options_are_errors(vit, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"`tokens` of patches, class, both or none"):
        find_backbone("kerashub:vit,tokens=mean")
    with pytest.raises(ValueError, match="options of a backbone must be size, tokens"):
        find_backbone("kerashub:vit,sizes=2")
    with pytest.raises(ValueError, match="reading it failed: .* Without a network"):
        build_backbone(f"kerashub:{tmp_path}", "image", FEATURES)
    vit[1].save_to_preset(str(tmp_path / "alone"))
    with pytest.raises(ValueError, match="with an image converter, or the folder"):
        build_backbone(f"kerashub:{tmp_path / 'alone'}", "image", FEATURES)
    with pytest.raises(ValueError, match=r"must be an existing file .* or 'preset'"):
        find_backbone(f"kerashub:{vit[0]}").weights_source("imagenet")

    def missing(name):
        raise ImportError(name=name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(ImportError, match=r"install 'advance_tf\[backbones\]'"):
        build_backbone(f"kerashub:{vit[0]}", "image", FEATURES)
