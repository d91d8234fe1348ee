"""Tagged clips: both CSV formats, labels with commas, conversion of recordings."""

import csv
import errno

import numpy as np
import pytest
import soundfile

from advance_tf import labels
from advance_tf.data import tagged_clips


def write_clip_files(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"RIFF")


def test_labels_may_be_mids_or_names_with_commas_in_them():
    events = labels.events()
    speech, man = events[0], events[1]
    assert man.name == "Male speech, man speaking"
    assert tagged_clips.parse_labels(f"{man.name},{speech.mid}") == (0, 1)
    assert tagged_clips.parse_labels("male SPEECH, man speaking, Speech") == (0, 1)


def test_every_event_is_found_by_name_and_by_mid():
    for event in labels.events():
        assert tagged_clips.parse_labels(event.mid) == (event.index,)
        found = tagged_clips.parse_labels(event.name)
        assert labels.events()[found[0]].name == event.name


def test_an_unknown_label_is_an_error():
    with pytest.raises(ValueError, match="received 'Purring thunder'"):
        tagged_clips.parse_labels("Speech,Purring thunder")


def test_clip_and_labels_columns(tmp_path):
    write_clip_files(tmp_path, "a.wav", "b.wav")
    path = tmp_path / "tags.csv"
    path.write_text('clip,labels\nb.wav,"Speech,/m/05zppz"\na.wav,Speech\n')
    clips = tagged_clips.read_tags(path, tmp_path)
    assert clips == (
        tagged_clips.TaggedClip("b.wav", (0, 1)),
        tagged_clips.TaggedClip("a.wav", (0,)),
    )


def test_audioset_segment_list(tmp_path):
    write_clip_files(tmp_path, "Yabc.wav", "-de_30.000.wav")
    path = tmp_path / "segments.csv"
    path.write_text(
        "# Segments csv created Sun Mar  5 10:54:31 2017\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        'abc, 30.000, 40.000, "/m/09x0r,/m/05zppz"\n'
        '-de, 30.000, 40.000, "/m/09x0r"\n'
        'gone, 30.000, 40.000, "/m/09x0r"\n'
    )
    with pytest.raises(ValueError, match="1 are not: gone.wav"):
        tagged_clips.read_tags(path, tmp_path)
    clips = tagged_clips.read_tags(path, tmp_path, allow_missing=True)
    assert [clip.path for clip in clips] == ["Yabc.wav", "-de_30.000.wav"]
    assert clips[0].events == (0, 1)


def test_a_csv_without_the_columns_is_an_error(tmp_path):
    path = tmp_path / "tags.csv"
    path.write_text("file,class\na.wav,dog\n")
    with pytest.raises(ValueError, match="must have the columns clip,labels"):
        tagged_clips.read_tags(path, tmp_path)


def write_recording(folder, name, seconds=0.5):
    wave = 0.3 * np.sin(np.arange(round(44_100 * seconds)) / 20)
    soundfile.write(folder / name, np.stack([wave, wave], 1), 44_100)


def test_every_class_of_esc50_has_events_of_audioset():
    events = tagged_clips.read_class_events()
    assert len(events) == 50
    assert tagged_clips.parse_labels(events["dog"]) == tagged_clips.parse_labels(
        "Animal,Dog,Bark"
    )


def test_prepared_clips_are_read_back(tmp_path):
    (tmp_path / "in").mkdir()
    write_recording(tmp_path / "in", "a.flac")
    write_recording(tmp_path / "in", "b.ogg")
    table = tmp_path / "classes.csv"
    table.write_text("filename,fold,category\na.flac,1,rain\nb.ogg,2,crow\n")
    bad = tagged_clips.prepare_clips(
        tagged_clips.read_classes(table),
        tmp_path / "in",
        tagged_clips.read_class_events(),
        tmp_path / "out",
        progress=False,
    )
    assert bad == {}
    read = tagged_clips.read_tags(tmp_path / "out" / "tags.csv", tmp_path / "out")
    assert [clip.path for clip in read] == ["a.wav", "b.wav"]
    assert read[1].events == tagged_clips.parse_labels("Crow,Caw,Bird")
    wave, rate_hz = soundfile.read(tmp_path / "out" / "a.wav")
    assert (rate_hz, wave.shape) == (44_100, (22_050,))


