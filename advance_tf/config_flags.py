"""One absl flag for every field of the configuration.

The flags default to None, "as the configuration says": only what the user
gives changes it, so that a work directory's config.json stays the truth.
"""

import dataclasses
from typing import Any, get_type_hints

from absl import flags

from advance_tf.config import Config, groups


def define(*group_names: str) -> None:
    """Defines one flag for each field of the named groups.

    Args:
        *group_names: names of groups of `Config`; none given means all.
    """
    for name in group_names or tuple(groups()):
        hints = get_type_hints(groups()[name])
        for field in dataclasses.fields(groups()[name]):
            _define_flag(field, hints[field.name])


def _define_flag(field: dataclasses.Field, kind: Any) -> None:
    shown = field.default
    if isinstance(shown, tuple):
        shown = ",".join(str(item) for item in shown)
    text = f"{field.metadata['help']} (default: {shown!r})"
    choices = field.metadata["choices"]
    if choices and kind is str:
        flags.DEFINE_enum(field.name, None, choices, text)
    elif kind is bool:
        flags.DEFINE_bool(field.name, None, text)
    elif kind is int:
        flags.DEFINE_integer(field.name, None, text)
    elif kind is float:
        flags.DEFINE_float(field.name, None, text)
    elif kind is str:
        flags.DEFINE_string(field.name, None, text)
    else:
        flags.DEFINE_list(field.name, None, text)


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


def given() -> dict[str, Any]:
    """The configuration flags that the user gave: field name → value."""
    values = {}
    for group in groups().values():
        hints = get_type_hints(group)
        for field in dataclasses.fields(group):
            if field.name not in flags.FLAGS:
                continue
            value = flags.FLAGS[field.name].value
            if value is not None:
                values[field.name] = _value(field, hints[field.name], value)
    return values


def read(base: Config | None = None) -> Config:
    """`base` with every flag that the user gave laid over it.

    Args:
        base: the configuration to start from; the defaults when None.

    Returns:
        A checked `Config`.

    Raises:
        ValueError: a value lies outside what its field allows.
    """
    base = base or Config()
    values = given()
    changed = {}
    for name, group in groups().items():
        own = {
            field.name: values[field.name]
            for field in dataclasses.fields(group)
            if field.name in values
        }
        changed[name] = dataclasses.replace(getattr(base, name), **own)
    return Config(**changed)
