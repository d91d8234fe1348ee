"""A foreign folder becomes a data set; one bad file costs one pair."""

import errno
import os

import numpy as np
import pytest
import soundfile

from advance_tf.data import layout, prepare, recording
from advance_tf.data.recording import ClipRule
from tests.data.placed_files import place

JPEG = b"\xff\xd8\xff\xe0 and the rest of it"
PNG = b"\x89PNG\r\n\x1a\n and the rest of it"


@pytest.fixture
def foreign(tmp_path):
    """Three good pairs: lake/00001 (FLAC), lake/00002 (OGG), beach/00003 (MP3)."""
    place(tmp_path / "images", "lake/00001.JPG", "lake/00002.jpg", contents=JPEG)
    place(tmp_path / "images", "beach/00003.png", contents=PNG)
    for name in ("lake/00001.flac", "lake/00002.ogg", "beach/00003.mp3"):
        write_sound(tmp_path, name)
    return tmp_path


def write_sound(root, name, seconds=3.0):
    path = root / "sounds" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 22_050))
    soundfile.write(path, samples, 22_050)


def run(root, rule=None, **settings):
    settings = {"progress": False, "workers": 2} | settings
    return prepare.prepare(
        root / "images", root / "sounds", root / "out", rule or ClipRule(), **settings
    )


def outcomes(summary):
    return {stem: outcome for stem, (outcome, _) in summary.outcomes.items()}


def times(root):
    return {path: path.stat().st_ino for path in root.glob("*/*/*")}


def test_a_foreign_folder_becomes_a_data_set(foreign):
    summary = run(foreign)
    assert summary.count("written") == 3
    pairs = layout.scan(foreign / "out").pairs
    assert [(pair.scene, pair.stem) for pair in pairs] == [
        ("beach", "00003"),
        ("lake", "00001"),
        ("lake", "00002"),
    ]
    assert (foreign / "out" / "vision/lake/00001.jpg").read_bytes() == JPEG
    expected = soundfile.read(foreign / "sounds/lake/00001.flac", dtype="int16")
    received = soundfile.read(foreign / "out/sound/lake/00001.wav", dtype="int16")
    np.testing.assert_array_equal(received[0], expected[0])


def test_nothing_is_written_twice(foreign):
    run(foreign)
    before = times(foreign / "out")
    assert run(foreign).count("up to date") == 3
    assert times(foreign / "out") == before


def test_a_changed_source_is_taken_up_and_the_others_are_left(foreign):
    run(foreign)
    write_sound(foreign, "lake/00002.ogg", seconds=5.0)
    # Older than the copy, as when a backup is put back.
    os.utime(foreign / "sounds/lake/00002.ogg", (1e9, 1e9))
    expected = {"00001": "up to date", "00002": "written", "00003": "up to date"}
    assert outcomes(run(foreign)) == expected
    assert soundfile.info(foreign / "out/sound/lake/00002.wav").duration == 5.0


def test_an_image_of_another_type_replaces_the_old_one(foreign):
    run(foreign)
    (foreign / "images/beach/00003.png").unlink()
    place(foreign, "images/beach/00003.jpg", contents=JPEG)
    assert run(foreign).count("written") == 1
    images = [path.name for path in (foreign / "out/vision/beach").iterdir()]
    assert images == ["00003.jpg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sounds/lake/00001.flac", "Format not recognised"),
        ("images/lake/00001.JPG", "must be JPEG, PNG, BMP or WebP"),
    ],
)
def test_one_bad_file_is_named_and_costs_one_pair(foreign, name, message):
    run(foreign)
    place(foreign, name, contents=b"not what it says")
    summary = run(foreign)
    expected = {"00001": "bad", "00002": "up to date", "00003": "up to date"}
    assert outcomes(summary) == expected
    (why,) = summary.bad
    assert message in why
    assert why.startswith(f"{foreign / name}: ")
    assert len(layout.scan(foreign / "out").pairs) == 2


def test_an_image_with_the_wrong_ending_is_named(foreign):
    place(foreign, "images/lake/00001.JPG", contents=PNG)
    (why,) = run(foreign).bad
    assert "must end in .png" in why


def test_short_recordings_are_dropped_with_a_count(foreign):
    write_sound(foreign, "lake/00002.ogg", seconds=1.5)
    summary = run(foreign)
    assert summary.count("too short") == 1
    assert not summary.bad
    assert [pair.stem for pair in layout.scan(foreign / "out").pairs] == [
        "00003",
        "00001",
    ]


def test_unpaired_files_are_refused_or_counted(foreign):
    place(foreign, "images/lake/00009.jpg", contents=JPEG)
    with pytest.raises(ValueError, match=r"unpaired image \(1\): images/lake/00009"):
        run(foreign)
    summary = run(foreign, allow_missing=True)
    assert summary.count("written") == 3
    assert summary.skipped == {"unpaired image": ("images/lake/00009.jpg",)}


def test_one_folder_has_one_rule(foreign):
    run(foreign)
    with pytest.raises(ValueError, match="prepared with one rule throughout"):
        run(foreign, ClipRule(rate_hz=16_000))


def test_files_of_others_are_never_overwritten(foreign):
    place(foreign, "out/vision/lake/00001.jpg")
    with pytest.raises(ValueError, match="it holds other files"):
        run(foreign)
    assert (foreign / "out/vision/lake/00001.jpg").read_bytes() == b"some bytes"


def test_a_stopped_run_goes_on(foreign, monkeypatch):
    real = recording.write_wav

    def stop_at_second(source, path, rule):
        if source.stem == "00002":
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        real(source, path, rule)

    monkeypatch.setattr(recording, "write_wav", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        run(foreign, workers=1)
    assert not (foreign / "out/sound/lake/00002.wav").exists()
    # A kill leaves what an exception cleans up.
    place(foreign, "out/sound/lake/00002-77-partial.wav")
    monkeypatch.undo()
    expected = {"00001": "up to date", "00002": "written", "00003": "up to date"}
    assert outcomes(run(foreign)) == expected
    assert len(layout.scan(foreign / "out").pairs) == 3


def test_a_full_disk_is_no_bad_file(foreign, monkeypatch):
    def full(source, path, rule):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recording, "write_wav", full)
    with pytest.raises(OSError, match="No space left"):
        run(foreign)
