r"""Turns formulas into MathML, which browsers draw without scripts or web fonts.

`pymdownx.arithmatex` marks $…$ and $$…$$ as \(…\) and \[…\] in elements of the
class "arithmatex"; this hook replaces their contents.
"""

import html
import re
from typing import Any

from latex2mathml import converter

_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)


def on_page_content(content: str, **_: Any) -> str:
    """Replaces every formula of a page; called by mkdocs."""

    def mathml(match: re.Match[str]) -> str:
        display = "block" if match["tag"] == "div" else "inline"
        tex = html.unescape(match["tex"]).strip()
        return converter.convert(tex, display=display)

    return _FORMULA.sub(mathml, content)
