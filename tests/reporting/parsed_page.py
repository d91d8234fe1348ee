"""Parses a page to elements with their attributes, texts and children."""

import dataclasses
import html.parser

VOID = {"meta", "img", "br", "hr", "link", "input"}


@dataclasses.dataclass
class Element:
    """An element of a page; `children` are elements and texts in order."""

    tag: str
    attrs: dict
    children: list = dataclasses.field(default_factory=list)

    def descendants(self):
        """All elements below, in order."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child.descendants()

    def all(self, tag, **attrs):
        """Elements below that have a tag and attributes, in order."""
        attrs = {name.strip("_"): value for name, value in attrs.items()}
        return [
            element
            for element in self.descendants()
            if element.tag == tag and attrs.items() <= element.attrs.items()
        ]

    def one(self, tag, **attrs):
        """The only such element."""
        (element,) = self.all(tag, **attrs)
        return element

    @property
    def text(self):
        """All text below, with single spaces."""
        parts = [c if isinstance(c, str) else c.text for c in self.children]
        return " ".join(" ".join(parts).split())

    def rows(self):
        """The texts of the cells of each row below."""
        return [
            [c.text for c in row.children if isinstance(c, Element)]
            for row in self.all("tr")
        ]


class _Builder(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag, f"{tag} closes another element"

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parse_page(text: str) -> Element:
    """The root element of a page; all elements must be closed."""
    builder = _Builder()
    builder.feed(text)
    (root,) = builder.open
    return root
