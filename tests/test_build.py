"""Executes every BUILD file with stub rules and compares it with the imports."""

import graphlib
import pathlib

import pytest

from tests import build_rules, imports
from tests.build_rules import (
    OPTIONAL,
    REQUIREMENTS,
    TEST_MAIN,
    WHOLE,
    build_files,
    needed,
    pinned,
    requirement_of,
    top_folders,
)
from tests.imports import PACKAGE, ROOT, modules, third_party
from tests.run_pytest import options

RULES = ("py_library", "py_binary", "py_test", "filegroup", "alias")


def execute(path, text):
    """Target name → its arguments with the rule's name as "kind"."""
    targets = {}

    def rule(kind):
        def declare(*, name, **arguments):
            assert name not in targets, f"{path}: '{name}' is declared twice"
            targets[name] = {"kind": kind, **arguments}

        return declare

    def glob(patterns, exclude=(), allow_empty=False):
        found = {
            file.relative_to(path.parent).as_posix()
            for pattern in patterns
            for file in path.parent.glob(pattern)
        }
        assert found or allow_empty, f"{path}: {patterns} match nothing"
        assert set(exclude) <= found, f"{path}: {exclude} are not among {patterns}"
        return sorted(found - set(exclude))

    def exports_files(files):
        for file in files:
            assert (path.parent / file).is_file(), f"{path}: {file} is missing"
            targets[file] = {"kind": "file"}

    names = {kind: rule(kind) for kind in RULES}
    names |= {
        "glob": glob,
        "requirement": lambda package: f"requirement:{package}",
        "load": lambda *symbols: None,
        "package": lambda **defaults: None,
        "exports_files": exports_files,
    }
    exec(compile(text, str(path), "exec"), names)
    return targets


def full(label, package):
    """The long form of a label in the BUILD file of a package."""
    if label.startswith(":"):
        return f"{package}{label}"
    if label.startswith("//") and ":" not in label:
        return f"{label}:{label.rpartition('/')[2]}"
    return label


def read(root, texts):
    """Label → arguments of every target in BUILD files, deps in their long form."""
    found = {}
    for path, text in texts.items():
        folder = path.parent.relative_to(root).as_posix()
        package = "//" + ("" if folder == "." else folder)
        for name, arguments in execute(path, text).items():
            deps = [full(dep, package) for dep in arguments.get("deps", [])]
            sources = [
                path.parent / source
                for source in arguments.get("srcs", [])
                if not source.startswith("//")
            ]
            found[f"{package}:{name}"] = arguments | {"deps": deps, "sources": sources}
    return found


def edges(targets):
    """Label → labels it depends on, without third-party packages."""
    return {
        label: [dep for dep in target["deps"] if dep.startswith("//")]
        for label, target in targets.items()
    }


@pytest.fixture(scope="module")
def targets():
    """Label → arguments of every target in the repository."""
    paths = [
        path
        for folder in top_folders()
        for path in sorted((ROOT / folder).rglob("BUILD"))
    ]
    return read(
        ROOT, {path: path.read_text("utf-8") for path in [ROOT / "BUILD", *paths]}
    )


@pytest.fixture(scope="module")
def owners(targets):
    """Source → label of the target that holds it."""
    return {
        source: label
        for label, target in targets.items()
        for source in target["sources"]
        if source.suffix == ".py" and source != TEST_MAIN
    }


def test_build_files_are_as_the_generator_writes_them():
    expected = build_files()
    present = {
        path: path.read_text("utf-8")
        for folder in top_folders()
        for path in (ROOT / folder).rglob("BUILD")
    }
    differing = [
        str(path.relative_to(ROOT))
        for path in sorted(expected.keys() | present.keys())
        if expected.get(path) != present.get(path)
    ]
    assert not differing, f"{differing} differ. Run `make build-files`."


def test_every_source_is_in_exactly_one_target(targets):
    held = [
        source
        for target in targets.values()
        for source in target["sources"]
        if source.suffix == ".py" and source != TEST_MAIN
    ]
    assert sorted(held) == sorted({*modules(*top_folders()).values()} - {TEST_MAIN})


def test_deps_are_what_the_imports_need(targets, owners):
    known = modules(*top_folders())
    wrong = []
    for label, target in targets.items():
        if target["kind"] not in ("py_library", "py_binary"):
            continue
        expected = set()
        for path in target["sources"]:
            # Python runs the packages around a module, pytest their conftest files.
            for parent in path.parents:
                for name in ("__init__.py", "conftest.py"):
                    expected.add(owners.get(parent / name))
            for name in needed(path, known):
                if name == PACKAGE and not label.startswith(f"//{PACKAGE}"):
                    expected.add(WHOLE)
                elif name in known:
                    expected.add(owners.get(known[name]))
                elif (package := third_party(name)) not in (None, *OPTIONAL):
                    expected.add(f"requirement:{requirement_of(package)}")
        if label == WHOLE:
            expected |= {
                other
                for other in owners.values()
                if other.startswith(f"//{PACKAGE}")
                and targets[other]["kind"] == "py_library"
            }
        expected -= {None, label}
        if sorted(target["deps"]) != sorted(expected):
            wrong.append(f"{label}: {set(target['deps']) ^ expected}")
    assert not wrong, "\n".join([*wrong, "Run `make build-files`."])


def test_every_folder_of_tests_runs_them(targets):
    for folder in {path.parent for path in (ROOT / "tests").rglob("test_*.py")}:
        here = folder.relative_to(ROOT).as_posix()
        target = targets[f"//{here}:test"]
        assert target["kind"] == "py_test"
        if here == "tests":
            names = [path.name for path in folder.glob("test_*.py")]
            assert sorted(target["args"]) == sorted(f"tests/{name}" for name in names)
        else:
            assert target["args"] == [here]


