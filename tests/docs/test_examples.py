"""The examples of docstrings are shown as code in the API reference."""

import pathlib
import runpy

import pytest

HOOK = pathlib.Path(__file__).parents[2] / "docs" / "hooks" / "examples.py"


@pytest.fixture(scope="module")
def fence():
    return runpy.run_path(str(HOOK))["fence"]


def test_a_bare_example_becomes_a_block_of_code(fence):
    text = "Adds.\n\nExample:\n\n>>> add([1], [2])\n[3]\n\nSee also."
    assert fence(text) == (
        "Adds.\n\n```pycon\n>>> add([1], [2])\n[3]\n```\n\nSee also."
    )


def test_an_example_at_the_end_is_closed(fence):
    assert fence(">>> 1\n1") == "```pycon\n>>> 1\n1\n```"


def test_an_indented_example_keeps_its_indentation(fence):
    text = "Adds.\n\nExample:\n    It adds:\n\n    >>> 1\n    1"
    assert fence(text).endswith("    ```pycon\n    >>> 1\n    1\n    ```")


def test_a_section_of_examples_is_left_to_griffe(fence):
    text = "Adds.\n\nExamples:\n    >>> 1\n    1\n\nReturns:\n    A sum."
    assert fence(text) == text
