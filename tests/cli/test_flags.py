"""Flags of the configuration change only the given fields."""

import dataclasses

import pytest
from absl.flags import FlagValues

from advance_tf.cli import flags, predict, prepare, pretrain
from advance_tf.config import Config, ModelConfig, groups
from advance_tf.config_io import replace_fields
from advance_tf.experiments.recipes import read_recipe
from advance_tf.labels import asset_path
from tests.commands import run_command

RECIPES = sorted(asset_path("recipes").glob("*.flags"))


def parse(*arguments):
    """The parsed flags of a command with all fields of the configuration."""
    values = FlagValues()
    flags.define_workdir(values)
    flags.define_config(values)
    flags.parse("fit", values, arguments)
    return values


def read(*arguments):
    return flags.read_config(parse(*arguments))


def test_every_field_has_a_flag_without_a_value():
    values = parse()
    for group in groups().values():
        for field in dataclasses.fields(group):
            assert values[field.name].value is None
    assert flags.read_config(values) == Config()


def test_a_given_flag_changes_its_field_only():
    values = parse(
        "--image_depth=18", "--drop_epochs=2,5", "--allow_missing", "--beta=0"
    )
    base = Config(model=ModelConfig(audio_depth=34))
    config = flags.read_config(values, base)
    assert config.model == ModelConfig(image_depth=18, audio_depth=34)
    assert config.training.drop_epochs == (2, 5)
    assert config.data.allow_missing is True
    assert config.transfer.beta == 0.0
    assert flags.given_config(values) == {
        "image_depth": 18,
        "drop_epochs": (2, 5),
        "allow_missing": True,
        "beta": 0.0,
    }


@pytest.mark.parametrize(
    ("name", "expected", "settings"),
    [
        (
            "aid",
            {
                "optimizer": "sgd",
                "learning_rate": 1e-3,
                "momentum": 0.9,
                "weight_decay": 0.0,
                "image_size": 512,
                "batch_size": 32,
                "epochs": 50,
                "learning_rate_schedule": "constant",
                "augmentation": "none",
            },
            {"tower": "image", "held_out": 0.2, "plateau_patience": 0},
        ),
        (
            "audioset",
            {
                "optimizer": "adam",
                "learning_rate": 1e-3,
                "weight_decay": 0.0,
                "batch_size": 64,
                "epochs": 30,
                "drop_factor": 0.8,
                "sampling": "balanced",
                "augmentation": "none",
            },
            {"tower": "audio", "mixup": 0.0, "plateau_patience": 4},
        ),
    ],
)
def test_the_recipes_of_pretraining_are_those_of_the_authors_scripts(
    name, expected, settings
):
    values = FlagValues()
    pretrain.define(values)
    path = asset_path(f"pretraining/{name}.flags")
    flags.parse("pretrain", values, [f"--flagfile={path}"])
    given = flags.given_config(values)
    assert given.items() >= expected.items()
    assert {key: values[key].value for key in settings} == settings
    assert replace_fields(Config(), given) is not None


def test_a_flag_of_the_command_is_not_one_of_the_configuration():
    values = FlagValues()
    flags.define_batch_size(values)
    flags.define_config(values, "features")
    flags.parse("teach", values, ["--batch_size=3"])
    assert flags.given_config(values) == {}


def test_an_empty_list_clears_the_drops():
    assert read("--drop_epochs=").training.drop_epochs == ()


def test_the_command_line_can_be_parsed_again():
    given = ["--workdir=a b", "--drop_epochs=2,5", "--noallow_missing"]
    values = parse(*given)
    assert parse(*flags.given_flags(values)).flag_values_dict() == (
        values.flag_values_dict()
    )
    assert flags.command_line("fit", values).startswith("advance fit '--workdir=a b'")


def test_the_last_value_is_used_also_with_a_flagfile(tmp_path):
    recipe = tmp_path / "a.flags"
    recipe.write_text("# A comment.\n--alpha=2\n--beta=3\n")
    config = read("--alpha=1", "--workdir", "X", f"--flagfile={recipe}", "--beta=4")
    assert (config.transfer.alpha, config.transfer.beta) == (2.0, 4.0)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_flagfile_is_what_the_library_reads(path):
    assert flags.given_config(parse(f"--flagfile={path}")) == read_recipe(path)


