"""Draws the architecture as SVG, once for light and once for dark pages.

    python docs/draw_architecture.py

Writes assets/architecture-light.svg and assets/architecture-dark.svg beside this
file. Only the standard library is used.
"""

import pathlib
import re
from typing import NamedTuple

_FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
_WIDTH, _HEIGHT = 1000, 470


class Theme(NamedTuple):
    """Colours of a page.

    Attributes:
        text: labels.
        muted: second lines and arrows.
        box: fill of a plain box.
        edge: outline of a plain box.
        image: fill and outline of what belongs to the image.
        sound: fill and outline of what belongs to the sound.
        head: fill and outline of the heads and their outputs.
        teacher: fill and outline of the frozen teacher.
    """

    text: str
    muted: str
    box: str
    edge: str
    image: tuple[str, str]
    sound: tuple[str, str]
    head: tuple[str, str]
    teacher: tuple[str, str]


THEMES = {
    "light": Theme(
        text="#1f2328",
        muted="#59636e",
        box="#ffffff",
        edge="#8c959f",
        image=("#ddf4ff", "#0969da"),
        sound=("#dafbe1", "#1a7f37"),
        head=("#fff8c5", "#9a6700"),
        teacher=("#fbefff", "#8250df"),
    ),
    "dark": Theme(
        text="#f0f6fc",
        muted="#b1bac4",
        box="#151b23",
        edge="#6e7681",
        image=("#0c2d6b", "#58a6ff"),
        sound=("#033a16", "#3fb950"),
        head=("#3b2300", "#d29922"),
        teacher=("#3c1e70", "#bc8cff"),
    ),
}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _subscripts(text: str) -> str:
    """The text with `_x` as a lowered, smaller x; Ω as in L_Ω too."""
    lowered = r'<tspan dy="4" font-size="75%">\1</tspan><tspan dy="-4">&#8203;</tspan>'
    return re.sub(r"_(\w)", lowered, _escape(text))


class Drawing:
    """Boxes and arrows of one theme.

    Args:
        theme: its colours.
    """

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._parts: list[str] = []

    def box(
        self,
        place: tuple[float, float, float, float],
        lines: tuple[str, ...],
        colours: tuple[str, str] | None = None,
        *,
        dashed: bool = False,
    ) -> None:
        """Adds a box with a title and further lines below it.

        Args:
            place: left, top, width and height in pixels.
            lines: the title and what stands below it.
            colours: fill and outline; None for a plain box.
            dashed: the outline of what is used in training only.
        """
        left, top, width, height = place
        fill, edge = colours or (self._theme.box, self._theme.edge)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" '
            f'fill="{fill}" stroke="{edge}" stroke-width="1.5"{dash}/>'
        )
        middle = top + height / 2 - 9 * (len(lines) - 1)
        for number, line in enumerate(lines):
            self.text(
                (left + width / 2, middle + 18 * number + 5), line, title=number == 0
            )

    def text(
        self, place: tuple[float, float], line: str, *, title: bool = False
    ) -> None:
        """Adds a centred line of text at x and its baseline y."""
        colour = self._theme.text if title else self._theme.muted
        size, weight = (15, 600) if title else (13, 400)
        self._parts.append(
            f'<text x="{place[0]}" y="{place[1]}" fill="{colour}" font-size="{size}" '
            f'font-weight="{weight}" text-anchor="middle">{_subscripts(line)}</text>'
        )

    def arrow(self, points: list[tuple[float, float]], *, dashed: bool = False) -> None:
        """Adds an arrow along straight lines; dashed where no gradient flows."""
        path = " L".join(f"{x} {y}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<path d="M{path}" fill="none" stroke="{self._theme.muted}" '
            f'stroke-width="1.5"{dash} marker-end="url(#head)"/>'
        )

    def svg(self) -> str:
        """The whole document."""
        title = (
            "Two residual networks encode image and sound; a scene head and an event "
            "head read their embeddings; a frozen audio network provides event "
            "knowledge during training."
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} '
                f'{_HEIGHT}" font-family="{_FONT}" role="img" '
                f'aria-label="{_escape(title)}">',
                '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" '
                'markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0.5 L7.5 4 '
                f'L0 7.5 z" fill="{self._theme.muted}"/></marker></defs>',
                *self._parts,
                "</svg>\n",
            ]
        )


def draw(theme: Theme) -> str:
    """The architecture in the colours of a theme, as SVG."""
    drawing = Drawing(theme)
    # Inputs, towers and the joint embedding.
    drawing.box((10, 40, 150, 76), ("Aerial image", "256 × 256 × 3"), theme.image)
    drawing.box((10, 180, 150, 76), ("Sound, 10 s", "log-mel 400 × 64"), theme.sound)
    drawing.box((210, 40, 170, 76), ("ResNet-101", "image tower N_v"), theme.image)
    drawing.box((210, 180, 170, 76), ("ResNet-50", "audio tower N_a"), theme.sound)
    drawing.box((440, 110, 140, 76), ("Concatenate", "2048 + 2048"))
    drawing.arrow([(160, 78), (208, 78)])
    drawing.arrow([(160, 218), (208, 218)])
    drawing.arrow([(380, 78), (410, 78), (410, 134), (438, 134)])
    drawing.arrow([(380, 218), (410, 218), (410, 162), (438, 162)])
    # Heads and what they predict.
    drawing.box((625, 40, 150, 76), ("Scene head f_s", "dense, 13"), theme.head)
    drawing.box(
        (625, 180, 150, 76), ("Event head f_e", "dense, 527 (SQ, KL)"), theme.head
    )
    drawing.box((830, 40, 160, 76), ("13 scenes", "softmax p(s)"), theme.head)
    drawing.box((830, 180, 160, 76), ("527 events", "head, or from p(s)"), theme.head)
    drawing.arrow([(580, 134), (604, 134), (604, 78), (623, 78)])
    drawing.arrow([(580, 162), (604, 162), (604, 218), (623, 218)])
    drawing.arrow([(775, 78), (828, 78)])
    drawing.arrow([(775, 218), (828, 218)])
    drawing.arrow([(870, 116), (870, 178)])
    drawing.text((928, 152), "× p(e|s)")
    # Training only: the teacher, its knowledge, the loss.
    drawing.box(
        (210, 330, 170, 86),
        ("Teacher N_a⁽⁰⁾", "frozen audio network", "(YAMNet or ResNet-50)"),
        theme.teacher,
        dashed=True,
    )
    drawing.box(
        (440, 330, 260, 86),
        ("Event knowledge", "soft labels y(a), 527 per clip", "p(e|s) and d, 13 × 527"),
        theme.teacher,
        dashed=True,
    )
    drawing.box(
        (760, 330, 230, 86),
        ("Objective", "L = L_s + α L_Ω", "scene label + transfer"),
        dashed=True,
    )
    drawing.arrow([(85, 256), (85, 373), (208, 373)], dashed=True)
    drawing.arrow([(380, 373), (438, 373)], dashed=True)
    drawing.arrow([(700, 373), (758, 373)], dashed=True)
    drawing.arrow([(910, 256), (910, 328)], dashed=True)
    drawing.arrow([(800, 78), (800, 328)], dashed=True)
    note = "Dashed: used in training only. No gradient reaches the teacher."
    drawing.text((500, 452), note)
    return drawing.svg()


def main() -> None:
    """Writes both pictures."""
    folder = pathlib.Path(__file__).parent / "assets"
    for name, theme in THEMES.items():
        path = folder / f"architecture-{name}.svg"
        path.write_text(draw(theme), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
