"""Flags are generated from the configuration and change only what is given."""

import dataclasses

import pytest
from absl import flags

from advance_tf import config_flags
from advance_tf.config import Config, ModelConfig, groups
from advance_tf.labels import asset_path


def parse(*arguments):
    """A command line in a fresh set of all flags."""
    values = flags.FlagValues()
    config_flags.define(flag_values=values)
    values(["program", *arguments])
    return values


def test_every_field_has_a_flag_without_a_value():
    values = parse()
    for group in groups().values():
        for field in dataclasses.fields(group):
            assert values[field.name].value is None
    assert config_flags.read(flag_values=values) == Config()


def test_a_given_flag_changes_its_field_only():
    values = parse(
        "--image_depth=18", "--drop_epochs=2,5", "--allow_missing", "--beta=0"
    )
    base = Config(model=ModelConfig(audio_depth=34))
    read = config_flags.read(base, values)
    assert read.model == ModelConfig(image_depth=18, audio_depth=34)
    assert read.training.drop_epochs == (2, 5)
    assert read.data.allow_missing is True
    assert read.transfer.beta == 0.0
    assert config_flags.given(values) == {
        "image_depth": 18,
        "drop_epochs": (2, 5),
        "allow_missing": True,
        "beta": 0.0,
    }


def test_values_become_flags_and_flags_the_values_again():
    values = parse(
        "--drop_epochs=2,5", "--noallow_missing", "--alpha=0.1", "--image_weights="
    )
    given = config_flags.given(values)
    arguments = config_flags.arguments_of(given)
    assert config_flags.given(parse(*arguments)) == given
    assert config_flags.parse(arguments) == config_flags.read(flag_values=values)


def test_an_empty_list_clears_the_drops():
    assert config_flags.parse(["--drop_epochs="]).training.drop_epochs == ()


def test_bad_numbers_in_a_list_are_refused():
    with pytest.raises(ValueError, match="whole numbers"):
        config_flags.parse(["--drop_epochs=2,x"])


def test_the_later_of_two_wins_whether_in_a_flagfile_or_not(tmp_path):
    recipe = tmp_path / "a.flags"
    recipe.write_text("# A comment.\n--alpha=2\n--beta=3\n")
    read = config_flags.parse(["--alpha=1", f"--flagfile={recipe}", "--beta=4"])
    assert (read.transfer.alpha, read.transfer.beta) == (2.0, 4.0)


@pytest.mark.parametrize("flag", ["--nonsense=1", "--alpha=x", "--modality=taste"])
def test_a_bad_flag_is_a_value_error(flag):
    with pytest.raises(ValueError, match=flag.split("=")[0].strip("-")):
        config_flags.parse([flag])


def test_every_recipe_is_a_valid_configuration():
    recipes = sorted(asset_path("recipes").glob("*.flags"))
    assert len(recipes) >= 20
    for recipe in recipes:
        assert config_flags.parse([f"--flagfile={recipe}"]) is not None
