"""Translates the library's messages, which name parameters, to flags."""

import re
import shlex

from absl.flags import FlagValues

_VERBS = "must|may|needs|and|or|takes|names|has"
# A parameter at the start of a sentence.
_LEADING = re.compile(rf"(?:(?<=\. )|(?<=: )|^)([a-z]\w*)(?= (?:{_VERBS})\b)", re.M)
_QUOTED = re.compile(r"`([a-z]\w*)(?:=([^`]*))?`")


def translate(message: str, values: FlagValues) -> str:
    """A message with the flags of the running command in place of parameters.

    A parameter is translated at the start of a sentence and in backticks, alone or
    with a value:

        alpha must be at least 0 → --alpha must be at least 0
        Lower `batch_size` → Lower --batch_size
        `allow_missing=True` → --allow_missing

    Args:
        message: message of the library.
        values: the flags of the command; other names are not changed.

    Returns:
        The translated message.
    """

    def leading(match: re.Match[str]) -> str:
        name = match[1]
        return f"--{name}" if name in values else name

    def quoted(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in values:
            return match[0]
        if value is None:
            return f"--{name}"
        if value in {"True", "False"} and values[name].boolean:
            return f"--{name}" if value == "True" else f"--no{name}"
        # The quotes of a Python string are replaced by those of the shell.
        bare = value.strip("\"'")
        return f"--{name}={shlex.quote(bare)}"

    return _QUOTED.sub(quoted, _LEADING.sub(leading, message))
