"""Settings of a pretraining: stored, combined with given ones, and refused."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from absl.flags import FlagValues

from advance_tf import training
from advance_tf.cli import flags
from advance_tf.cli import pretrain as pretrain_command
from advance_tf.config import (
    PRETRAINING,
    Config,
    DataConfig,
    FeatureConfig,
    ModelConfig,
    TrainingConfig,
)
from advance_tf.config_io import replace_fields
from advance_tf.csv_tables import read_table
from advance_tf.data.synthetic.pairs import write_tagged_clips
from advance_tf.labels import asset_path
from advance_tf.locks import LockedError, lock_folder
from advance_tf.models import weights
from advance_tf.teacher.loading import load_teacher
from advance_tf.training.callbacks import BEST_WEIGHTS
from advance_tf.training.pretraining import build_audio_pretraining
from advance_tf.training.pretraining_settings import (
    SETTINGS,
    PretrainingSettings,
    combine_settings,
    write_settings,
)
from tests.training import factories

BASE = Config(training=TrainingConfig(learning_rate=1e-3))


def test_settings_are_stored_and_resumed(tmp_path):
    changes = {"data_dir": "clips", "epochs": 3}
    given = {"tower": "audio", "tags": "tags.csv", "held_out": 0.3}
    config, settings = combine_settings(tmp_path, changes, BASE, given)
    assert not (tmp_path / SETTINGS).exists()
    write_settings(tmp_path, config, settings)
    assert settings == PretrainingSettings("audio", "tags.csv", 0.3)
    assert config.training.learning_rate == 1e-3
    contents = json.loads((tmp_path / SETTINGS).read_text(encoding="utf-8"))
    assert contents["run"]["held_out"] == 0.3
    assert "tensorflow" in contents["versions"]
    # The configuration of a new run is not used for a run to resume.
    resumed = combine_settings(tmp_path, {"epochs": 5}, Config(), {"held_out": 0.3})
    assert resumed[1] == settings
    assert resumed[0].training.learning_rate == 1e-3
    assert resumed[0].training.epochs == 5


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({}, {"mixup": 0.0, "held_out": 0.5}, "changed: `mixup`, `held_out`. Leave"),
        ({"learning_rate": 0.5}, {}, r"learning_rate`? was 0\.001, now 0\.5"),
    ],
)
def test_other_settings_than_those_of_the_run_are_refused(
    changes, given, message, tmp_path
):
    started = {"data_dir": "clips"}, BASE, {"tower": "audio"}
    write_settings(tmp_path, *combine_settings(tmp_path, *started))
    # Before the first epoch they may change, and back.
    config, settings = combine_settings(tmp_path, changes, BASE, given)
    write_settings(tmp_path, config, settings)
    assert given.items() <= dataclasses.asdict(settings).items()
    assert config.training.learning_rate == changes.get("learning_rate", 1e-3)
    first = (
        {"learning_rate": 1e-3},
        BASE,
        {"tower": "audio", "mixup": 1.0, "held_out": 0.2},
    )
    write_settings(tmp_path, *combine_settings(tmp_path, *first))
    (tmp_path / BEST_WEIGHTS).write_bytes(b"of the first epoch")
    with pytest.raises(ValueError, match=message):
        combine_settings(tmp_path, changes, BASE, given)


@pytest.mark.parametrize(
    ("changes", "given"), [({"data_dir": "clips"}, {}), ({}, {"tower": "image"})]
)
def test_tower_and_data_are_required(changes, given, tmp_path):
    with pytest.raises(ValueError, match="^tower and `data_dir` must be set"):
        combine_settings(tmp_path, changes, BASE, given)


@pytest.mark.parametrize(
    ("tower", "changes", "patience", "message"),
    [
        (
            "image",
            {"audio_weights": "a.npz", "image_frozen_stages": 5, "test_epochs": True},
            0,
            "the image tower .* received `image_frozen_stages`, `test_epochs`, "
            "`audio_weights`. Leave them out.$",
        ),
        (
            "audio",
            {"learning_rate_schedule": "constant", "warmup_epochs": 1},
            5,
            "`learning_rate_schedule`, `warmup_epochs`. .* `plateau_patience=0`.$",
        ),
    ],
)
def test_settings_without_effect_are_refused(
    tower, changes, patience, message, tmp_path
):
    values = {"data_dir": "data"} | changes
    given = {"tower": tower, "plateau_patience": patience}
    with pytest.raises(ValueError, match=message):
        combine_settings(tmp_path, values, BASE, given)
    # Those of a run that an earlier version has started have had no effect.
    config, settings = combine_settings(tmp_path, {"data_dir": "data"}, BASE, given)
    write_settings(tmp_path, replace_fields(config, changes), settings)
    with pytest.raises(ValueError, match=message):
        combine_settings(tmp_path, {}, BASE, {})
    (tmp_path / BEST_WEIGHTS).write_bytes(b"of the first epoch")
    assert combine_settings(tmp_path, {}, BASE, {})[1] == settings


def test_values_of_earlier_versions_are_no_settings_without_effect(tmp_path):
    earlier = replace_fields(BASE, {"data_dir": "data", "cached_views": 0})
    assert combine_settings(tmp_path, {}, earlier, {"tower": "image"})[0] == earlier


@pytest.mark.parametrize("name", ["aid", "audioset"])
def test_the_recipes_have_no_setting_without_effect(name, tmp_path):
    values = FlagValues()
    pretrain_command.define(values)
    path = asset_path(f"pretraining/{name}.flags")
    given = ["--data_dir=data", "--tags=tags.csv", f"--flagfile={path}"]
    flags.parse("pretrain", values, given)
    settings = {"tower": values.tower, "plateau_patience": values.plateau_patience}
    combine_settings(tmp_path, flags.given_config(values), PRETRAINING, settings)


def test_an_audio_tower_needs_tags():
    with pytest.raises(ValueError, match="^tags must be the path of a CSV"):
        build_audio_pretraining(BASE, PretrainingSettings("audio"), pathlib.Path("run"))


def test_pretrain_writes_a_teacher_and_resumes(tmp_path):
    write_tagged_clips(tmp_path / "clips", clips=10, progress=False)
    config = Config(
        data=DataConfig(data_dir=str(tmp_path / "clips")),
        features=FeatureConfig(clip_seconds=1.0),
        model=ModelConfig(audio_depth=10, audio_width=4),
        training=TrainingConfig(epochs=1, batch_size=4),
    )
    settings = PretrainingSettings(
        "audio", tags=str(tmp_path / "clips" / "tags.csv"), mixup=0.0
    )
    larger = factories.with_training(config, batch_size=9)
    with pytest.raises(ValueError, match=r"at least 9 clips; it has 8\. Lower `batch_"):
        training.pretrain(larger, settings, tmp_path / "large")
    path = training.pretrain(config, settings, tmp_path / "run")
    assert path == tmp_path / "run" / "tower.npz"
    assert load_teacher(path, config.features).event_mask.shape == (527,)
    # A finished run is not trained again.
    before = (tmp_path / "run" / "log.csv").read_bytes()
    assert training.pretrain(config, settings, str(tmp_path / "run")) == path
    assert (tmp_path / "run" / "log.csv").read_bytes() == before
    other = dataclasses.replace(settings, mixup=1.0)
    with pytest.raises(ValueError, match="changed: `mixup`"):
        training.pretrain(config, other, tmp_path / "run")
    # What a killed process has left is removed, but not under a lock.
    partial = tmp_path / "run" / "tower-12-partial.npz"
    partial.touch()
    with lock_folder(tmp_path / "run", "run"):
        with pytest.raises(LockedError):
            training.pretrain(config, settings, tmp_path / "run")
        assert partial.exists()
    training.pretrain(config, settings, tmp_path / "run")
    assert not partial.exists()
    # Another pretraining starts from these weights, not the one that goes on.
    model = dataclasses.replace(config.model, audio_weights=str(path))
    following = dataclasses.replace(config, model=model)
    expected, _ = weights.read_weights(path)
    run, *_ = build_audio_pretraining(following, settings, tmp_path / "second")
    tower = run.trainer.model.get_layer("audio_tower")
    for variable, stored in weights.layer_arrays(tower).items():
        np.testing.assert_array_equal(stored, expected[variable])
    path.write_bytes(b"")
    build_audio_pretraining(following, settings, tmp_path / "run")


def test_the_image_tower_is_pretrained_by_sgd_at_a_constant_rate(tmp_path):
    """As assets/pretraining/aid.flags, in small: no drops on a plateau."""
    rng = np.random.default_rng(0)
    for name in ("farm", "port"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            levels = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
            path = tmp_path / "images" / name / f"{number}.png"
            path.write_bytes(tf.io.encode_png(levels).numpy())
    config = Config(
        data=DataConfig(data_dir=str(tmp_path / "images")),
        features=FeatureConfig(image_size=32),
        model=ModelConfig(image_depth=10, image_width=2),
        training=TrainingConfig(
            epochs=3,
            batch_size=4,
            learning_rate=0.25,
            optimizer="sgd",
            learning_rate_schedule="constant",
            keep_last_batch=True,
            augmentation="none",
        ),
    )
    settings = PretrainingSettings("image", held_out=0.25, plateau_patience=0)
    training.pretrain(config, settings, tmp_path / "run")
    rows = read_table(tmp_path / "run" / "log.csv").rows
    assert [float(row.values["learning_rate"]) for row in rows] == [0.25] * 3
    with np.load(tmp_path / "run" / "checkpoint.npz") as stored:
        # Two batches, of four and two images, in each epoch.
        arrays = [stored[name] for name in stored.files]
    counts = [int(a) for a in arrays if a.ndim == 0 and a.dtype.kind in "iu"]
    assert counts == [6]
