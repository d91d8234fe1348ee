"""The order of the test files."""

import pathlib
import types

from tests.conftest import SLOW_FILES, pytest_collection_modifyitems

TESTS = pathlib.Path(__file__).parent


def test_the_slow_files_exist():
    assert [name for name in SLOW_FILES if not (TESTS / name).is_file()] == []
    assert len(set(SLOW_FILES)) == len(SLOW_FILES)


def test_slow_files_come_first_and_no_other_order_changes():
    names = ["data/b.py", SLOW_FILES[1], "data/a.py", SLOW_FILES[0], SLOW_FILES[1]]
    items = [
        types.SimpleNamespace(path=TESTS / name, name=f"{name}{number}")
        for number, name in enumerate(names)
    ]
    before = list(items)
    pytest_collection_modifyitems(items)
    assert items == [before[place] for place in (3, 1, 4, 0, 2)]
