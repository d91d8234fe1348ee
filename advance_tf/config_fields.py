"""Fields of the configuration: their help, their limits and their validation."""

import dataclasses
import math
import operator
import types
from typing import Any


def setting(
    default: Any,
    help: str,
    *,
    choices: tuple[Any, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    before: Any = None,
) -> Any:
    """Creates a dataclass field with the help text and the limits of its value.

    Args:
        default: default value.
        help: description with its unit; the help of the flag.
        choices: allowed values, None for any.
        minimum: smallest allowed number.
        maximum: largest allowed number.
        above: the number must be greater than this one.
        before: value of a field that was added to a released configuration: what
            runs of earlier versions, whose `config.json` lacks it, worked with.

    Returns:
        The field.
    """
    limits = {"choices": choices, "minimum": minimum, "maximum": maximum}
    metadata = types.MappingProxyType(
        {"help": help, "above": above, "before": before, **limits}
    )
    return dataclasses.field(default=default, metadata=metadata)


def _check_field(field: dataclasses.Field[Any], value: Any) -> None:
    """Raises ValueError if `value` violates the limits of `field`."""
    limits = field.metadata
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{field.name} must be finite; received {value}.")
    if limits["choices"] and value not in limits["choices"]:
        allowed = ", ".join(str(choice) for choice in limits["choices"])
        raise ValueError(f"{field.name} must be one of {allowed}; received {value!r}.")
    for limit, words, breaks in (
        ("minimum", "at least", operator.lt),
        ("maximum", "at most", operator.gt),
        ("above", "greater than", operator.le),
    ):
        bound = limits[limit]
        for number in value if isinstance(value, tuple) else (value,):
            if bound is not None and breaks(number, bound):
                raise ValueError(
                    f"{field.name} must be {words} {bound}; received {number}."
                )


@dataclasses.dataclass(frozen=True)
class Validated:
    """Base class of the groups: validates every field of a new instance.

    Whole numbers of `float` fields are stored as `float`: 10 and 10.0 are one setting,
    also as text in the key of stored results.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_field(field, getattr(self, field.name))
        store_floats(self)


def store_floats(group: Any) -> None:
    """Replaces the whole numbers of `float` fields of a new dataclass by floats.

    Args:
        group: an instance of a frozen dataclass, in its `__post_init__`.
    """
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        if field.type is float and type(value) is int:
            object.__setattr__(group, field.name, float(value))


def values_before(group: Any) -> dict[str, Any]:
    """The values of the fields that configurations of earlier versions lack.

    Args:
        group: a dataclass of fields of `setting`.

    Returns:
        Field → its value `before`.
    """
    return {
        field.name: field.metadata["before"]
        for field in dataclasses.fields(group)
        if field.metadata["before"] is not None
    }
