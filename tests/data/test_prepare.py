"""Files of other formats become a data set; a bad file affects one pair only."""

import errno
import os

import numpy as np
import pytest
import rasterio
import soundfile
import tensorflow as tf

from advance_tf.data import layout, prepare, recordings
from advance_tf.data.recordings import ClipRule
from tests.data.factories import write_files
from tests.features.image_forms import READ, REFUSED, pillow_levels

JPEG = b"\xff\xd8\xff\xe0 and the rest of it"
PNG = b"\x89PNG\r\n\x1a\n and the rest of it"


@pytest.fixture
def source(tmp_path):
    """Three good pairs: lake/00001 (FLAC), lake/00002 (OGG), beach/00003 (MP3)."""
    write_files(tmp_path / "images", "lake/00001.JPG", "lake/00002.jpg", contents=JPEG)
    write_files(tmp_path / "images", "beach/00003.png", contents=PNG)
    for name in ("lake/00001.flac", "lake/00002.ogg", "beach/00003.mp3"):
        write_sound(tmp_path, name)
    return tmp_path


def write_sound(root, name, seconds=3.0):
    path = root / "sounds" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 22_050))
    soundfile.write(path, samples, 22_050)


def prepare_source(root, rule=None, **settings):
    settings = {"progress": False, "workers": 2} | settings
    return prepare.prepare_dataset(
        root / "images", root / "sounds", root / "out", rule or ClipRule(), **settings
    )


def outcomes_of(summary):
    return {stem: outcome for stem, (outcome, _) in summary.outcomes.items()}


def inodes(root):
    return {path: path.stat().st_ino for path in root.glob("*/*/*")}


def test_files_are_converted_to_the_layout(source):
    summary = prepare_source(source)
    assert summary.count("written") == 3
    pairs = layout.scan(source / "out").pairs
    assert [(pair.scene, pair.stem) for pair in pairs] == [
        ("beach", "00003"),
        ("lake", "00001"),
        ("lake", "00002"),
    ]
    assert (source / "out" / "vision/lake/00001.jpg").read_bytes() == JPEG
    expected = soundfile.read(source / "sounds/lake/00001.flac", dtype="int16")
    received = soundfile.read(source / "out/sound/lake/00001.wav", dtype="int16")
    np.testing.assert_array_equal(received[0], expected[0])


def test_a_form_of_bmp_that_is_not_read_becomes_png(source):
    bmps = {"00001": READ["BMP palette"], "00002": REFUSED["BMP RLE8"][0]}
    for stem, contents in bmps.items():
        (source / f"images/lake/{stem}.{'JPG' if stem == '00001' else 'jpg'}").unlink()
        write_files(source / "images", f"lake/{stem}.bmp", contents=contents)
    assert prepare_source(source).count("written") == 3
    folder = source / "out/vision/lake"
    assert sorted(p.name for p in folder.iterdir()) == ["00001.bmp", "00002.png"]
    found = tf.io.decode_png((folder / "00002.png").read_bytes())
    np.testing.assert_array_equal(found, pillow_levels(bmps["00002"]))
    assert prepare_source(source).count("up to date") == 3


def test_a_second_run_writes_no_file(source):
    prepare_source(source)
    before = inodes(source / "out")
    assert prepare_source(source).count("up to date") == 3
    assert inodes(source / "out") == before


def test_only_a_changed_source_is_converted_again(source):
    prepare_source(source)
    write_sound(source, "lake/00002.ogg", seconds=5.0)
    # Older than the copy, such as a file restored from a backup.
    os.utime(source / "sounds/lake/00002.ogg", (1e9, 1e9))
    expected = {"00001": "up to date", "00002": "written", "00003": "up to date"}
    assert outcomes_of(prepare_source(source)) == expected
    assert soundfile.info(source / "out/sound/lake/00002.wav").duration == 5.0


