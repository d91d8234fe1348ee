"""The configuration: limits of the fields, JSON round trip and resuming."""

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
from advance_tf.config_io import (
    check_resume,
    from_dict,
    key_settings,
    load_config,
    replace_fields,
    to_dict,
)
from advance_tf.data.recordings import ClipRule


def test_defaults_are_those_of_the_paper():
    config = Config()
    assert config.features.clip_samples == 160_000
    assert config.features.frames == 400
    assert (config.transfer.alpha, config.transfer.beta) == (0.1, 0.001)
    assert config.training.learning_rate == 1e-5
    assert config.training.drop_epochs == (31, 61, 91)


def test_json_round_trip_keeps_every_field():
    config = dataclasses.replace(
        Config(),
        training=TrainingConfig(drop_epochs=(3, 5), learning_rate=0.5, seed=7),
        data=DataConfig(data_dir="a b", allow_missing=True),
    )
    text = json.dumps(to_dict(config))
    assert from_dict(json.loads(text)) == config


def test_a_configuration_of_an_earlier_version_computes_what_it_did():
    values = to_dict(Config())
    del values["features"]["log_mel_precision"]
    assert from_dict(values).features.log_mel_precision == "float64"
    for group, fields in (
        ("features", {"image_resize": "bilinear"}),
        ("model", {"initialization": "keras"}),
        (
            "training",
            {
                "optimizer": "adam",
                "augmentation": "real",
                "keep_last_batch": False,
                "test_epochs": False,
            },
        ),
    ):
        for name in fields:
            del values[group][name]
        kept = getattr(from_dict(values), group)
        assert {name: getattr(kept, name) for name in fields} == fields


def test_field_names_are_unique_across_groups():
    names = [
        field.name
        for group in config_module.groups().values()
        for field in dataclasses.fields(group)
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["model"].pop("dropout"), "missing: dropout"),
        (lambda v: v["model"].update(colour="red"), "unknown: colour"),
        (lambda v: v["training"].update(epochs=2.5), "training.epochs"),
        (lambda v: v["training"].update(epochs=True), "training.epochs"),
        (lambda v: v["training"].update(drop_epochs=[1, "2"]), "drop_epochs"),
        (lambda v: v.pop("data"), "missing: data"),
    ],
)
def test_unknown_missing_or_mistyped_key_is_named(change, message):
    values = to_dict(Config())
    change(values)
    with pytest.raises(ValueError, match=message):
        from_dict(values)


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: TransferConfig(transfer="both"), "transfer must be one of none"),
        (lambda: TransferConfig(alpha=-1.0), "alpha must be at least 0"),
        (lambda: TransferConfig(alpha=float("nan")), "alpha must be finite"),
        (lambda: TransferConfig(transfer="none", scene_weight=0.0), "nothing to"),
        (lambda: DataConfig(train_fraction=0.8, validation_fraction=0.3), "exceed 1"),
        (lambda: FeatureConfig(window_samples=8192), "window_samples may not"),
        (lambda: FeatureConfig(mel_max_hz=9000.0), "half the sampling rate"),
        (
            lambda: FeatureConfig(clip_seconds=0.01),
            "clip_seconds must be at least one hop",
        ),
        (lambda: TrainingConfig(drop_epochs=(0,)), "drop_epochs must be at least"),
        (
            lambda: TrainingConfig(epochs=3, warmup_epochs=3),
            "warmup_epochs must be less than `epochs`",
        ),
    ],
)
def test_value_outside_its_limits_raises(create, message):
    with pytest.raises(ValueError, match=message):
        create()


def test_replaced_fields_may_belong_to_any_group():
    config = replace_fields(Config(), {"alpha": 2, "drop_epochs": [3], "data_dir": "a"})
    assert (config.transfer.alpha, config.data.data_dir) == (2.0, "a")
    assert config.training == TrainingConfig(drop_epochs=(3,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alfa": 1.0}, "received 'alfa'; the nearest name is 'alpha'"),
        ({"epochs": "3"}, "epochs must be of type int"),
        ({"epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_field_that_cannot_be_replaced_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        replace_fields(Config(), values)


def test_configuration_is_loaded_from_its_file_or_that_of_a_run(tmp_path):
    config = replace_fields(Config(), {"epochs": 3})
    values = to_dict(config)
    path = tmp_path / "config.json"
    for contents in (values, {"config": values, "label": "label"}):
        path.write_text(json.dumps(contents))
        assert load_config(path) == config
    for text in ("[1", "[1]", "{}"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"config\.json must contain a config"):
            load_config(path)


def test_resumed_run_may_be_longer_and_its_data_moved():
    stored = Config()
    requested = replace_fields(stored, {"epochs": 500, "data_dir": "b", "patience": 3})
    check_resume(stored, requested)


def test_a_resumed_run_may_state_the_precision_that_its_machine_chose():
    named = replace_fields(Config(), {"precision": "mixed_float16"})
    check_resume(Config(), named)
    with pytest.raises(ValueError, match="`precision` was 'mixed_float16', now 'auto'"):
        check_resume(named, Config())


def test_a_run_with_a_cosine_keeps_its_number_of_epochs():
    stored = replace_fields(Config(), {"learning_rate_schedule": "cosine"})
    check_resume(stored, replace_fields(stored, {"patience": 3}))
    with pytest.raises(ValueError, match="`epochs` was 100, now 120"):
        check_resume(stored, replace_fields(stored, {"epochs": 120}))


def test_a_run_of_an_earlier_version_keeps_running_its_towers():
    values = to_dict(Config())
    for group, name in (
        ("model", "head_units"),
        ("model", "normalize_embeddings"),
        ("training", "tower_learning_rate"),
        ("training", "learning_rate_schedule"),
        ("training", "warmup_epochs"),
        ("training", "label_smoothing"),
        ("training", "class_weights"),
        ("training", "sampling"),
        ("training", "cached_views"),
    ):
        del values[group][name]
    config = from_dict(values)
    assert config.training.cached_views == 0
    views = dataclasses.replace(config.training, cached_views=1)
    assert dataclasses.replace(config, training=views) == Config()


def test_resumed_run_with_other_settings_raises():
    requested = replace_fields(Config(), {"alpha": 0.2, "image_depth": 50, "epochs": 9})
    with pytest.raises(ValueError, match="must be resumed with the settings") as raised:
        check_resume(Config(), requested)
    message = str(raised.value)
    assert "`image_depth` was 101, now 50; `alpha` was 0.1, now 0.2" in message
    assert "epochs" not in message
    assert "--" not in message


def test_a_whole_number_and_its_float_are_one_setting():
    """Their texts are in the keys of stored results."""
    whole, exact = FeatureConfig(clip_seconds=10), FeatureConfig(clip_seconds=10.0)
    assert repr(whole) == repr(exact)
    assert json.dumps(key_settings(whole)) == json.dumps(key_settings(exact))
    assert repr(ClipRule(0, 2, 10)) == repr(ClipRule(0, 2.0, 10.0))
    assert type(TrainingConfig(epochs=10).epochs) is int
