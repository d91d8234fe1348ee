"""A rule of a BUILD file as text, for `tests.build_rules`."""

import pathlib
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Target:
    """A rule of a BUILD file.

    Attributes:
        kind: the rule, such as py_library.
        package: Bazel's label of the folder, such as //advance_tf/data.
        name: name of the target.
        sources: modules that it holds.
        srcs: Starlark that names them; empty for none.
        deps: long labels, and requirement:NAME.
        data: Starlark expressions of lists.
        attributes: further attributes, as they stand in the file.
    """

    kind: str
    package: str
    name: str
    sources: list[pathlib.Path] = field(default_factory=list)
    srcs: str = ""
    deps: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Bazel's label, in its long form."""
        return f"{self.package}:{self.name}"

    def text(self) -> str:
        """The rule as it stands in the BUILD file."""
        lines = [f"{self.kind}(", f'    name = "{self.name}",']
        lines += [f"    srcs = {self.srcs},"] if self.srcs else []
        lines += [f"    {attribute}," for attribute in self.attributes]
        if self.data:
            lines.append(f"    data = {' + '.join(self.data)},")
        if self.deps:
            lines.append("    deps = [")
            shown = sorted((_shown(dep, self.package) for dep in self.deps), key=_rank)
            lines += [f"        {dep}," for dep in shown]
            lines.append("    ],")
        return "\n".join([*lines, ")", ""])


def _shown(dep: str, here: str) -> str:
    if dep.startswith("requirement:"):
        return f'requirement("{dep.removeprefix("requirement:")}")'
    package, _, name = dep.partition(":")
    if package == here:
        return f'":{name}"'
    return f'"{package}"' if package.rpartition("/")[2] == name else f'"{dep}"'


def _rank(dep: str) -> tuple[bool, bool, str]:
    """Sorts as buildifier: labels of the folder, other labels, requirements."""
    return dep[0] != '"', not dep.startswith('":'), dep


def strings(values: Iterable[str]) -> str:
    """A list of strings in Starlark, on one line if it fits."""
    quoted = [f'"{value}"' for value in values]
    line = f"[{', '.join(quoted)}]"
    if len(line) <= 70:
        return line
    return "\n".join(["[", *(f"        {value}," for value in quoted), "    ]"])


def globbed(sources: list[pathlib.Path], folder: pathlib.Path) -> str:
    """Starlark that names the sources: one glob, or a list if a glob takes more."""
    if not sources:
        return ""
    names = {path.relative_to(folder).as_posix() for path in sources}
    folders = sorted({path.parent.relative_to(folder).as_posix() for path in sources})
    patterns = ["*.py" if name == "." else f"{name}/*.py" for name in folders]
    taken = {
        path.relative_to(folder).as_posix()
        for pattern in patterns
        for path in folder.glob(pattern)
    }
    if names == {name for name in taken if name.startswith("test_")}:
        return 'glob(["test_*.py"])'
    left_out = sorted(taken - names)
    if not left_out:
        return f"glob({strings(patterns)})"
    if len(names) <= len(left_out):
        return strings(sorted(names))
    excluded = strings(left_out).replace("\n", "\n    ")
    return f"glob(\n        {strings(patterns)},\n        exclude = {excluded},\n    )"
