"""Every command in the README and the pages has flags and values that it takes.

The lines of fenced blocks, and the code in sentences and tables, that begin with
`advance COMMAND` are parsed as the command line does it, with the flag files that they
name. Nothing is run.
"""

import importlib
import pathlib
import re
import shlex

import pytest
from absl.flags import FlagValues

from advance_tf.cli.flags import parse
from advance_tf.cli.main import COMMANDS

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(?:sh|bash|shell)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`(advance [a-z][a-z-]*(?:\s[^`]*)?)`")
# Flags that are left out of a line, and values that a shell replaces.
_ELLIPSIS = re.compile(r"\s(\.\.\.|…)(?: the same flags \.\.\.)?(?=\s|$)")
_VARIABLE = re.compile(r"=\S*\$")


def commands_of(text: str) -> list[str]:
    """The commands of the fenced blocks of a page, each in one line.

    Those with variables are left out, and so is an ellipsis.
    """
    lines: list[str] = []
    for block in _FENCE.findall(text):
        joined = re.sub(r"\\\n\s*", "", block)
        lines += re.findall(r"^advance .*$", joined, re.MULTILINE)
    return [_ELLIPSIS.sub("", line) for line in lines if not _VARIABLE.search(line)]


def mentions_of(text: str) -> list[str]:
    """The commands in sentences and tables, where a flag may have no value."""
    found = [" ".join(line.split()) for line in _CODE.findall(_BLOCK.sub("", text))]
    return [_ELLIPSIS.sub("", line) for line in found]


def check(line: str, *, mention: bool = False) -> None:
    """Parses the flags of a line; raises ValueError for one that is not valid."""
    _, command, *arguments = shlex.split(line, comments=True)
    assert command in COMMANDS, line
    module = importlib.import_module(f"advance_tf.cli.{command.replace('-', '_')}")
    values = FlagValues()
    module.define(values)
    if mention:
        known = {f"--{name}" for name in (*values, "help")}
        arguments = [each for each in arguments if each not in known]
    named = getattr(module, "POSITIONAL", "")
    if named and arguments and not arguments[0].startswith("-"):
        arguments[0] = f"--{named}={arguments[0]}"
    parse(command, values, arguments)


def cases() -> list[tuple[str, str, bool]]:
    """Page and number, line, and whether it is one of a sentence, of all commands."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        kinds = ((commands_of(text), False), (mentions_of(text), True))
        found += [
            (f"{page.relative_to(ROOT)}-{number}", line, mention)
            for lines, mention in kinds
            for number, line in enumerate(lines)
        ]
    return found


CASES = cases()


def test_commands_of_a_page_are_found() -> None:
    text = (
        "Text `advance app\n--port=1` and `advance fit --epochs`, advance map.\n\n"
        "```sh\nadvance fit \\\n    --workdir=a ... # text\nmake\n"
        "advance fit --seed=$seed\n```\n```text\nadvance report\n```\n"
    )
    assert commands_of(text) == ["advance fit --workdir=a # text"]
    assert mentions_of(text) == ["advance app --port=1", "advance fit --epochs"]


def test_every_command_has_an_example() -> None:
    assert {line.split()[1] for _, line, _ in CASES} == set(COMMANDS)


@pytest.mark.parametrize(
    ("line", "mention"), [pytest.param(*case, id=name) for name, *case in CASES]
)
def test_the_flags_of_a_command_are_valid(
    line: str, mention: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    check(line, mention=mention)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("advance fit --work_dir=a", "no flag --work_dir"),
        ("advance fit --transfer=both", "must be one of none"),
        ("advance fit --epochs=many", "--epochs must be"),
        ("advance fit workdir=a", "Arguments must be --flags"),
        ("advance fit --workdir", "Missing value"),
        ("advance fit --flagfile=assets/recipes/none.flags", "none"),
    ],
)
def test_a_wrong_flag_is_found(
    line: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValueError, match=message):
        check(line)


def test_a_wrong_flag_in_a_sentence_is_found() -> None:
    check("advance fit --workdir", mention=True)
    with pytest.raises(ValueError, match="no flag --work_dir"):
        check("advance fit --work_dir", mention=True)
