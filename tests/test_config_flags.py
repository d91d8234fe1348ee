"""Flags are generated from the configuration and change only what is given."""

import dataclasses
import functools

import pytest
from absl import flags

from advance_tf import config_flags
from advance_tf.config import Config, ModelConfig, groups
from advance_tf.labels import asset_path

_DEFINERS = {
    name: getattr(flags, name)
    for name in (
        "DEFINE_bool",
        "DEFINE_enum",
        "DEFINE_float",
        "DEFINE_integer",
        "DEFINE_list",
        "DEFINE_string",
    )
}


@pytest.fixture
def parse(monkeypatch):
    """Parses a command line into a fresh set of all flags."""

    def parsed(*arguments):
        values = flags.FlagValues()
        monkeypatch.setattr(flags, "FLAGS", values)
        for name, define in _DEFINERS.items():
            fresh = functools.partial(define, flag_values=values)
            monkeypatch.setattr(flags, name, fresh)
        config_flags.define()
        values(["program", *arguments])
        return values

    return parsed


def test_every_field_has_a_flag_without_a_value(parse):
    values = parse()
    for group in groups().values():
        for field in dataclasses.fields(group):
            assert values[field.name].value is None
    assert config_flags.read() == Config()


def test_a_given_flag_changes_its_field_only(parse):
    parse("--image_depth=18", "--drop_epochs=2,5", "--allow_missing", "--beta=0")
    base = Config(model=ModelConfig(audio_depth=34))
    read = config_flags.read(base)
    assert read.model == ModelConfig(image_depth=18, audio_depth=34)
    assert read.training.drop_epochs == (2, 5)
    assert read.data.allow_missing is True
    assert read.transfer.beta == 0.0
    assert set(config_flags.given()) == {
        "image_depth",
        "drop_epochs",
        "allow_missing",
        "beta",
    }


def test_an_empty_list_clears_the_drops(parse):
    parse("--drop_epochs=")
    assert config_flags.read().training.drop_epochs == ()


def test_bad_numbers_in_a_list_are_refused(parse):
    parse("--drop_epochs=2,x")
    with pytest.raises(ValueError, match="whole numbers"):
        config_flags.read()


def test_every_recipe_is_a_valid_configuration(parse):
    recipes = sorted(asset_path("recipes").glob("*.flags"))
    assert len(recipes) >= 20
    for recipe in recipes:
        lines = recipe.read_text(encoding="utf-8").splitlines()
        parse(*(line for line in lines if line.startswith("--")))
        assert config_flags.read() is not None
