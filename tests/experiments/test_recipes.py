"""Recipes set fields of the configuration as absl reads the same file."""

import pytest

from advance_tf.config import Config
from advance_tf.config_io import replace_fields
from advance_tf.experiments.recipes import read_recipe
from advance_tf.labels import asset_path

RECIPES = sorted(asset_path("recipes").glob("*.flags"))


def test_a_recipe_sets_its_fields(tmp_path):
    (tmp_path / "base.flags").write_text("--alpha=1\n--beta=3\n")
    recipe = tmp_path / "a.flags"
    recipe.write_text(
        "# A comment.\n\n--flagfile=base.flags\n--alpha=2\n--drop_epochs=2,5\n"
        "--allow_missing\n--nofreeze_batch_norm\n--image_weights=\n"
    )
    assert read_recipe(recipe) == {
        "alpha": 2.0,
        "beta": 3.0,
        "drop_epochs": (2, 5),
        "allow_missing": True,
        "freeze_batch_norm": False,
        "image_weights": "",
    }
    recipe.write_text("--drop_epochs=\n--freeze_batch_norm=false")
    assert read_recipe(recipe) == {"drop_epochs": (), "freeze_batch_norm": False}


@pytest.mark.parametrize(
    "line", ["--nonsense=1", "--alpha=x", "--allow_missing=maybe", "alpha", "--noalpha"]
)
def test_a_line_that_sets_no_field_is_named(tmp_path, line):
    recipe = tmp_path / "a.flags"
    recipe.write_text(f"--beta=1\n{line}\n")
    with pytest.raises(ValueError, match=rf"Line 2 of .*a\.flags .*received '{line}'"):
        read_recipe(recipe)


def test_every_recipe_is_a_configuration():
    assert len(RECIPES) >= 20
    for path in RECIPES:
        assert replace_fields(Config(), read_recipe(path)) is not None
