"""Sources and documentation are written in the terms of the field.

The words below were once the package's own names for things; a reader who knows
Keras does not know them. The library speaks of parameters and of the command
`advance`, the command line alone of flags.
"""

import ast
import collections
import pathlib
import re

import pytest

from tests.imports import PACKAGE, ROOT, modules, room_of

KNOWN = modules(PACKAGE)
# A model predicts, a teacher scores, a header states, a file is in a folder.
WORDS = (
    *("taught", "untaught", "lesson", "lessons"),
    *("hear", "hears", "heard", "unheard"),
    *("believe", "believes", "believed"),
    *("tell", "tells", "told"),
    *("look", "looks", "looked", "looking"),
    *("says", "said", "sees", "knows", "learnt", "nobody", "stands", "mends"),
)
PHRASES = (
    *("it is none", "another than", "say nothing", "gives again"),
    *("go on", "goes on", "gone on", "going on"),
    *("out of the house", "let go of", "lets go of", "the way out"),
)
# Ordinary English.
IDIOMS = r"look(s|ed|ing)? (up|like|for)|tells? (\w+ )?apart|stands for"
# Names of others: file → pattern.
ALLOWED = {
    # A method of files.
    "advance_tf/experiments/scheduler.py": r"\.tell\(\)",
    "advance_tf/teacher/archives.py": r"\.tell\(\)",
}
_GAP = r"""[\s"'#*>]+"""
_PATTERNS = [rf"(?<![a-z]){word}(?![a-z])" for word in WORDS] + [
    rf"(?<![a-z]){phrase.replace(' ', _GAP)}(?![a-z])" for phrase in PHRASES
]
_FORBIDDEN = re.compile("|".join(_PATTERNS))
# TensorBoard has a flag of its own.
_FLAG = re.compile(r"(?<![\w-])--(?!logdir\b)[a-z]\w*")
# The programs before 0.2.0; `python -m advance_tf.fit` is kept.
_OLD_PROGRAM = re.compile(r"-m advance_tf\.(?!fit\b)[a-z]\w*")
# Recipes are files of flags; the scheduler starts `advance fit` as a process.
_USES_FLAGS = {"html_report.py", "recipes.py", "scheduler.py"}


def documents():
    """Every page that a user reads."""
    pages = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    pages += sorted((ROOT / "docs").rglob("*.md"))
    pages += sorted((ROOT / "export").rglob("*.md"))
    pages += [ROOT / "docs" / "tutorial.ipynb", ROOT / "assets" / "README.md"]
    return [*pages, ROOT / "assets" / "report.html.j2"]


def sources():
    """Room → its files; the documents are one room of their own."""
    found = collections.defaultdict(list)
    for module, path in KNOWN.items():
        found[room_of(module)].append(path)
    found["documents"] = documents()
    return found


def words_of(text: str) -> str:
    """A text in lower case; the parts of `snake_case` and `CamelCase` are words."""
    return re.sub(r"_|(?<=[a-z0-9])(?=[A-Z])", " ", text).lower()


def place(path: pathlib.Path, line: int) -> str:
    text = path.read_text(encoding="utf-8").splitlines()[line - 1]
    return f"{path.relative_to(ROOT)}:{line}: {text.strip()[:100]}"


def hits(path: pathlib.Path, text: str, pattern: re.Pattern[str]) -> list[str]:
    """The places where a text of a file matches."""
    return [
        place(path, text.count("\n", 0, match.start()) + 1)
        for match in pattern.finditer(text)
    ]


def forbidden(path: pathlib.Path) -> list[str]:
    """The places of a file with a word of the lists, in prose or in a name."""
    words = words_of(path.read_text(encoding="utf-8"))
    for allowed in (IDIOMS, ALLOWED.get(path.relative_to(ROOT).as_posix())):
        words = re.sub(allowed, "", words) if allowed else words
    return hits(path, words, _FORBIDDEN)


def literals(path: pathlib.Path):
    """Line and text of every string of a module, docstrings among them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("room", sources())
def test_the_words_are_those_of_the_field(room):
    found = [hit for path in sources()[room] for hit in forbidden(path)]
    assert not found, "\n".join([f"{len(found)} places:", *found])


@pytest.mark.parametrize("room", sorted(sources().keys() - {"cli", "documents"}))
def test_the_library_names_no_flag(room):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {' '.join(text.split())[:100]!r}"
        for path in sources()[room]
        if path.name not in _USES_FLAGS
        for line, text in literals(path)
        if _FLAG.search(text)
    ]
    assert not found, "\n".join([f"{len(found)} places:", *found])


@pytest.mark.parametrize("room", sources())
def test_commands_are_those_of_advance(room):
    found = [
        hit
        for path in sources()[room]
        for hit in hits(path, path.read_text(encoding="utf-8"), _OLD_PROGRAM)
    ]
    assert not found, "\n".join([f"{len(found)} places:", *found])


@pytest.mark.parametrize(
    "text",
    [
        "class LookedPart: pass",
        "heard_classes = 3",
        "# it is\n    # none of them",
        '"a file is another " "than expected"',
    ],
)
def test_a_forbidden_word_is_found_in_names_and_across_lines(text):
    assert _FORBIDDEN.search(words_of(text))


def test_ordinary_words_are_not_forbidden():
    text = "looks for a teacher of unlooped_lookups, overhearing and restands"
    assert not _FORBIDDEN.search(words_of(re.sub(IDIOMS, "", text)))
