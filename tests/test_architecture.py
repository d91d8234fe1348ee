"""The layers of the package, the size of its modules, docstrings and stubs."""

import ast
import collections
import graphlib
import importlib
import pathlib
import statistics

import pytest

from tests.imports import (
    PACKAGE,
    ROOT,
    imports_of,
    modules,
    package_of,
    room_of,
    stub_names,
    stubs,
)

KNOWN = modules(PACKAGE)
# From the top to the bottom. A room imports itself and the tiers below its own.
TIERS = (
    {"cli"},
    {"experiments"},
    {"reporting", "serving"},
    {"geo"},
    {"inference"},
    {"runs"},
    {"training"},
    {"teacher"},
    {"data", "models", "losses", "metrics"},
    {"features"},
)
TIER_OF = {room: place for place, tier in enumerate(TIERS) for room in tier}
# The modules beside the rooms are the lowest tier; they import only one another.
BASE = {
    *(
        "checksums",
        "config",
        "config_data",
        "config_fields",
        "config_io",
        "config_variants",
        "csv_tables",
        "extras",
        "files",
    ),
    *("files", "labels", "locks", "log_silencing", "memory", "parts"),
}
ENTRIES = {"__main__", "fit"}
# What a user imports; the commands call each once.
TOP = {"cli", "experiments", "memory", "reporting", "serving"}
# Of cli, what is not a command.
SHARED = {"cli", "flags", "help", "main", "messages", "places", "startup"} | {
    "prediction_parts"
}
MAX_LINES, MAX_COMMAND_LINES, MEDIAN_LINES = 420, 160, (100, 300)
DRAWERS = {
    *("utils", "util", "helpers", "helper", "common", "misc", "shared", "tools"),
    *("core", "base", "lib", "studies", "manager", "managers"),
}
# Abbreviations that the field does not use.
FORBIDDEN_NAMES = {"img", "aud", "fea", "rep", "data2", "info", "manager", "helper"}
MACHINE_PATHS = ("/work/", "/opt/venv", "/home/", "/root/", "/Users/")


def tier_of(room: str) -> int:
    """The place of a room in the tiers; larger is lower."""
    if room in ENTRIES:
        return -1
    return TIER_OF.get(room, len(TIERS))


