"""Executes every BUILD file with stub rules and holds its deps to the imports."""

import pathlib
import re

import pytest

from tests.build_rules import REQUIREMENTS, dependencies
from tests.imports import ROOT, modules

FOLDERS = ("advance_tf", "tests", "benchmarks")
RULES = ("py_library", "py_binary", "py_test")


def execute(path: pathlib.Path) -> dict[str, dict]:
    """Target name → its arguments with the rule's name as "kind"."""
    targets: dict[str, dict] = {}

    def rule(kind):
        def declare(*, name, **arguments):
            assert name not in targets, f"{path}: '{name}' is declared twice"
            targets[name] = {"kind": kind, **arguments}

        return declare

    def glob(patterns, allow_empty=False):
        found = [
            file.relative_to(path.parent).as_posix()
            for pattern in patterns
            for file in path.parent.glob(pattern)
        ]
        assert found or allow_empty, f"{path}: {patterns} match nothing"
        return found

    names = {kind: rule(kind) for kind in (*RULES, "filegroup", "alias")}
    names |= {
        "glob": glob,
        "requirement": lambda package: f"requirement:{package}",
        "load": lambda *symbols: None,
        "package": lambda **defaults: None,
        "exports_files": lambda files: [
            pytest.fail(f"{file} is missing")
            for file in files
            if not (path.parent / file).exists()
        ],
    }
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    return targets


@pytest.fixture(scope="module")
def targets():
    """Label → arguments of every target in the repository."""
    found = {}
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("BUILD")]
    for path in [ROOT / "BUILD", *below]:
        folder = path.parent.relative_to(ROOT).as_posix()
        prefix = "//" + ("" if folder == "." else folder)
        for name, arguments in execute(path).items():
            found[f"{prefix}:{name}"] = arguments
    return found


def test_every_module_is_a_target_with_exactly_its_imports(targets):
    known = modules(*FOLDERS)
    wrong = []
    for path in known.values():
        folder = path.parent.relative_to(ROOT).as_posix()
        target = targets.get(f"//{folder}:{path.stem}")
        if target is None:
            wrong.append(f"{path} has no target")
        elif sorted(target.get("deps", [])) != dependencies(path, known):
            wrong.append(f"{path}: {target.get('deps')}")
    assert not wrong, "\n".join([*wrong, "Run: python -m tests.build_rules"])


def test_no_target_is_left_over(targets):
    for label, target in targets.items():
        folder = label[2:].split(":")[0]
        for source in target.get("srcs", []):
            assert (ROOT / folder / source).exists(), f"{label}: {source} is gone"


def test_every_label_leads_to_a_target(targets):
    for label, target in targets.items():
        folder = label.split(":")[0]
        for dep in [*target.get("deps", []), target.get("actual", "//:assets")]:
            if dep.startswith("requirement:"):
                continue
            full = f"{folder}{dep}" if dep.startswith(":") else dep
            assert full in targets, f"{label} depends on {dep}, which is none"


def test_every_requirement_is_pinned(targets):
    text = "".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("requirements.txt", "requirements-dev.txt")
    )
    pinned = {match.lower() for match in re.findall(r"^([\w-]+)[=>]=", text, re.M)}
    used = {
        dep.removeprefix("requirement:")
        for target in targets.values()
        for dep in target.get("deps", [])
        if dep.startswith("requirement:")
    }
    optional = {"librosa", "openvino"}
    assert used - pinned <= optional, used - pinned - optional
    assert set(REQUIREMENTS.values()) <= pinned | optional


def test_every_program_is_a_binary(targets):
    for path in (ROOT / "advance_tf").glob("*.py"):
        if "def console()" in path.read_text(encoding="utf-8"):
            target = targets[f"//advance_tf:{path.stem}_program"]
            assert target["kind"] == "py_binary"
            assert target["main"] == path.name
