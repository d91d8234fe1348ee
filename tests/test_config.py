"""The configuration: checks and the strict JSON round trip."""

import dataclasses
import json

import pytest

from advance_tf import config as config_module
from advance_tf.config import (
    Config,
    DataConfig,
    FeatureConfig,
    TrainingConfig,
    TransferConfig,
)


def test_defaults_are_those_of_the_paper():
    config = Config()
    assert config.features.clip_samples == 160_000
    assert config.features.frames == 400
    assert (config.transfer.alpha, config.transfer.beta) == (0.1, 0.001)
    assert config.training.learning_rate == 1e-5
    assert config.training.drop_epochs == (30, 60, 90)


def test_json_round_trip_keeps_every_field():
    config = dataclasses.replace(
        Config(),
        training=TrainingConfig(drop_epochs=(3, 5), learning_rate=0.5, seed=7),
        data=DataConfig(data_dir="a b", allow_missing=True),
    )
    text = json.dumps(config_module.to_dict(config))
    assert config_module.from_dict(json.loads(text)) == config


def test_field_names_are_unique_over_the_groups():
    names = [
        field.name
        for group in config_module.groups().values()
        for field in dataclasses.fields(group)
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda v: v["model"].pop("dropout"), "missing: dropout"),
        (lambda v: v["model"].update(colour="red"), "unknown: colour"),
        (lambda v: v["training"].update(epochs=2.5), "training.epochs"),
        (lambda v: v["training"].update(epochs=True), "training.epochs"),
        (lambda v: v["training"].update(drop_epochs=[1, "2"]), "drop_epochs"),
        (lambda v: v.pop("data"), "missing: data"),
    ],
)
def test_an_unknown_missing_or_mistyped_key_is_named(change, named):
    values = config_module.to_dict(Config())
    change(values)
    with pytest.raises(ValueError, match=named):
        config_module.from_dict(values)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: TransferConfig(transfer="both"), "--transfer must be one of none"),
        (lambda: TransferConfig(alpha=-1.0), "--alpha must be at least 0"),
        (lambda: TransferConfig(alpha=float("nan")), "--alpha must be finite"),
        (lambda: TransferConfig(transfer="none", scene_weight=0.0), "nothing to"),
        (lambda: DataConfig(train_fraction=0.8, validation_fraction=0.3), "exceed 1"),
        (lambda: FeatureConfig(window_samples=8192), "--window_samples may not"),
        (lambda: FeatureConfig(mel_max_hz=9000.0), "half the sampling rate"),
        (lambda: FeatureConfig(clip_seconds=0.01), "at least one frame"),
        (lambda: TrainingConfig(drop_epochs=(0,)), "--drop_epochs must be at least"),
    ],
)
def test_a_value_outside_its_range_is_refused(make, named):
    with pytest.raises(ValueError, match=named):
        make()
