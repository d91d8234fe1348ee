"""The library, the edge recognizer and the client pair a folder in the same way."""

import collections
import errno
import os
import pathlib
import unicodedata

import pytest

from advance_tf.data import pairing
from advance_tf.files import SYSTEM_NAMES
from advance_tf.inference.examples import find_examples
from tests.export.edge_programs import client_module, edge_module

EDGE = edge_module("edge_files")
COMPOSED = unicodedata.normalize("NFC", "forêt")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
# Formats that the edge recognizer reads and the models of a server do not.
EDGE_ONLY = {".flac", ".ogg", ".mp3"}


@pytest.fixture(scope="module")
def client():
    """The module of the client that finds the files."""
    return client_module("client_files")


@pytest.fixture
def folder(tmp_path):
    """Pairs, single files, files that are not read, and entries of systems."""
    names = [
        *("vision/lake/1.jpg", "sound/lake/1.wav", "UPPER.JPG", "UPPER.WAV"),
        *(f"{COMPOSED}.jpg", f"{DECOMPOSED}.wav", "alone.webp", "sound/beach/2.wav"),
        *("twice.jpg", "twice.png", "twice.wav", "notes.txt", "grid.TIF"),
        *("coded.jpg", "coded.m4a", "Thumbs.db", "._1.jpg", ".hidden/3.jpg"),
        *("@eaDir/1.jpg", "__MACOSX/lake/1.jpg", "LOST+FOUND/4.wav", "x.jpg/5.jpg"),
    ]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    return tmp_path


def of_library(folder):
    """Name → (image, sound), and names and statuses of what is reported."""
    examples, failures = find_examples(folder)
    found = {one.name: (one.image, one.sound) for one in examples}
    return found, [failure.status for failure in failures]


def of_edge(folder):
    examples, problems = EDGE.pair([folder], [folder])
    found = {
        one.name: tuple(path and str(path) for path in one[1:]) for one in examples
    }
    assert len(found) == len(examples)
    return found, problems


def of_client(client, folder):
    pairs = client.find_pairs([], [], folder)
    found = {
        name: tuple(
            str(files[kind]) if kind in files else None for kind in client.KINDS
        )
        for name, files in pairs
        if "status" not in files
    }
    return found, [files["status"] for _, files in pairs if "status" in files]


def test_the_pairs_of_a_folder_are_the_same(folder, client):
    expected, reported = of_library(folder)
    assert set(expected) == {
        *("lake/1", "UPPER", COMPOSED, "alone", "beach/2", "coded", "x.jpg/5")
    }
    assert expected[COMPOSED] == (
        str(folder / f"{COMPOSED}.jpg"),
        str(folder / f"{DECOMPOSED}.wav"),
    )
    for found, problems in (of_edge(folder), of_client(client, folder)):
        assert found == expected
        assert len(problems) == len(reported) == 4
        for name in ("grid.TIF", "coded.m4a", "gone.wav"):
            assert sum(str(folder / name) in problem for problem in problems) == 1
        (twice,) = (problem for problem in problems if "twice" in problem)
        assert str(folder / "twice.jpg") in twice
        assert str(folder / "twice.png") in twice


def test_a_pair_of_jpg_and_flac_is_read_or_reported(tmp_path, client):
    for name in ("1.jpg", "1.flac"):
        (tmp_path / name).touch()
    both = {"1": (str(tmp_path / "1.jpg"), str(tmp_path / "1.flac"))}
    assert of_edge(tmp_path) == (both, [])
    for _, problems in (of_library(tmp_path), of_client(client, tmp_path)):
        assert len(problems) == 1
        assert str(tmp_path / "1.flac") in problems[0]


def test_the_lists_are_those_of_the_library(client):
    others = {*pairing.OTHER_IMAGE_ENDINGS, *pairing.OTHER_SOUND_ENDINGS}
    assert client.SYSTEM_NAMES == EDGE.SYSTEM_NAMES == SYSTEM_NAMES
    assert others == client.OTHER_ENDINGS
    edge_others = {*EDGE.OTHER_IMAGE_ENDINGS, *EDGE.OTHER_SOUND_ENDINGS}
    assert edge_others == others - EDGE_ONLY
    kinds = collections.defaultdict(set)
    for ending, kind in client.ENDINGS.items():
        kinds[kind].add(ending)
    assert kinds["image"] == set(EDGE.IMAGE_ENDINGS) == set(pairing.IMAGE_ENDINGS)
    assert kinds["sound"] == set(pairing.SOUND_ENDINGS)
    assert set(EDGE.SOUND_ENDINGS) == kinds["sound"] | EDGE_ONLY


def test_a_folder_that_cannot_be_listed_is_an_error(folder, client, monkeypatch):
    """As root every folder can be listed: the function that lists it fails."""
    closed = str(folder / "sound" / "lake")
    listed = {name: getattr(os, name) for name in ("scandir", "listdir")}

    def failing(name):
        def list_folder(path="."):
            if os.fspath(path) == closed:
                raise PermissionError(errno.EACCES, "Permission denied", closed)
            return listed[name](path)

        return list_folder

    for name in listed:
        monkeypatch.setattr(os, name, failing(name))
    for find in (
        of_library,
        of_edge,
        lambda root: client.find_pairs([], [], pathlib.Path(root)),
    ):
        with pytest.raises(PermissionError) as raised:
            find(folder)
        assert raised.value.filename == closed
