"""Recordings of named classes become tagged clips."""

import csv

import numpy as np
import pytest
import soundfile

from advance_tf.data import clips, tagged


def write(folder, name, seconds=0.5):
    wave = 0.3 * np.sin(np.arange(round(44_100 * seconds)) / 20)
    soundfile.write(folder / name, np.stack([wave, wave], 1), 44_100)


def test_every_class_of_esc50_has_events_of_audioset():
    events = clips.read_class_events()
    assert len(events) == 50
    assert tagged.parse_labels(events["dog"]) == tagged.parse_labels("Animal,Dog,Bark")


def test_clips_and_tags_are_read_back_by_pretraining(tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", "a.flac")
    write(tmp_path / "in", "b.ogg")
    table = tmp_path / "classes.csv"
    table.write_text("filename,fold,category\na.flac,1,rain\nb.ogg,2,crow\n")
    bad = clips.prepare_clips(
        clips.read_classes(table),
        tmp_path / "in",
        clips.read_class_events(),
        tmp_path / "out",
        progress=False,
    )
    assert bad == {}
    read = tagged.read_tags(tmp_path / "out" / "tags.csv", tmp_path / "out")
    assert [clip.path for clip in read] == ["a.wav", "b.wav"]
    assert read[1].events == tagged.parse_labels("Crow,Caw,Bird")
    wave, rate_hz = soundfile.read(tmp_path / "out" / "a.wav")
    assert (rate_hz, wave.shape) == (44_100, (22_050,))


def test_a_bad_recording_is_named_and_the_others_are_written(tmp_path):
    write(tmp_path, "a.flac")
    (tmp_path / "b.ogg").write_bytes(b"OggS broken")
    bad = clips.prepare_clips(
        [("a.flac", "x"), ("b.ogg", "x"), ("gone.ogg", "x")],
        tmp_path,
        {"x": "/m/09x0r"},
        tmp_path / "out",
        progress=False,
    )
    assert set(bad) == {"b.ogg", "gone.ogg"}
    with (tmp_path / "out" / "tags.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["clip", "labels"], ["a.wav", "/m/09x0r"]]


def test_a_class_without_events_is_named(tmp_path):
    with pytest.raises(ValueError, match="purring have none"):
        clips.prepare_clips([("a.wav", "purring")], tmp_path, {}, tmp_path)


@pytest.mark.parametrize("header", ["name,category", "file,kind"])
def test_missing_columns_are_named(tmp_path, header):
    path = tmp_path / "classes.csv"
    path.write_text(f"{header}\na,b\n")
    with pytest.raises(ValueError, match="must have one of the columns"):
        clips.read_classes(path)
