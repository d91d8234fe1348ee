"""Towers that are cut behind a stage: both parts, boundaries, frozen layers."""

import keras
import numpy as np
import pytest

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.backbones.efficientnet_lite import EfficientNetLite0, build_lite0
from advance_tf.models.backbones.yamnet import YamnetTower
from advance_tf.models.backbones.yamnet_network import build_yamnet
from advance_tf.models.cut import cut_tower, frozen_part, stage_end
from advance_tf.models.recognizer import freeze

FEATURES = FeatureConfig(image_size=64, clip_seconds=1.5)
MODEL = ModelConfig(
    image_backbone="efficientnet_lite0",
    audio_backbone="yamnet:both",
    image_frozen_stages=4,
    audio_frozen_stages=4,
)


@pytest.fixture(scope="module")
def towers():
    keras.utils.set_random_seed(0)
    return {
        "image": build_lite0(FEATURES.image_size),
        "audio": build_yamnet(FEATURES.clip_samples, "both"),
    }


def inputs_of(tower, size=3):
    rng = np.random.default_rng(1)
    if tower == "image":
        return rng.uniform(0, 255, (size, 64, 64, 3)).astype(np.float32)
    return rng.normal(0, 0.1, (size, FEATURES.clip_samples)).astype(np.float32)


def test_stages_end_where_the_documentation_says(towers):
    """Sides of the input divided by 4, 8, 16 and 32; the channels of the networks."""
    shapes = [
        towers["image"].get_layer(end).output.shape[1:]
        for end in EfficientNetLite0.stage_ends
    ]
    assert shapes == [(16, 16, 24), (8, 8, 40), (4, 4, 112), (2, 2, 192)]
    shapes = [
        towers["audio"].get_layer(end).output.shape[1:]
        for end in YamnetTower.stage_ends
    ]
    assert shapes == [(24, 16, 128), (12, 8, 256), (6, 4, 512), (3, 2, 1024)]


@pytest.mark.parametrize(
    ("tower", "stages", "shape"),
    [
        ("image", 4, (2, 2, 192)),
        # 1.5 s are three patches.
        ("audio", 3, (3, 6, 4, 512)),
        ("audio", 4, (3, 3, 2, 1024)),
    ],
)
def test_the_parts_of_a_tower_compute_what_it_computes(towers, tower, stages, shape):
    backbone = {"image": EfficientNetLite0, "audio": YamnetTower}[tower]
    cut = cut_tower(towers[tower], backbone.stage_ends[stages - 1])
    assert cut.shape == shape
    assert cut.rest.name == f"{tower}_rest"
    given = inputs_of(tower)
    activations = cut.frozen(given).numpy()
    assert activations.shape == (3, *shape)
    expected = towers[tower](given).numpy()
    np.testing.assert_allclose(cut.rest(activations), expected, rtol=1e-5, atol=1e-6)
    # The parts have the weights of the tower, each once.
    parts = [id(v) for part in (cut.frozen, cut.rest) for v in part.weights]
    assert sorted(parts) == sorted(id(v) for v in towers[tower].weights)


def test_only_backbones_with_stages_are_cut():
    assert stage_end("image", MODEL) == "blocks_14_add"
    assert stage_end("audio", MODEL) == "layer13_pointwise_relu"
    resnet = ModelConfig(image_frozen_stages=3, audio_frozen_stages=5)
    assert stage_end("image", resnet) == stage_end("audio", resnet) == ""
    with pytest.raises(ValueError, match="must be 0 or 5 with the backbone keras:VGG"):
        ModelConfig(image_backbone="keras:VGG16", image_frozen_stages=3)


def test_frozen_stages_compute_in_training_what_they_compute_in_inference(towers):
    """Their batch norms use and keep their own statistics; the rest is trained."""
    recognizer = keras.Model(
        [tower.input for tower in towers.values()],
        [tower(tower.input) for tower in towers.values()],
    )
    freeze(recognizer, MODEL)
    trained = {}
    for tower, network in towers.items():
        frozen = frozen_part(network, stage_end(tower, MODEL))
        assert not frozen.trainable_variables
        before, given = [v.numpy() for v in frozen.weights], inputs_of(tower)
        np.testing.assert_array_equal(
            frozen(given, training=True), frozen(given, training=False)
        )
        for held, variable in zip(before, frozen.weights, strict=True):
            np.testing.assert_array_equal(held, variable)
        names = {v.path.split("/")[-2] for v in network.trainable_variables}
        trained[tower] = {name.removesuffix("_conv") for name in names}
    assert trained["image"] == {
        *("blocks_15_expand", "blocks_15_depthwise", "blocks_15_project"),
        *("blocks_15_bn0", "blocks_15_bn1", "blocks_15_bn2", "conv_head", "bn1"),
    }
    assert trained["audio"] == {"layer14_depthwise", "layer14_pointwise", "scores"}
