"""Expands the list of modules on the pages of the API reference.

A line `<!-- modules: advance_tf/losses -->` becomes one mkdocstrings block for
each public module below that folder, so that a new module appears in the
reference without an edit of the page. `__init__` modules only re-export names
and are left out: every object is documented where it is defined.
"""

import pathlib
import re
from typing import Any

_MARKER = re.compile(r"^<!-- modules: (?P<folder>\S+) -->$", re.MULTILINE)
_ROOT = pathlib.Path(__file__).parents[2]


def _modules(folder: str) -> list[str]:
    """The dotted names of the public modules below a folder, sorted."""
    found = [
        path.relative_to(_ROOT).with_suffix("")
        for path in sorted((_ROOT / folder).rglob("*.py"))
        if not path.name.startswith("_")
    ]
    if not found:
        raise ValueError(f"{folder} must hold Python modules; there are none.")
    return [".".join(path.parts) for path in found]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces every marker of a page; called by mkdocs."""

    def blocks(match: re.Match[str]) -> str:
        return "\n\n".join(f"::: {name}" for name in _modules(match["folder"]))

    return _MARKER.sub(blocks, markdown)