def test_a_bad_recording_is_reported_and_the_others_are_written(tmp_path):
    write_recording(tmp_path, "a.flac")
    (tmp_path / "b.ogg").write_bytes(b"OggS broken")
    bad = tagged_clips.prepare_clips(
        [("a.flac", "x"), ("b.ogg", "x"), ("gone.ogg", "x")],
        tmp_path,
        {"x": "/m/09x0r"},
        tmp_path / "out",
        progress=False,
    )
    assert set(bad) == {"b.ogg", "gone.ogg"}
    with (tmp_path / "out" / "tags.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["clip", "labels"], ["a.wav", "/m/09x0r"]]


def test_a_class_without_events_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="purring have none"):
        tagged_clips.prepare_clips([("a.wav", "purring")], tmp_path, {}, tmp_path)


@pytest.mark.parametrize("header", ["name,category", "file,kind"])
def test_missing_columns_are_an_error(tmp_path, header):
    path = tmp_path / "classes.csv"
    path.write_text(f"{header}\na,b\n")
    with pytest.raises(ValueError, match="must have one of the columns"):
        tagged_clips.read_classes(path)


def test_a_map_of_events_needs_its_columns(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("class,mids\nrain,/m/06mb1\n")
    with pytest.raises(ValueError, match="a column events; received class, mids"):
        tagged_clips.read_class_events(path)


def test_held_out_clips_depend_on_the_seed_and_not_on_the_order():
    clips = [tagged_clips.TaggedClip(f"{n}.wav", (n,)) for n in range(20)]
    training, validation = tagged_clips.hold_out(clips, 0.25, seed=1)
    assert (len(training), len(validation)) == (15, 5)
    assert set(training) | set(validation) == set(clips)
    assert set(tagged_clips.hold_out(clips[::-1], 0.25, seed=1)[1]) == set(validation)
    assert tagged_clips.hold_out(clips, 0.25, seed=2)[1] != validation
    with pytest.raises(ValueError, match="at least two clips; received 1"):
        tagged_clips.hold_out(clips[:1], 0.25)


def test_equal_names_in_two_folders_stay_two_clips(tmp_path):
    for name in ("dog/001.wav", "rain/001.wav"):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.full(1600, 0.5 if "dog" in name else 0.25), 16_000)
    recordings = [("dog/001.wav", "dog"), ("rain/001.wav", "rain")]
    events = {"dog": "/m/0bt9lr", "rain": "/m/06mb1"}
    assert not tagged_clips.prepare_clips(
        recordings, tmp_path / "sounds", events, tmp_path / "out", progress=False
    )
    clips = tagged_clips.read_tags(tmp_path / "out/tags.csv", tmp_path / "out")
    levels = {c.path: soundfile.read(tmp_path / "out" / c.path)[0][0] for c in clips}
    assert levels == {"dog/001.wav": 0.5, "rain/001.wav": 0.25}
    assert clips[0].events != clips[1].events


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.wav", "a.flac"], "'a.wav' and 'a.flac' would both be written to a.wav"),
        (["a.wav", "A.wav"], "would both be written to A.wav"),
        (["../a.wav"], "path below `sound_dir`; received '../a.wav'"),
        (["/tmp/a.wav"], "path below `sound_dir`"),
    ],
)
def test_recordings_that_would_be_one_clip_are_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        tagged_clips.prepare_clips(
            [(name, "dog") for name in names],
            tmp_path,
            {"dog": "/m/0bt9lr"},
            tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


def test_a_clip_with_two_rows_is_refused(tmp_path):
    write_clip_files(tmp_path, "a.wav")
    (tmp_path / "tags.csv").write_text("clip,labels\na.wav,Speech\na.wav,Dog\n")
    with pytest.raises(ValueError, match=r"line 3: a clip may have one row; .* line 2"):
        tagged_clips.read_tags(tmp_path / "tags.csv", tmp_path)


def test_a_full_disk_ends_the_conversion_and_keeps_the_list(tmp_path, monkeypatch):
    write_recording(tmp_path, "a.flac")
    given = ([("a.flac", "x")], tmp_path, {"x": "/m/09x0r"}, tmp_path / "out")
    tagged_clips.prepare_clips(*given, progress=False)
    before = (tmp_path / "out" / "tags.csv").read_text()

    def full(*given, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tagged_clips, "write_wav", full)
    with pytest.raises(OSError, match="No space left"):
        tagged_clips.prepare_clips(*given, progress=False)
    assert (tmp_path / "out" / "tags.csv").read_text() == before
