"""The help of a command: its usage, then its flags in groups."""

import re
import textwrap
from types import ModuleType
from typing import Any

from absl.flags import FlagValues

from advance_tf.config import groups

_WIDTH = 88
_COLUMN = 32
_KINDS = {"string": "TEXT", "int": "N", "float": "X", "string enum": "NAME"}
_OWN = "Flags"
_VALUES = re.compile(r"^<[^>]*>: ")
_COMMON = (
    ("--flagfile=FILE", "Read flags from a file, one --name=value a line."),
    ("-h, --help", "Show this help."),
)


def command_help(command: str, module: ModuleType, values: FlagValues) -> str:
    """The text of `advance COMMAND --help`.

    Args:
        command: its name.
        module: module of the command; its docstring is the usage.
        values: its flags.

    Returns:
        Usage, then every flag with its help and default: first those of the command,
        then those of each group of the configuration.
    """
    sections: dict[str, list[tuple[str, str]]] = {_OWN: []}
    for name in values:
        group = values.find_module_defining_flag(name)
        title = f"Flags of {group}" if group in groups() else _OWN
        sections.setdefault(title, []).append(_entry(values[name]))
    sections[_OWN] += _COMMON
    usage = (module.__doc__ or "").strip()
    parts = [f"advance {command}: {usage[0].lower()}{usage[1:]}"]
    for title, entries in sections.items():
        lines = [line for entry in entries for line in _lines(*entry)]
        parts.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(parts)


def _entry(flag: Any) -> tuple[str, str]:
    """Form of a flag and its help text."""
    # The help of absl begins with the values of an enum.
    text = _VALUES.sub("", flag.help or "")
    if flag.boolean:
        shown = f"--[no]{flag.name}"
    elif flag.parser.flag_type().startswith("comma"):
        shown = f"--{flag.name}=A,B,…"
    else:
        shown = f"--{flag.name}={_KINDS.get(flag.parser.flag_type(), 'VALUE')}"
    choices = getattr(flag.parser, "enum_values", ())
    if any(choice not in text for choice in choices):
        # The values come before the default.
        text, default, shown_default = text.partition(" (default:")
        text += f" One of {', '.join(choices)}.{default}{shown_default}"
    # The help of a flag of the configuration contains its default.
    if flag.default not in (None, "", []) and "default:" not in text:
        text = f"{text} (default: {flag.default_as_str.strip(chr(39))})"
    return shown, text


def _lines(shown: str, text: str) -> list[str]:
    """The lines of one flag: its form in the left column, its text in the right."""
    wrapped = textwrap.wrap(text, _WIDTH - _COLUMN) or [""]
    head = f"  {shown}"
    if len(head) >= _COLUMN - 1:
        return [head, *(" " * _COLUMN + line for line in wrapped)]
    first, *rest = wrapped
    return [head.ljust(_COLUMN) + first, *(" " * _COLUMN + line for line in rest)]