def test_an_image_of_another_format_replaces_the_old_one(source):
    prepare_source(source)
    (source / "images/beach/00003.png").unlink()
    write_files(source, "images/beach/00003.jpg", contents=JPEG)
    assert prepare_source(source).count("written") == 1
    images = [path.name for path in (source / "out/vision/beach").iterdir()]
    assert images == ["00003.jpg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sounds/lake/00001.flac", "Format not recognised"),
        ("images/lake/00001.JPG", "must be JPEG, PNG, BMP or WebP"),
    ],
)
def test_a_bad_file_is_reported_and_affects_one_pair(source, name, message):
    prepare_source(source)
    write_files(source, name, contents=b"some text")
    summary = prepare_source(source)
    expected = {"00001": "bad", "00002": "up to date", "00003": "up to date"}
    assert outcomes_of(summary) == expected
    (problem,) = summary.bad
    assert message in problem
    assert problem.startswith(f"{source / name}: ")
    assert len(layout.scan(source / "out").pairs) == 2


def test_an_image_with_the_wrong_extension_is_reported(source):
    write_files(source, "images/lake/00001.JPG", contents=PNG)
    (problem,) = prepare_source(source).bad
    assert "must have the extension .png of its format; received .JPG" in problem


def test_short_recordings_are_dropped_and_counted(source):
    write_sound(source, "lake/00002.ogg", seconds=1.5)
    summary = prepare_source(source)
    assert summary.count("too short") == 1
    assert not summary.bad
    assert [pair.stem for pair in layout.scan(source / "out").pairs] == [
        "00003",
        "00001",
    ]


def test_unpaired_files_are_an_error_or_counted(source):
    write_files(source, "images/lake/00009.jpg", contents=JPEG)
    with pytest.raises(ValueError, match=r"unpaired image \(1\): images/lake/00009"):
        prepare_source(source)
    summary = prepare_source(source, allow_missing=True)
    assert summary.count("written") == 3
    assert summary.skipped == {"unpaired image": ("images/lake/00009.jpg",)}


def test_another_rule_for_the_same_folder_is_an_error(source):
    prepare_source(source)
    with pytest.raises(ValueError, match="must be prepared with a single rule"):
        prepare_source(source, ClipRule(rate_hz=16_000))


def test_other_files_are_never_overwritten(source):
    write_files(source, "out/vision/lake/00001.jpg")
    with pytest.raises(ValueError, match="it contains other files"):
        prepare_source(source)
    assert (source / "out/vision/lake/00001.jpg").read_bytes() == b"some bytes"


def test_an_interrupted_run_is_resumed(source, monkeypatch):
    real = recordings.write_wav

    def stop_at_second(source, path, rule, **options):
        if source.stem == "00002":
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        return real(source, path, rule, **options)

    monkeypatch.setattr(recordings, "write_wav", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        prepare_source(source, workers=1)
    assert not (source / "out/sound/lake/00002.wav").exists()
    # A killed process leaves its temporary file.
    write_files(source, "out/sound/lake/00002-77-partial.wav")
    monkeypatch.undo()
    expected = {"00001": "up to date", "00002": "written", "00003": "up to date"}
    assert outcomes_of(prepare_source(source)) == expected
    assert len(layout.scan(source / "out").pairs) == 3


def test_a_full_disk_is_an_error_of_the_run(source, monkeypatch):
    def full(source, path, rule, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recordings, "write_wav", full)
    with pytest.raises(OSError, match="No space left"):
        prepare_source(source)


def test_a_geotiff_becomes_png_and_a_truncated_recording_is_refused_or_counted(source):
    raster = np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8)
    (source / "images/lake/00001.JPG").unlink()
    with rasterio.open(
        source / "images/lake/00001.tif",
        "w",
        driver="GTiff",
        width=8,
        height=8,
        count=4,
        dtype="uint8",
        crs="EPSG:26914",
        transform=rasterio.transform.from_origin(0, 0, 5, 5),
    ) as file:
        file.write(raster)
    sound = source / "sounds/lake/00001.flac"
    soundfile.write(sound, np.zeros(48_000), 16_000, format="WAV")
    sound.write_bytes(sound.read_bytes()[:70_000])
    refused = prepare_source(source)
    assert refused.outcomes["00001"][0] == "bad"
    assert "its header states 96000 bytes of samples" in refused.bad[0]
    summary = prepare_source(source, allow_truncated=True)
    assert list(summary.truncated) == ["00001"]
    png = tf.io.read_file(str(source / "out/vision/lake/00001.png"))
    np.testing.assert_array_equal(tf.io.decode_png(png), raster[:3].transpose(1, 2, 0))
