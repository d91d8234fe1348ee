"""Flags of the commands; one flag for each field of the configuration.

Every command has its own `absl.flags.FlagValues`. Flags of the configuration have no
default: only given flags change a configuration, so that a resumed run keeps the
values of its config.json.
"""

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from absl import flags
from absl.flags import FlagValues

from advance_tf import config as config_module
from advance_tf.config import Config, groups
from advance_tf.config_io import replace_fields
from advance_tf.inference.formats import find_model

_SPLITS = ("training", "validation", "test", "all")
_BAD_VALUE = re.compile(r"flag --(\w+)=(.*?): ", re.DOTALL)


def define_workdir(values: FlagValues, help: str = "Folder of the run.") -> None:
    """Defines --workdir."""
    flags.DEFINE_string("workdir", None, help, flag_values=values)


def define_run(values: FlagValues, use: str = "to evaluate on") -> None:
    """Defines --workdir, --split and --data_dir of a command that reads a run."""
    define_workdir(values)
    define_split(values, f"Pairs {use}.")
    define_data_dir(values)


def define_split(values: FlagValues, help: str) -> None:
    """Defines --split."""
    flags.DEFINE_enum("split", "test", _SPLITS, help, flag_values=values)


def define_data_dir(values: FlagValues) -> None:
    """Defines --data_dir of a command that reads a run."""
    text = "Folder of the data set; default: as the run was trained."
    flags.DEFINE_string("data_dir", None, text, flag_values=values)


def define_batch_size(values: FlagValues) -> None:
    """Defines --batch_size of a command that reads a run."""
    text = "Pairs in a batch; default: as the run was trained."
    flags.DEFINE_integer("batch_size", None, text, 1, flag_values=values)


def define_manifest(values: FlagValues) -> None:
    """Defines --manifest of a command that reads one."""
    text = "Split to use; default: manifest.csv of --workdir, otherwise a new split."
    flags.DEFINE_string("manifest", None, text, flag_values=values)


def define_shard(values: FlagValues) -> None:
    """Defines --shard of a command whose work several processes share."""
    text = "Part of the work of this process: i/n, process i (from 0) of n."
    flags.DEFINE_string("shard", None, text, flag_values=values)


def define_config(
    values: FlagValues, *group_names: str, base: Config | None = None
) -> None:
    """Defines one flag for each field of groups of the configuration.

    Args:
        values: where to define them.
        *group_names: names of groups of `Config`; all groups if none is given.
        base: the configuration whose values are the defaults in the help.
    """
    defaults = base or Config()
    wanted = group_names or tuple(groups())
    for name, (group, field, kind) in config_module.fields().items():
        if group not in wanted:
            continue
        shown = getattr(getattr(defaults, group), name)
        if isinstance(shown, tuple):
            shown = ",".join(str(item) for item in shown)
        text = field.metadata["help"]
        choices = field.metadata["choices"]
        if choices and kind is not str:
            text += f" One of {', '.join(map(str, choices))}."
        if shown != "":
            text += f" (default: {str(shown).lower() if kind is bool else shown})"
        # The name of the module is the group of the flag, also in the help.
        given: dict[str, Any] = {"flag_values": values, "module_name": group}
        if choices and kind is str:
            flags.DEFINE_enum(name, None, choices, text, **given)
        else:
            definitions: dict[Any, Any] = {
                bool: flags.DEFINE_bool,
                int: flags.DEFINE_integer,
                float: flags.DEFINE_float,
                str: flags.DEFINE_string,
            }
            define = definitions.get(kind, flags.DEFINE_list)
            define(name, None, text, **given)


def given_config(values: FlagValues) -> dict[str, Any]:
    """The given flags of the configuration: field name → value."""
    found = {}
    for name, (group, _, kind) in config_module.fields().items():
        if name not in values or values.find_module_defining_flag(name) != group:
            continue
        value = values[name].value
        if value is not None:
            found[name] = (
                numbers(name, value, int) if kind == tuple[int, ...] else value
            )
    return found


def read_config(values: FlagValues, base: Config | None = None) -> Config:
    """A configuration with the values of the given flags.

    Args:
        values: the flags.
        base: the configuration to start from; None for the defaults.

    Returns:
        A checked `Config`.

    Raises:
        ValueError: a value is outside what its field allows.
    """
    return replace_fields(base or Config(), given_config(values))


def numbers(name: str, texts: Sequence[str], kind: type = float) -> tuple[Any, ...]:
    """The numbers of a flag that takes several.

    Args:
        name: name of the flag.
        texts: texts of the numbers.
        kind: int or float.

    Returns:
        The numbers, in the same order.

    Raises:
        ValueError: a text is not a number.

    >>> numbers("alphas", ["0.1", "1"])
    (0.1, 1.0)
    """
    try:
        return tuple(kind(text) for text in texts)
    except ValueError as error:
        what = "whole numbers" if kind is int else "numbers"
        raise ValueError(
            f"--{name} takes {what} separated by commas; received {','.join(texts)!r}."
        ) from error


