"""A folder is built once for all processes, and again after a failure."""

import types

import pytest

from tests.built_once import build_once


def factory(folder):
    """As pytest's, of a process whose base folder this is."""
    folder.mkdir(exist_ok=True)
    return types.SimpleNamespace(getbasetemp=lambda: folder)


def test_processes_of_xdist_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    first, second = factory(tmp_path / "popen-gw0"), factory(tmp_path / "popen-gw1")
    calls = []

    def build(folder):
        calls.append(folder)
        (folder / "a.txt").write_text(str(len(calls)))

    found = [build_once(each, "a", build) for each in (first, second, first)]
    assert set(found) == {tmp_path / "built_once" / "a"} == set(calls)
    assert len(calls) == 1
    assert build_once(first, "b", build) != found[0]
    assert (found[0] / "a.txt").read_text() == "1"


def test_without_xdist_the_folder_is_that_of_the_process(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    folder = build_once(factory(tmp_path / "own"), "a", lambda folder: None)
    assert folder == tmp_path / "own" / "built_once" / "a"


def test_a_folder_that_could_not_be_built_is_built_again(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def fail(folder):
        (folder / "half").touch()
        raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="full"):
        build_once(factory(tmp_path), "a", fail)
    folder = build_once(factory(tmp_path), "a", lambda folder: None)
    assert not list(folder.iterdir())
