"""One absl flag for every field of the configuration.

The flags default to None, "as the configuration says": only what the user
gives changes it, so that a work directory's config.json stays the truth.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from absl import flags

from advance_tf.config import Config, groups


def define(*group_names: str, flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of the named groups.

    Args:
        *group_names: names of groups of `Config`; none given means all.
        flag_values: where to define them; by default the program's own flags.
    """
    for name in group_names or tuple(groups()):
        hints = get_type_hints(groups()[name])
        for field in dataclasses.fields(groups()[name]):
            _define_flag(field, hints[field.name], flag_values)


def _define_flag(field: dataclasses.Field, kind: Any, values) -> None:
    shown = field.default
    if isinstance(shown, tuple):
        shown = ",".join(str(item) for item in shown)
    text = f"{field.metadata['help']} (default: {shown!r})"
    choices = field.metadata["choices"]
    if choices and kind is str:
        flags.DEFINE_enum(field.name, None, choices, text, flag_values=values)
    elif kind is bool:
        flags.DEFINE_bool(field.name, None, text, flag_values=values)
    elif kind is int:
        flags.DEFINE_integer(field.name, None, text, flag_values=values)
    elif kind is float:
        flags.DEFINE_float(field.name, None, text, flag_values=values)
    elif kind is str:
        flags.DEFINE_string(field.name, None, text, flag_values=values)
    else:
        flags.DEFINE_list(field.name, None, text, flag_values=values)


def _value(field: dataclasses.Field, kind: Any, given: Any) -> Any:
    if kind != tuple[int, ...]:
        return given
    try:
        return tuple(int(item) for item in given)
    except ValueError as error:
        raise ValueError(
            f"--{field.name} takes whole numbers with commas between them; "
            f"received {','.join(given)!r}."
        ) from error


def given(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
    """The configuration flags that the user gave: field name → value."""
    values = {}
    for group in groups().values():
        hints = get_type_hints(group)
        for field in dataclasses.fields(group):
            if field.name not in flag_values:
                continue
            value = flag_values[field.name].value
            if value is not None:
                values[field.name] = _value(field, hints[field.name], value)
    return values


def read(
    base: Config | None = None, flag_values: flags.FlagValues = flags.FLAGS
) -> Config:
    """`base` with every flag that the user gave laid over it.

    Args:
        base: the configuration to start from; the defaults when None.
        flag_values: the flags; by default the program's own.

    Returns:
        A checked `Config`.

    Raises:
        ValueError: a value lies outside what its field allows.
    """
    base = base or Config()
    values = given(flag_values)
    changed = {}
    for name, group in groups().items():
        own = {
            field.name: values[field.name]
            for field in dataclasses.fields(group)
            if field.name in values
        }
        changed[name] = dataclasses.replace(getattr(base, name), **own)
    return Config(**changed)


def parse(arguments: Sequence[str]) -> Config:
    """The configuration of a command line, as a program given it would read it.

    Args:
        arguments: `--name=value`, and `--flagfile=path` for a recipe; the later
            of two wins.

    Returns:
        A checked `Config`.

    Raises:
        ValueError: a flag is unknown or its value not allowed.
    """
    values = flags.FlagValues()
    define(flag_values=values)
    try:
        values(["advance_tf", *arguments])
    except flags.Error as error:
        raise ValueError(f"{' '.join(arguments)}: {error}") from error
    return read(flag_values=values)


def arguments_of(values: Mapping[str, Any]) -> list[str]:
    """Flags that give these values again.

    Args:
        values: field name → value, as `given` returns them.

    Returns:
        `--name=value` of each.
    """
    arguments = []
    for name, value in values.items():
        if isinstance(value, list | tuple):
            value = ",".join(str(item) for item in value)
        arguments.append(f"--{name}={value}")
    return arguments
