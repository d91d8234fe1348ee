"""The README and the pages agree with the files that they describe."""

import pathlib
import re
import runpy

import pytest
import yaml

import advance_tf
from advance_tf.cli.main import COMMANDS

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "export" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
MAX_README_LINES = 200
# Programs, which docs/commands.md describes, and what is of no use elsewhere.
NOT_IN_THE_REFERENCE = {"__init__", "__main__", "cli", "fit", "log_silencing"}


def read(name: str) -> str:
    """The text of a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def command_rows() -> list[str]:
    """The commands of the table of docs/commands.md, in order."""
    page = read("docs/commands.md")
    table = page.split("| command | purpose |")[1].split("\n\n")[0]
    return re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= MAX_README_LINES


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", read("README.md"))
    targets += re.findall(r'(?:src|srcset)="([^"]+)"', read("README.md"))
    assert targets
    for target in targets:
        assert (ROOT / target).is_file(), target


def test_the_table_of_commands_is_complete_and_in_order() -> None:
    assert command_rows() == list(COMMANDS)
    assert f"lists the {len(COMMANDS)} commands" in read("README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_commands_that_exist(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    used = set(
        re.findall(r"(?:^|[`$ ])advance ([a-z][\w-]*)(?= -|`|$| \\)", text, re.M)
    )
    assert used <= set(COMMANDS)


def test_the_version_is_the_same_everywhere() -> None:
    version = advance_tf.__version__
    assert yaml.safe_load(read("CITATION.cff"))["version"] == version
    assert f"## {version}\n" in read("CHANGELOG.md")


def test_every_module_is_in_the_reference() -> None:
    reference = "".join(
        page.read_text(encoding="utf-8") for page in (ROOT / "docs/api").glob("*.md")
    )
    for path in (ROOT / "advance_tf").iterdir():
        if path.suffix == ".py" and path.stem not in NOT_IN_THE_REFERENCE:
            assert f"::: advance_tf.{path.stem}\n" in reference
        if (path / "__init__.py").is_file() and path.name not in NOT_IN_THE_REFERENCE:
            assert f"<!-- modules: advance_tf/{path.name} -->" in reference


@pytest.mark.parametrize("name", ["light", "dark"])
def test_the_architecture_is_as_its_script_draws_it(name: str) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))
    drawn = script["draw"](script["THEMES"][name])
    assert read(f"docs/assets/architecture-{name}.svg") == drawn
