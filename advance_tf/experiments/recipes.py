"""Recipes: files of `--name=value` lines that set fields of the configuration.

A recipe is also a flag file of `advance fit`. It is parsed here without absl, because
only the command line defines flags and a study reads recipes from Python; a test
checks that both readers return the same values for every file of assets/recipes.
"""

import pathlib
from typing import Any

from advance_tf.config import fields
from advance_tf.files import reading

_TRUE, _FALSE = {"true", "t", "1", ""}, {"false", "f", "0"}


def read_recipe(path: pathlib.Path) -> dict[str, Any]:
    """Reads a recipe of assets/recipes or another file of this form.

    A line is `--name=value`; a boolean may be `--name` or `--noname`. Empty lines
    and lines that begin with # are skipped. `--flagfile=other` inserts another file,
    whose path is relative to the folder of this one; a later value replaces an
    earlier one.

    Args:
        path: path of the file.

    Returns:
        Field of the configuration → value.

    Raises:
        ValueError: a line does not set a field, or its value is not of the field's
            type.

    >>> from advance_tf.experiments.paper_tables import recipe_path
    >>> values = read_recipe(recipe_path("table1_kl_audio"))
    >>> values["transfer"], values["modality"]
    ('kl_audio', 'both')
    """
    values: dict[str, Any] = {}
    with reading(path, "be text in UTF-8 with a flag in each line", "Save it again."):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    for number, text in enumerate(lines, 1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        name, _, value = line.removeprefix("--").partition("=")
        if name == "flagfile":
            values |= read_recipe(path.parent / value)
            continue
        try:
            field, values[field] = _parsed(name, value)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"Line {number} of {path} must set a field of the configuration, as "
                f"`--alpha=0.1` does; received {line!r}."
            ) from error
    return values


def _parsed(name: str, value: str) -> tuple[str, Any]:
    """Field and value of a line; KeyError or ValueError if the line is not valid."""
    by_name = fields()
    if name not in by_name and by_name[name.removeprefix("no")][2] is bool:
        if value:
            raise ValueError(value)
        return name.removeprefix("no"), False
    kind = by_name[name][2]
    if kind == tuple[int, ...]:
        return name, tuple(int(item) for item in value.split(",") if item)
    if kind is bool:
        if value.lower() not in _TRUE | _FALSE:
            raise ValueError(value)
        return name, value.lower() in _TRUE
    return name, kind(value)
