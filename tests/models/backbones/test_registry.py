"""Backbones by name: towers, inputs, freezing, weights and errors."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import Config, FeatureConfig, ModelConfig, TransferConfig
from advance_tf.models import recognizer as recognizer_module
from advance_tf.models.backbones.contract import WeightsSource
from advance_tf.models.backbones.registry import (
    FAMILIES,
    export_problems,
    find_backbone,
    tower_backbone,
    weights_sources,
)
from advance_tf.models.recognizer import build_recognizer, build_towers
from advance_tf.models.weights import load_tower, save_tower, tower_metadata
from advance_tf.training.recognition import build_trainer
from tests.models.backbones.tiny import Tiny

FEATURES = FeatureConfig(image_size=32, clip_seconds=0.5)
TINY = {"image_depth": 18, "audio_depth": 18, "image_width": 2, "audio_width": 2}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(FAMILIES, "tiny", Tiny)


def both(**settings):
    return ModelConfig(image_backbone="tiny", audio_backbone="tiny", **settings)


def batch(size=4):
    rng = np.random.default_rng(0)
    return {
        "image": tf.constant(rng.uniform(0, 255, (size, 32, 32, 3)), tf.float32),
        "waveform": tf.constant(rng.normal(0, 0.1, (size, 8_000)), tf.float32),
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_backbone": "lite"}, "one of resnet, .*received 'lite'"),
        ({"audio_backbone": "yamnet:logits"}, "yamnet:scores or yamnet:both"),
        ({"image_backbone": "yamnet"}, "image_backbone must be a network for this"),
        ({"audio_backbone": "keras:VGG16"}, "a network for image. Choose another"),
        (
            {"image_backbone": "resnet:50"},
            "resnet has no variants; received 'resnet:50'. Use .*`image_depth=50`",
        ),
        (
            {"image_backbone": "efficientnet_lite0:4"},
            "lite0 has no variants; received 'efficientnet_lite0:4'. Leave out",
        ),
    ],
)
def test_unknown_or_unfit_backbone_is_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        build_towers(ModelConfig(**{**TINY, **settings}), FEATURES)


def test_yamnet_needs_16_khz():
    features = dataclasses.replace(FEATURES, sample_rate_hz=22_050)
    with pytest.raises(ValueError, match="sample_rate_hz must be 16000 for YAMNet"):
        build_towers(ModelConfig(**TINY, audio_backbone="yamnet"), features)
    # Before a teacher scores the sounds.
    with pytest.raises(ValueError, match="sample_rate_hz must be 16000 for YAMNet"):
        find_backbone("yamnet").check("audio", ModelConfig(), features)


@pytest.mark.parametrize("stages", [1, 4])
def test_a_backbone_without_stages_is_frozen_as_a_whole_or_not(stages):
    with pytest.raises(ValueError, match=r"must be 0 or 5 with the backbone tiny"):
        both(audio_frozen_stages=stages)
    assert ModelConfig(image_frozen_stages=stages).image_frozen_stages == stages


def test_input_of_sounds_is_that_of_the_audio_backbone():
    model = build_recognizer(both(), FEATURES, "kl_audio")
    assert list(model.input) == ["image", "waveform"]
    assert model.input["waveform"].shape == (None, 8_000)
    assert model(batch())["audio_event_logits"].shape == (4, 527)
    resnet = build_recognizer(ModelConfig(**TINY), FEATURES)
    assert list(resnet.input) == ["image", "log_mel"]
    tagger = recognizer_module.build_audio_tagger(both(), FEATURES)
    assert list(tagger.input) == ["waveform"]


def changed_towers(**settings):
    """The towers whose variables a training step changes."""
    config = Config(
        model=both(**settings),
        features=FEATURES,
        transfer=TransferConfig(transfer="none"),
    )
    trainer = build_trainer(config, None)
    before = {id(v): v.numpy() for v in trainer.model.variables}
    trainer.train_on_batch(batch(), {"scene": np.array([0, 1, 2, 3])})
    found = {}
    for tower in ("image", "audio"):
        network = trainer.model.get_layer(f"{tower}_tower")
        found[tower] = {
            v.path.split("/")[-1]
            for v in network.variables
            if "seed" not in v.path and (v.numpy() != before[id(v)]).any()
        }
    return found


def test_frozen_tower_is_not_trained_and_not_random():
    changed = changed_towers(image_frozen_stages=5)
    assert changed["image"] == set()
    assert {"kernel", "gamma", "moving_mean"} <= changed["audio"]
    # Dropout of a frozen tower is inactive in training: the head sees equal inputs.
    model = build_recognizer(
        both(image_frozen_stages=5, audio_frozen_stages=5), FEATURES
    )
    first, second = (model(batch(), training=True)["scene_logits"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    free = build_recognizer(both(), FEATURES)
    first, second = (free(batch(), training=True)["scene_logits"] for _ in range(2))
    assert np.abs(first - second).max() > 0


def test_frozen_batch_norms_of_any_backbone_keep_their_statistics():
    changed = changed_towers(freeze_batch_norm=True)
    for tower in ("image", "audio"):
        assert changed[tower] == {"kernel", "bias"}


def test_tower_weights_of_pretraining_fit_their_backbone_only(tmp_path):
    path = tmp_path / "tower.npz"
    tower = build_towers(both(), FEATURES)[0]
    save_tower(path, tower, tower_metadata("image", both()))
    other = build_towers(both(), FEATURES)[0]
    load_tower(path, other, tower_metadata("image", both()))
    np.testing.assert_array_equal(
        other.get_layer("conv").kernel, tower.get_layer("conv").kernel
    )
    with pytest.raises(ValueError, match="the backbone resnet; received tiny"):
        load_tower(path, other, tower_metadata("image", ModelConfig()))


def test_sources_have_the_hash_of_the_file(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"abc")
    sources = weights_sources(both(audio_weights=str(path)))
    assert sources["image"] == WeightsSource("tiny")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sources["audio"] == WeightsSource("tiny", str(path), "file", sha256)
    with pytest.raises(ValueError, match="received 'none.npz'"):
        weights_sources(both(image_weights="none.npz"))


def test_formats_that_a_backbone_lacks_are_stated():
    assert export_problems(ModelConfig(image_backbone="tiny")) == {
        "ONNX": "tiny: it is tiny"
    }
    assert tower_backbone("image", both()).name == "tiny"
    assert find_backbone("tiny:a").variant == "a"
