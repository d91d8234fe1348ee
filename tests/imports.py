"""Reads who imports whom from the sources."""

import ast
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "advance_tf"


def modules(*folders: str) -> dict[str, pathlib.Path]:
    """Dotted name → file of every module below the folders of the repository."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports_of(path: pathlib.Path, known: dict[str, pathlib.Path]) -> dict[str, int]:
    """Imported module → first line; the repository's own by their full name.

    `from package import module` counts as the module where it is one.
    """
    return imports_in(ast.parse(path.read_text(encoding="utf-8")), known)


def imports_in(tree: ast.AST, known: dict[str, pathlib.Path]) -> dict[str, int]:
    """As `imports_of`, of a syntax tree."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            names = [
                full if (full := f"{source}.{alias.name}") in known else source
                for alias in node.names
            ]
        else:
            continue
        for name in names:
            found.setdefault(name, node.lineno)
    return found


def room_of(module: str) -> str:
    """The first folder or module below the package: "data" of advance_tf.data.wav."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else module


def package_of(module: str, known: dict[str, pathlib.Path]) -> str:
    """The dotted name of the folder that holds a module; a folder is its own."""
    if module in known and known[module].name == "__init__.py":
        return module
    return module.rpartition(".")[0]


def stubs() -> dict[str, pathlib.Path]:
    """Dotted name of a package → the stub of the names that it re-exports."""
    return {
        ".".join(path.relative_to(ROOT).parent.parts): path
        for path in sorted((ROOT / PACKAGE).rglob("__init__.pyi"))
    }


def stub_names(path: pathlib.Path) -> dict[str, str]:
    """Re-exported name → dotted name of the object, of a package's stub."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            source = ".".join(filter(None, (package, node.module)))
            for alias in node.names:
                found[alias.asname or alias.name] = f"{source}.{alias.name}"
    return found


def third_party(name: str) -> str | None:
    """The top-level package of an import that is neither ours nor Python's."""
    top = name.split(".")[0]
    ours = {PACKAGE, "tests", "benchmarks", "export", "__future__"}
    return None if top in sys.stdlib_module_names or top in ours else top
