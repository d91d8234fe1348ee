"""Frozen parts stay as loaded through a training step; the rest learns."""

import numpy as np
import pytest

from advance_tf.config import Config, FeatureConfig, ModelConfig, TransferConfig
from advance_tf.models.freezing import stage_of
from advance_tf.training.recognition import build_trainer

SIZES = {"image_depth": 18, "audio_depth": 18, "image_width": 4, "audio_width": 4}


def changed_by_a_step(**frozen):
    """Names of the layers whose variables a step changes, by tower."""
    config = Config(
        model=ModelConfig(**SIZES, **frozen),
        features=FeatureConfig(image_size=32, clip_seconds=0.5),
        transfer=TransferConfig(transfer="none"),
    )
    trainer = build_trainer(config, None, [])
    recognizer = trainer.model
    before = {id(v): v.numpy() for v in recognizer.variables}
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.uniform(0, 255, (4, 32, 32, 3)).astype(np.float32),
        "log_mel": rng.normal(size=(4, 20, 64)).astype(np.float32),
    }
    trainer.train_on_batch(inputs, {"scene": np.array([0, 1, 2, 3])})
    changed = {"image": set(), "audio": set(), "head": set()}
    for tower in ("image", "audio"):
        for layer in recognizer.get_layer(f"{tower}_tower").layers:
            if any((v.numpy() != before[id(v)]).any() for v in layer.weights):
                changed[tower].add(layer.name)
    head = recognizer.get_layer("scene_head")
    if (head.kernel.numpy() != before[id(head.kernel)]).any():
        changed["head"].add(head.name)
    return changed


def test_without_flags_everything_learns():
    changed = changed_by_a_step()
    assert {stage_of(name) for name in changed["image"]} == {1, 2, 3, 4, 5}
    assert {"conv1", "bn1", "layer4_1_bn2"} <= changed["audio"]
    assert changed["head"]


def test_frozen_stages_stay():
    changed = changed_by_a_step(image_frozen_stages=3, audio_frozen_stages=5)
    assert {stage_of(name) for name in changed["image"]} == {4, 5}
    assert changed["audio"] == set()
    assert changed["head"]


def test_frozen_batch_norms_keep_scales_and_statistics():
    changed = changed_by_a_step(freeze_batch_norm=True)
    for tower in ("image", "audio"):
        assert "conv1" in changed[tower]
        norms = [n for n in changed[tower] if "bn" in n or n.endswith("downsample_1")]
        assert not norms


@pytest.mark.parametrize(
    ("layer", "stage"),
    [("conv1", 1), ("bn1", 1), ("layer1_0_conv1", 2), ("layer4_1_bn2", 5)],
)
def test_stages_are_read_off_the_names(layer, stage):
    assert stage_of(layer) == stage