def test_a_value_may_follow_its_flag():
    values = parse("--workdir", "X", "--alpha", "3")
    assert (values.workdir, values.alpha) == ("X", 3.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--nonsense=1", "`advance fit` has no flag --nonsense"),
        ("--alfa=1", "no flag --alfa; the nearest is --alpha"),
        ("--alpha=x", "--alpha must be a number; received 'x'"),
        ("--epochs=2.5", "--epochs must be an integer; received '2.5'"),
        ("--modality=all", "--modality must be one of both, image, sound; received"),
        ("--allow_missing=x", "--allow_missing must be true or false; received 'x'"),
        ("--drop_epochs=2,x", "--drop_epochs takes whole numbers .* received '2,x'"),
        ("--workdir", "Missing value for flag --workdir"),
        ("--flagfile=nowhere", "nowhere"),
        ("epochs=3", "Arguments must be --flags; .* Write --epochs=3"),
        ("b", "received 'b'. Quote values with spaces"),
    ],
)
def test_a_bad_argument_is_a_value_error(given, message):
    with pytest.raises(ValueError, match=message):
        read(given)


def test_what_is_required_is_named():
    with pytest.raises(ValueError, match="--workdir must name the folder; received no"):
        flags.require(parse(), workdir="the folder")
    with pytest.raises(ValueError, match="--betas takes numbers .* received '1,x'"):
        flags.numbers("betas", ["1", "x"])


def test_given_flags_without_an_effect_are_refused():
    values = parse("--seed=0")  # the default, but given
    flags.refuse(values, ("epochs", "workdir"), "must be used with --other")
    with pytest.raises(ValueError, match=r"^--seed must be .* --other\. Leave it out"):
        flags.refuse(values, ("epochs", "seed"), "must be used with --other")


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (
            ["--format=shards", "--source_dir=a", "--data_dir=b"],
            [
                *("--image_dir=a", "--sound_dir=a", "--rate_hz=0", "--min_seconds=2"),
                *("--clip_seconds=10", "--seed=0", "--allow_truncated"),
                "--noremove_stale",
            ],
        ),
        (
            ["--image_dir=a", "--sound_dir=a", "--data_dir=b"],
            ["--source_dir=a", "--shard=0/2", "--pairs_per_file=512"],
        ),
    ],
)
def test_prepare_refuses_flags_of_the_other_format(mode, names):
    for given in names:
        values = FlagValues()
        prepare.define(values)
        flags.parse("prepare", values, [*mode, given])
        name = given.partition("=")[0].removeprefix("--no").removeprefix("--")
        other = "folder" if mode[0] == "--format=shards" else "shards"
        with pytest.raises(ValueError, match=f"^--{name} must .* --format={other}"):
            prepare.run(values)


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (["--places=a.csv"], ["json", "noevents", "sound_metres=500"]),
        (["--places=a.csv"], ["ground_metres=256", "tile_dir=b"]),
        (["--stride_metres=9", "--raster=a.tif"], ["json", "events", "top=5"]),
        (["--stride_metres=9", "--raster=a.tif"], ["tile_dir=a", "sound_metres=500"]),
        (["--data_dir=a"], ["output=a.csv", "raster=a.tif", "tile_dir=b"]),
        (["--data_dir=a"], ["ground_metres=256", "sound_metres=500"]),
    ],
)
def test_predict_refuses_flags_of_other_modes(mode, names):
    for given in names:
        values = FlagValues()
        predict.define(values)
        flags.parse("predict", values, ["--workdir=a", *mode, f"--{given}"])
        name = given.partition("=")[0].removeprefix("no")
        with pytest.raises(ValueError, match=f"^--{name} (may|must) .*Leave it out"):
            predict.run(values)


@pytest.mark.parametrize(
    ("command", "given", "named"),
    [
        ("split", "--cache_dir=a", "--cache_dir"),
        ("split", "--tf_data_service=grpc://a:1", "--tf_data_service"),
        ("stats", "--cache_dir=a", "--cache_dir"),
        ("stats", "--log_mel_stats=a.csv --image_size=64", "--image_size, --log_mel_s"),
        ("teach", "--tf_data_service=grpc://a:1", "--tf_data_service"),
        ("teach", "--image_resize=nearest", "--image_resize"),
        ("download", "advance --folder=a", "--folder"),
        ("download", "yamnet --keep_archives", "--keep_archives"),
        ("download", "checkpoints --data_dir=a", "--data_dir"),
    ],
)
def test_a_flag_without_effect_is_refused(command, given, named):
    status, _, error = run_command(command, *given.split())
    assert status == 1
    assert error.startswith(f"error: {named}")
    assert f"has no effect on `advance {command}" in error
    assert "Leave" in error
