"""Reads, writes, changes and compares configurations as dictionaries and JSON."""

import dataclasses
import difflib
import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, get_type_hints

from advance_tf.config import Config, fields, groups
from advance_tf.config_fields import values_before
from advance_tf.files import DAMAGED_FILE_ERRORS


def to_dict(config: Config) -> dict[str, Any]:
    """Converts a configuration to a dictionary that JSON can store.

    >>> to_dict(Config())["training"]["drop_epochs"]
    [31, 61, 91]

    Args:
        config: the configuration.

    Returns:
        Group name → field name → value, tuples as lists.
    """
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def _check_keys(
    where: str, received: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    """Raises ValueError unless `received` has exactly the keys of `expected`."""
    unknown = sorted(set(received) - set(expected))
    missing = sorted(set(expected) - set(received))
    if unknown or missing:
        raise ValueError(
            f"{where} must have exactly the keys {', '.join(expected)}; received "
            f"unknown: {', '.join(unknown) or 'none'}, missing: "
            f"{', '.join(missing) or 'none'}. Add or remove these keys; another "
            "version may have written it."
        )


def _convert_type(name: str, value: Any, expected: Any) -> Any:
    """Converts `value` to the type `expected`: int to float, list to tuple."""
    if expected == tuple[int, ...]:
        if isinstance(value, list | tuple) and all(type(item) is int for item in value):
            return tuple(value)
    elif expected is float and type(value) in (int, float):
        return float(value)
    elif type(value) is expected:
        return value
    raise ValueError(
        f"{name} must be of type {getattr(expected, '__name__', expected)}; "
        f"received {value!r}."
    )


def from_dict(values: Mapping[str, Any]) -> Config:
    """Builds a configuration from a dictionary in the format of `to_dict`.

    >>> from_dict(to_dict(Config())) == Config()
    True

    Args:
        values: group name → field name → value. A field that a later version added
            may be missing; it gets the value that earlier versions worked with.

    Returns:
        A validated `Config`.

    Raises:
        ValueError: a key is unknown or missing, or a value has the wrong type
            or violates the limits of its field.
    """
    _check_keys("A configuration", values, groups())
    built = {}
    for name, group in groups().items():
        hints = get_type_hints(group)
        own = {**values_before(group), **values[name]}
        _check_keys(f"Group '{name}'", own, hints)
        built[name] = group(
            **{
                key: _convert_type(f"{name}.{key}", own[key], hint)
                for key, hint in hints.items()
            }
        )
    return Config(**built)


def key_settings(group: Any) -> dict[str, Any]:
    """The settings of a group that a key of stored results depends on.

    A field that has the value with which earlier versions worked is left out, so that
    a new field does not change the keys of their results.

    >>> from advance_tf.config import FeatureConfig
    >>> "log_mel_precision" in key_settings(FeatureConfig(log_mel_precision="float64"))
    False
    >>> key_settings(FeatureConfig(log_mel_precision="float32"))["log_mel_precision"]
    'float32'

    Args:
        group: a group of `Config`, such as a `FeatureConfig`.

    Returns:
        Field name → value.
    """
    before = values_before(group)
    settings = dataclasses.asdict(group)
    return {
        name: value
        for name, value in settings.items()
        if name not in before or value != before[name]
    }


# A resumed run may train longer, on another machine, and on data in another folder.
_MAY_CHANGE = (
    *("epochs", "patience", "data_dir", "cache_dir", "strategy"),
    "tf_data_service",
)


def check_resume(
    stored: Config, requested: Config, may_change: Collection[str] = _MAY_CHANGE
) -> None:
    """Checks that a run is resumed with the settings that it started with.

    Args:
        stored: the configuration in the work directory.
        requested: the configuration to resume with.
        may_change: names of the fields that may differ.

    Raises:
        ValueError: another field differs; every such field is named with both
            of its values.
    """
    if stored.training.learning_rate_schedule == "cosine":
        # The rate of every epoch depends on their number.
        may_change = set(may_change) - {"epochs"}
    if stored.training.precision == "auto":
        # Another machine may have had another one.
        may_change = {*may_change, "precision"}
    differing = []
    for name in groups():
        before = dataclasses.asdict(getattr(stored, name))
        after = dataclasses.asdict(getattr(requested, name))
        differing += [
            f"`{key}` was {before[key]!r}, now {after[key]!r}"
            for key in before
            if before[key] != after[key] and key not in may_change
        ]
    if differing:
        raise ValueError(
            "A run must be resumed with the settings that it started with; received "
            f"other values: {'; '.join(differing)}. Leave these settings out or use "
            "another `workdir`."
        )


def load_config(path: str | pathlib.Path) -> Config:
    """Reads a configuration from a JSON file.

    Args:
        path: a JSON file in the format of `to_dict`, or a run's `config.json`.

    Returns:
        A validated `Config`.

    Raises:
        ValueError: the file is not JSON, or a key or a value is not valid.
    """
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        return from_dict(values.get("config", values))
    except DAMAGED_FILE_ERRORS as error:
        raise ValueError(
            f"{path} must contain a configuration as JSON; reading it failed: {error}"
        ) from error


def replace_fields(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns a copy of a configuration with some fields replaced.

    >>> replace_fields(Config(), {"alpha": 1, "epochs": 20}).training.epochs
    20

    Args:
        config: the configuration to start from.
        values: field name → value; the fields may belong to any group.

    Returns:
        A validated `Config`.

    Raises:
        ValueError: a field is unknown, or a value has the wrong type or
            violates the limits of its field.
    """
    known = fields()
    changed: dict[str, dict[str, Any]] = {name: {} for name in groups()}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise ValueError(
                f"values must name fields of the configuration; received {name!r}"
                + (f"; the nearest name is {near[0]!r}." if near else ".")
            )
        group, _, kind = known[name]
        changed[group][name] = _convert_type(name, value, kind)
    return Config(
        **{
            name: dataclasses.replace(getattr(config, name), **own)
            for name, own in changed.items()
        }
    )