def test_every_label_leads_to_a_target(targets):
    for label, target in targets.items():
        package = label.split(":")[0]
        named = [*target["deps"], *target.get("data", []), target.get("main", "")]
        if "actual" in target:
            named.append(full(target["actual"], package))
        for other in named:
            if other.startswith("//"):
                assert other in targets, f"{label} names {other}, which is missing"


def test_targets_have_no_cycle(targets):
    try:
        graphlib.TopologicalSorter(edges(targets)).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"Targets depend on one another: {' → '.join(error.args[1])}.")


def test_every_requirement_is_pinned(targets):
    used = {
        dep.removeprefix("requirement:")
        for target in targets.values()
        for dep in target["deps"]
        if dep.startswith("requirement:")
    }
    assert used <= pinned()
    assert not pinned() & OPTIONAL
    assert set(REQUIREMENTS.values()) <= pinned()


def test_every_program_is_a_binary(targets, owners):
    assert targets[targets["//:fit"]["actual"]]["kind"] == "py_binary"
    assert owners[ROOT / PACKAGE / "fit.py"] == f"//{PACKAGE}:fit"


@pytest.fixture
def small_tree(tmp_path, monkeypatch):
    """Writes sources into a repository and returns its targets."""
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    monkeypatch.setattr(build_rules, "ROOT", tmp_path)
    monkeypatch.setattr(build_rules, "TEST_MAIN", tmp_path / "tests/run_pytest.py")
    (tmp_path / "requirements.txt").write_text("numpy==2.0\npytest==9.0\n")

    def write(sources):
        for name, text in sources.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            for parent in path.relative_to(tmp_path).parents[:-1]:
                (tmp_path / parent / "__init__.py").touch()
        return read(tmp_path, build_files())

    return write


def test_lazy_names_make_no_dependency_but_the_whole_package(small_tree):
    lazy = """from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from advance_tf.models import net
def __getattr__(name):
    from advance_tf.models import net
"""
    found = small_tree(
        {
            "advance_tf/__init__.py": lazy,
            "advance_tf/models/net.py": "import advance_tf\nimport numpy, librosa",
            "benchmarks/speed.py": "import advance_tf",
        }
    )
    assert found["//advance_tf:base"]["deps"] == []
    net = ["//advance_tf:base", "requirement:numpy"]
    assert found["//advance_tf/models:models"]["deps"] == net
    parts = ["//advance_tf/models:models", "//advance_tf:base"]
    assert sorted(found[WHOLE]["deps"]) == sorted(parts)
    assert found["//benchmarks:benchmarks"]["deps"] == [WHOLE]


def test_a_folder_that_imports_its_subfolder_is_divided(small_tree):
    found = small_tree(
        {
            "advance_tf/data/layout.py": "",
            "advance_tf/data/demo.py": "from advance_tf.data.synthetic import pairs",
            "advance_tf/data/synthetic/pairs.py": "from advance_tf.data import layout",
        }
    )
    graphlib.TopologicalSorter(edges(found)).prepare()
    held = {path.name for path in found["//advance_tf/data:base"]["sources"]}
    assert held == {"__init__.py", "layout.py"}
    assert (
        "//advance_tf/data/synthetic:synthetic"
        in found["//advance_tf/data:data"]["deps"]
    )


def test_a_folder_belongs_to_the_parent_whose_init_imports_it(small_tree):
    found = small_tree(
        {
            "advance_tf/data/__init__.py": "import advance_tf.data.synthetic.pairs",
            "advance_tf/data/synthetic/pairs.py": "from advance_tf.data import layout",
            "advance_tf/data/layout.py": "",
        }
    )
    graphlib.TopologicalSorter(edges(found)).prepare()
    names = [path.name for path in found["//advance_tf/data:data"]["sources"]]
    assert sorted(names) == ["__init__.py", "__init__.py", "layout.py", "pairs.py"]


def test_programs_are_binaries_at_the_top_unless_imported(small_tree):
    guard = '\nif __name__ == "__main__":\n    pass\n'
    found = small_tree(
        {
            "advance_tf/__main__.py": "from advance_tf.cli import main",
            "advance_tf/fit.py": "from advance_tf.cli import main" + guard,
            "advance_tf/cli/main.py": guard,
            "benchmarks/speed.py": guard,
            "benchmarks/memory.py": "from benchmarks import speed" + guard,
            "advance_tf/cli/flags.py": "from advance_tf.cli import main",
            "tests/data/child.py": guard,
            "tests/run_pytest.py": guard,
            "tests/data/test_one.py": "",
        }
    )
    assert found["//advance_tf:advance"]["main"] == "__main__.py"
    assert found["//advance_tf:fit"]["kind"] == "py_binary"
    assert "//advance_tf/cli:main" not in found
    assert found["//benchmarks:memory"]["deps"] == ["//benchmarks:benchmarks"]
    assert "//benchmarks:speed" not in found
    assert len(found["//tests/data:data"]["sources"]) == 3
    assert found["//tests/data:test"]["args"] == ["tests/data"]


def test_pytest_writes_where_bazel_says(tmp_path):
    given = options({"TEST_TMPDIR": str(tmp_path), "XML_OUTPUT_FILE": "report.xml"})
    assert f"--basetemp={pathlib.Path(tmp_path) / 'pytest'}" in given
    assert "--junitxml=report.xml" in given
    assert not [option for option in options({}) if option.startswith("--")]