def line_count(path: pathlib.Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_room_has_its_tier():
    rooms = {room_of(module) for module in KNOWN} - {PACKAGE}
    assert rooms == TIER_OF.keys() | BASE | ENTRIES


@pytest.mark.parametrize("module", KNOWN)
def test_imports_go_downward_only(module):
    room = room_of(module)
    for name, line in imports_of(KNOWN[module], KNOWN).items():
        if name not in KNOWN or name == PACKAGE:
            continue
        other = room_of(name)
        below = tier_of(other) > tier_of(room) or (room in BASE and other in BASE)
        assert other == room or below, f"{KNOWN[module]}:{line} imports {name}"


def test_no_modules_import_one_another_in_a_cycle():
    graph = {
        module: {
            name
            for name in imports_of(path, KNOWN)
            # The package is a name for its version.
            if name in KNOWN.keys() - {PACKAGE, module}
        }
        for module, path in KNOWN.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_no_module_imports_a_private_name_of_another():
    for path in KNOWN.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}:{node.lineno} is relative"
                for alias in node.names:
                    private = alias.name.startswith("_")
                    allowed = alias.name in ("__version__", "annotations")
                    assert not private or allowed, f"{path}:{node.lineno} {alias.name}"


def test_only_the_command_line_touches_flags():
    for module, path in KNOWN.items():
        for name, line in imports_of(path, KNOWN).items():
            touches = name.split(".")[0] == "absl" and "logging" not in name
            assert not touches or room_of(module) == "cli", f"{path}:{line}"


def test_every_room_has_more_than_one_visitor():
    visitors = collections.defaultdict(set)
    known = modules(PACKAGE, "benchmarks", "export")
    for module, path in known.items():
        for name in imports_of(path, known):
            if name in KNOWN and room_of(name) != room_of(module):
                visitors[room_of(name)].add(module)
    lonely = {
        room: visitors[room]
        for room in (TIER_OF.keys() | BASE) - TOP
        if len(visitors[room]) < 2
    }
    assert not lonely


def test_no_folder_is_a_drawer():
    for module, path in KNOWN.items():
        assert not DRAWERS & set(module.split(".")), path


def test_modules_are_short():
    lines = {path: line_count(path) for path in KNOWN.values()}
    tests = {path: line_count(path) for path in modules("tests").values()}
    too_long = {
        str(path.relative_to(ROOT)): count
        for path, count in (lines | tests).items()
        if count > MAX_LINES
    }
    assert not too_long
    low, high = MEDIAN_LINES
    assert low <= statistics.median(lines.values()) <= high
    for module, path in KNOWN.items():
        if room_of(module) == "cli" and module.split(".")[-1] not in SHARED:
            assert lines[path] <= MAX_COMMAND_LINES, f"{path}: {lines[path]} lines"


def test_names_are_those_of_the_field():
    for path in KNOWN.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for kind in ("id", "arg", "name"):
                name = getattr(node, kind, None)
                assert name not in FORBIDDEN_NAMES, f"{path}:{node.lineno}: {name}"


def public(tree: ast.Module):
    """Public functions and classes of a module, and public methods of those."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                for item in node.body:
                    if isinstance(item, kinds) and not item.name.startswith("_"):
                        yield item


@pytest.mark.parametrize("module", KNOWN)
def test_what_is_public_has_a_docstring(module):
    tree = ast.parse(KNOWN[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), KNOWN[module]
    for node in public(tree):
        assert ast.get_docstring(node), f"{KNOWN[module]}:{node.lineno} {node.name}"


def test_the_sources_name_no_machine():
    suffixes = {".py", ".pyi", ".md", ".ipynb", ".csv", ".sh", ".yaml", ".yml", ".j2"}
    paths = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
    for folder in ("advance_tf", "assets", "export", "benchmarks", "docs", "tests"):
        paths += (path for path in (ROOT / folder).rglob("*") if path.is_file())
    for path in paths:
        if path.suffix in suffixes and path != pathlib.Path(__file__):
            text = path.read_text(encoding="utf-8")
            for machine in MACHINE_PATHS:
                assert machine not in text, f"{path}: {machine}"


def test_a_room_with_a_stub_resolves_its_names_lazily():
    for module, path in KNOWN.items():
        if path.name == "__init__.py" and path.with_suffix(".pyi") in stubs().values():
            assert "attach_stub" in path.read_text(encoding="utf-8"), module
    folders = {package_of(module, KNOWN) for module in KNOWN}
    # The commands are programs: they have no names to re-export.
    assert {room_of(name) for name in stubs()} == {
        room_of(folder) for folder in folders
    } - {"cli"}


@pytest.mark.parametrize("package", stubs())
def test_every_name_of_a_stub_resolves(package):
    imported = importlib.import_module(package)
    names = stub_names(stubs()[package])
    for name, source in names.items():
        # A room re-exports its own names, the package those of its rooms.
        assert source.startswith(f"{package}."), f"{package} re-exports {source}"
        if source in KNOWN:
            expected = importlib.import_module(source)
        else:
            module, _, attribute = source.rpartition(".")
            expected = getattr(importlib.import_module(module), attribute)
        # Also once every module is imported: a module may have a function's name.
        assert getattr(imported, name) is expected, f"{package}.{name}"
    assert list(imported.__all__) == sorted(names)


@pytest.mark.parametrize("package", stubs())
def test_a_stub_names_every_module_of_its_room(package):
    below = {module for module in KNOWN if module.rpartition(".")[0] == package}
    names = stub_names(stubs()[package])
    # The function that a module is named after takes its place.
    sources = {*names.values(), *(f"{package}.{name}" for name in names)}
    private = {
        f"{PACKAGE}.{name}"
        for name in ENTRIES | (BASE - {"config", "labels"}) | {"cli"}
    }
    assert below - private <= sources
