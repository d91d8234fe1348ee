"""Imports go one way; modules are short; public things say what they do."""

import ast
import statistics

import pytest

from tests.imports import ROOT, imports_of, modules

KNOWN = modules("advance_tf")
BASE = {"config", "labels", "files"}
FLAG_MODULES = {"config_flags", "program"}
# Folder → what it may import besides itself and the base.
BELOW = {
    "features": set(),
    "data": {"features"},
    "losses": {"features"},
    "models": {"features"},
    "training": {"features", "data", "losses", "models"},
    "teacher": {"features", "data", "losses", "models"},
    "metrics": {"features", "data", "losses", "models"},
    "serving": {"features", "data", "losses", "models"},
    "visualization": {"features", "data", "losses", "models"},
}
# What joins the others for more than one program.
BELOW["studies"] = set(BELOW)
MAX_LINES, MEDIAN_LINES, PROGRAM_LINES = 400, 180, 100
FORBIDDEN = {"img", "aud", "fea", "rep", "data2", "info", "manager", "helper", "utils"}


def layer_of(module: str) -> str:
    """The folder of a module; "base" or "program" for one beside the folders."""
    parts = module.split(".")
    if len(parts) == 1:
        return "base"
    if parts[1] in BELOW:
        return parts[1]
    return "base" if parts[1] in BASE else "program"


def line_count(path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("module", KNOWN)
def test_imports_go_downward_only(module):
    layer = layer_of(module)
    for name, line in imports_of(KNOWN[module], KNOWN).items():
        if name not in KNOWN:
            continue
        other = layer_of(name)
        allowed = (
            other in {layer, "base"}
            or other in BELOW.get(layer, set())
            or (layer == "program" and other in BELOW)
        )
        if layer == other == "program":
            # Programs share the start-up and the flags, never each other.
            allowed = name.split(".")[1] in FLAG_MODULES
        assert allowed, f"{KNOWN[module]}:{line} imports {name}"


def test_only_programs_touch_flags():
    for module, path in KNOWN.items():
        for name, line in imports_of(path, KNOWN).items():
            touches = name.split(".")[0] == "absl" and "logging" not in name
            assert not touches or layer_of(module) == "program", f"{path}:{line}"


def test_modules_are_short():
    lines = {path: line_count(path) for path in KNOWN.values()}
    tests = {path: line_count(path) for path in modules("tests").values()}
    too_long = {str(p): n for p, n in (lines | tests).items() if n > MAX_LINES}
    assert not too_long
    assert statistics.median(lines.values()) < MEDIAN_LINES
    for module, path in KNOWN.items():
        if layer_of(module) == "program" and module.split(".")[1] not in FLAG_MODULES:
            assert lines[path] < PROGRAM_LINES, f"{path}: {lines[path]} lines"


def test_names_are_those_of_the_field():
    for module, path in KNOWN.items():
        assert not FORBIDDEN & set(module.split(".")), path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "id", None) or getattr(node, "arg", None)
            name = name or getattr(node, "name", None)
            assert name not in FORBIDDEN, f"{path}:{node.lineno}: {name}"


def public(tree):
    """Public functions and classes of a module, and public methods of those."""
    kinds = (ast.FunctionDef, ast.ClassDef)
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
    for folder in ("advance_tf", "assets", "export", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".md", ".flags", ".csv", ".sh", ".yaml"}:
                text = path.read_text(encoding="utf-8")
                assert "/work/" not in text, path
                assert "/opt/venv" not in text, path