def require(values: FlagValues, **what: str) -> None:
    """Raises ValueError for the first flag without a value.

    Args:
        values: the flags of the command.
        **what: flag name → what it must name, such as "the folder of a run".
    """
    for name, meaning in what.items():
        if not values[name].value:
            raise ValueError(f"--{name} must name {meaning}; received none.")


def refuse(values: FlagValues, names: Iterable[str], why: str) -> None:
    """Raises ValueError for given flags that would have no effect.

    Args:
        values: the flags of the command.
        names: flags without an effect in the mode of the command.
        why: end of the sentence: where they have one, and what was received.
    """
    given = [f"--{name}" for name in names if values[name].present]
    if given:
        way_out = f"Leave {'it' if len(given) == 1 else 'them'} out"
        raise ValueError(f"{', '.join(given)} {why}. {way_out}.")


def refuse_cache(values: FlagValues, command: str) -> None:
    """Raises ValueError for the given flags of how pairs are read in training.

    Args:
        values: the flags of the command.
        command: its name; it decodes no pair, or each of them once.
    """
    names = ("cache_dir", "tf_data_service")
    refuse(values, names, f"has no effect on `advance {command}`")


def define_min_confidence(values: FlagValues) -> None:
    """Defines --min_confidence of what opens runs and exports."""
    flags.DEFINE_float(
        "min_confidence",
        None,
        "Least probability of the most probable scene, below which it is unknown. "
        "(default: that of an export, 0 for a run)",
        0.0,
        1.0,
        flag_values=values,
    )


def model_kind(values: FlagValues) -> str:
    """The format of the model that --workdir names, see `inference.formats`.

    Raises:
        ValueError: --workdir names no model.
    """
    require(values, workdir="the folder of a run")
    try:
        return find_model(values.workdir)[0]
    except ValueError as error:
        # The parameter is `path`, the flag --workdir.
        message = str(error).removeprefix("path")
        raise ValueError(f"--workdir{message}") from error


def given_flags(values: FlagValues) -> list[str]:
    """The flags of the command line, as `--name=value`."""
    return [values[name].serialize() for name in values if values[name].present]


def command_line(command: str, values: FlagValues) -> str:
    """The command with its given flags, quoted for a shell."""
    return shlex.join(["advance", command, *given_flags(values)])


def parse(command: str, values: FlagValues, arguments: Sequence[str]) -> None:
    """Parses the arguments of a command into its flags.

    Args:
        command: its name.
        values: its flags.
        arguments: `--name=value`, `--name value`, and `--flagfile=path` for a file
            of flags; the last value of a flag is used.

    Raises:
        ValueError: a flag is unknown, its value is not valid, or an argument is
            not a flag.
    """
    # A flag may follow an argument, such as the value in `--workdir X`.
    values.set_gnu_getopt(True)
    try:
        left = values([command, *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        near = nearest(error.flagname, [*values, "help", "flagfile"], "--")
        raise ValueError(
            f"`advance {command}` has no flag --{error.flagname}{near}. "
            f"`advance {command} --help` lists its flags."
        ) from error
    except flags.IllegalFlagValueError as error:
        raise ValueError(_bad_value(str(error), values)) from error
    except flags.Error as error:
        raise ValueError(f"{error}.") from error
    if left:
        hint = "Quote values with spaces."
        if left[0].partition("=")[0] in values:
            hint = f"Write --{left[0]}."
        raise ValueError(f"Arguments must be --flags; received {left[0]!r}. {hint}")


def nearest(name: str, known: Sequence[str], prefix: str = "") -> str:
    """The nearest known name as the end of a sentence, "" without a similar one.

    >>> nearest("evalute", ["evaluate", "export"])
    '; the nearest is evaluate'
    """
    found = difflib.get_close_matches(name, known, 1)
    return f"; the nearest is {prefix}{found[0]}" if found else ""


def _bad_value(message: str, values: FlagValues) -> str:
    """The message of absl about a value, as rule and received value."""
    match = _BAD_VALUE.match(message)
    if match is None or match[1] not in values:
        return message
    parser = values[match[1]].parser
    rule = parser.syntactic_help
    if isinstance(parser, flags.EnumParser):
        rule = f"one of {', '.join(parser.enum_values)}"
    elif isinstance(parser, flags.BooleanParser):
        rule = "true or false"
    return f"--{match[1]} must be {rule}; received {match[2]!r}."
