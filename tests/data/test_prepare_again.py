"""A second `prepare` of a folder: removed and moved sources, and two processes."""

import threading

import numpy as np
import pytest
import soundfile
from absl.flags import FlagValues

from advance_tf.cli import prepare as command
from advance_tf.data import archives, layout, prepare, recordings
from advance_tf.data.recordings import ClipRule
from advance_tf.locks import LockedError, lock_folder
from tests.data.factories import write_files

JPEG = b"\xff\xd8\xff\xe0 and the rest of it"
STEMS = ("lake/00001", "lake/00002", "beach/00003")


@pytest.fixture
def source(tmp_path):
    for stem in STEMS:
        write_files(tmp_path / "images", f"{stem}.jpg", contents=JPEG)
        path = tmp_path / "sounds" / f"{stem}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(48_000), 16_000)
    return tmp_path


def prepare_source(root, **settings):
    return prepare.prepare_dataset(
        *(root / "images", root / "sounds", root / "out", ClipRule()),
        progress=False,
        workers=1,
        **settings,
    )


def remove(root, stem):
    (root / "images" / f"{stem}.jpg").unlink()
    (root / "sounds" / f"{stem}.flac").unlink()


def stems_of(root):
    return [f"{one.scene}/{one.stem}" for one in layout.scan(root / "out").pairs]


def test_a_pair_without_sources_is_listed_and_removed_on_request(source):
    assert prepare_source(source).stale == ()
    remove(source, "lake/00002")
    expected = ("vision/lake/00002.jpg", "sound/lake/00002.wav")
    summary = prepare_source(source)
    assert (summary.stale, summary.removed) == (expected, False)
    assert "without a source: 2 files, kept: vision/lake/00002.jpg" in summary.to_text()
    assert len(stems_of(source)) == 3
    summary = prepare_source(source, remove_stale=True)
    assert (summary.stale, summary.removed) == (expected, True)
    assert "2 files, removed" in summary.to_text()
    assert stems_of(source) == ["beach/00003", "lake/00001"]
    assert prepare_source(source, remove_stale=True).stale == ()


def test_a_pair_that_was_moved_is_in_its_new_scene_only(source):
    prepare_source(source)
    for folder, ending in (("images", "jpg"), ("sounds", "flac")):
        old, new = (
            source / folder / f"{scene}/00002.{ending}" for scene in ("lake", "forest")
        )
        new.parent.mkdir()
        old.rename(new)
    summary = prepare_source(source)
    assert summary.stale == ("vision/lake/00002.jpg", "sound/lake/00002.wav")
    with pytest.raises(ValueError, match="two scenes"):
        layout.scan(source / "out")
    prepare_source(source, remove_stale=True)
    assert stems_of(source) == ["beach/00003", "forest/00002", "lake/00001"]


@pytest.mark.parametrize("removed", [True, False])
def test_the_command_names_the_flag_unless_the_files_are_removed(removed, capsys):
    stale = ("vision/lake/00002.jpg", "sound/lake/00002.wav")
    values = FlagValues()
    command.define(values)
    command._print(prepare.Summary({}, {}, stale, removed), values)
    printed = capsys.readouterr().out
    assert "without a source: 2 files" in printed
    assert ("--remove_stale" in printed) == (not removed)


def test_other_files_of_the_folder_are_not_stale(source):
    prepare_source(source)
    names = ("NOTICE.txt", "vision/lake/notes.txt", "sites.csv")
    write_files(source / "out", *names)
    assert prepare_source(source, remove_stale=True).stale == ()
    assert all((source / "out" / name).exists() for name in names)


def test_two_processes_do_not_prepare_one_folder(source, monkeypatch):
    """The second would remove the temporary files of the first."""
    started, go = threading.Event(), threading.Event()
    real = recordings.write_wav

    def slow(source, path, rule, **options):
        path.write_bytes(b"half")
        started.set()
        assert go.wait(timeout=60)
        return real(source, path, rule, **options)

    monkeypatch.setattr(recordings, "write_wav", slow)
    first = threading.Thread(target=prepare_source, args=(source,))
    first.start()
    assert started.wait(timeout=60)
    with pytest.raises(LockedError, match="One prepare at a time may use .*out"):
        prepare_source(source)
    go.set()
    first.join(timeout=60)
    assert len(stems_of(source)) == 3
    assert prepare_source(source).count("up to date") == 3


def test_a_folder_with_other_files_gets_no_lock(source):
    write_files(source, "out/mine.txt")
    with pytest.raises(ValueError, match="it contains other files"):
        prepare_source(source)
    assert [path.name for path in (source / "out").iterdir()] == ["mine.txt"]


def test_two_processes_do_not_unpack_to_one_folder(tmp_path):
    target = tmp_path / "vision"
    partial = tmp_path / ".vision-partial"
    with lock_folder(partial, "unpacking"):
        write_files(partial, "files/lake/00001.jpg")
        with pytest.raises(LockedError, match="One unpacking at a time"):
            archives.unpack(tmp_path / "a.zip", target, progress=False)
        assert (partial / "files/lake/00001.jpg").exists()
    assert not target.exists()


def test_a_folder_of_an_earlier_version_is_resumed(source):
    """It wrote the whole numbers of a rule as they were given."""
    prepare_source(source)
    settings = source / "out" / "prepare.json"
    text = settings.read_text()
    assert '"min_seconds": 2.0' in text
    settings.write_text(text.replace("2.0", "2"))
    assert prepare_source(source).count("up to date") == 3
    settings.write_text(text.replace("2.0", "3"))
    with pytest.raises(ValueError, match="must be prepared with a single rule"):
        prepare_source(source)
    settings.write_text("{")
    with pytest.raises(ValueError, match="must be prepared with a single rule"):
        prepare_source(source)
