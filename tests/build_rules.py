"""Writes the BUILD files from the imports: `python -m tests.build_rules`.

One py_library for each module with its real dependencies, one py_binary for
each program, one py_test for each test file. `tests/test_build.py` holds the
files to the imports.
"""

import pathlib
from collections import defaultdict

from tests.imports import ROOT, imports_of, modules, third_party

# Import name → requirement, where they differ.
REQUIREMENTS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "ai_edge_litert": "ai-edge-litert",
    "google": "protobuf",
    "grpc": "grpcio",
    "ai_edge_quantizer": "ai-edge-quantizer",
    "sklearn": "scikit-learn",
    "tensorflow_serving": "tensorflow-serving-api",
    "yaml": "pyyaml",
}
_LOADS = """load("@pip//:requirements.bzl", "requirement")
load("@rules_python//python:defs.bzl", {rules})

package(default_visibility = ["//visibility:public"])
"""


def label(module: str, path: pathlib.Path) -> str:
    """Bazel's label of a module."""
    folder = path.parent.relative_to(ROOT).as_posix()
    return f"//{folder}:{path.stem}"


def dependencies(path: pathlib.Path, known: dict[str, pathlib.Path]) -> list[str]:
    """Labels and requirements of what a file imports, sorted."""
    found = set()
    for name in imports_of(path, known):
        if name in known:
            found.add(label(name, known[name]))
        elif package := third_party(name):
            found.add(f"requirement:{REQUIREMENTS.get(package, package)}")
    found.discard(label("", path))
    # A module belongs to its package, whose __init__ runs first.
    return sorted(found)


def _kind(path: pathlib.Path) -> str:
    if path.stem.startswith("test_"):
        return "py_test"
    return "py_library"


def _data(name: str) -> list[str]:
    if name.startswith("tests.export.test_"):
        return ["//:export"]
    return ["//:assets"] if name == "advance_tf.labels" else []


def _rule(kind: str, name: str, source: str, deps: list[str], data: list[str]) -> str:
    lines = [f"{kind}(", f'    name = "{name}",', f'    srcs = ["{source}"],']
    if kind == "py_binary":
        lines.append(f'    main = "{source}",')
    if data:
        lines.append(f"    data = {data!r},".replace("'", '"'))
    if deps:
        lines.append("    deps = [")
        for dep in deps:
            prefix, _, package = dep.partition("requirement:")
            shown = f'"{dep}"' if prefix else f'requirement("{package}")'
            lines.append(f"        {shown},")
        lines.append("    ],")
    return "\n".join([*lines, ")", ""])


def build_files() -> dict[pathlib.Path, str]:
    """Path → text of every BUILD file below the top level."""
    known = modules("advance_tf", "tests", "benchmarks")
    rules: dict[pathlib.Path, list[tuple[str, str]]] = defaultdict(list)
    for name, path in known.items():
        kind = _kind(path)
        deps = dependencies(path, known)
        rule = _rule(kind, path.stem, path.name, deps, _data(name))
        rules[path.parent].append((kind, rule))
        if "def console()" in path.read_text(encoding="utf-8"):
            binary = _rule(
                "py_binary", f"{path.stem}_program", path.name, [f":{path.stem}"], []
            )
            rules[path.parent].append(("py_binary", binary))
    texts = {}
    for folder, found in rules.items():
        kinds = ", ".join(f'"{kind}"' for kind in sorted({kind for kind, _ in found}))
        body = "\n".join(rule for _, rule in found)
        texts[folder / "BUILD"] = f"{_LOADS.format(rules=kinds)}\n{body}"
    return texts


def main() -> None:
    """Writes every BUILD file that the imports decide."""
    for path, text in build_files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
