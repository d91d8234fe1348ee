"""Shows the examples of docstrings as code.

griffe knows examples in a section "Examples:" only. Elsewhere in a docstring they
would be read as Markdown; here they become blocks of code.
"""

import re
from typing import Any

import griffe

_HEADING = re.compile(r"\s*Examples?:\s*$")
_EXAMPLE = re.compile(r"(?P<indent>\s*)>>> ")
_SECTION = "Examples:"


def fence(text: str) -> str:
    """Puts each example of a docstring outside "Examples:" into a block of code.

    Args:
        text: a docstring without its common indentation.

    Returns:
        The docstring; a heading "Example:" without indented content is left out.
    """
    lines: list[str] = []
    indent: str | None = None
    in_section = False
    for line in text.splitlines():
        if line and not line[0].isspace():
            in_section = line.strip() == _SECTION
        match = _EXAMPLE.match(line)
        if indent is None and match and not (in_section and match["indent"]):
            indent = match["indent"]
            _remove_empty(lines)
            if not indent and lines and _HEADING.match(lines[-1]):
                lines.pop()
                _remove_empty(lines)
            lines += [*([""] if lines else []), f"{indent}```pycon"]
        if indent is not None and not line.strip():
            lines.append(f"{indent}```")
            indent = None
        lines.append(line)
    if indent is not None:
        lines.append(f"{indent}```")
    return "\n".join(lines)


def _remove_empty(lines: list[str]) -> None:
    """Removes empty lines at the end."""
    while lines and not lines[-1].strip():
        lines.pop()


class Examples(griffe.Extension):
    """Applies `fence` to every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each object that it has read."""
        if obj.docstring:
            obj.docstring.value = fence(obj.docstring.value)
