"""Tagged clips: both CSV forms, labels with commas, balanced weights."""

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data import tagged


def write_clips(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"RIFF")


def test_labels_may_be_mids_or_names_with_commas_in_them():
    events = labels.events()
    speech, man = events[0], events[1]
    assert man.name == "Male speech, man speaking"
    assert tagged.parse_labels(f"{man.name},{speech.mid}") == (0, 1)
    assert tagged.parse_labels("male SPEECH, man speaking, Speech") == (0, 1)


def test_every_event_is_found_by_name_and_by_mid():
    for event in labels.events():
        assert tagged.parse_labels(event.mid) == (event.index,)
        found = tagged.parse_labels(event.name)
        assert labels.events()[found[0]].name == event.name


def test_an_unknown_label_is_named():
    with pytest.raises(ValueError, match="received 'Purring thunder'"):
        tagged.parse_labels("Speech,Purring thunder")


def test_clip_and_labels_columns(tmp_path):
    write_clips(tmp_path, "a.wav", "b.wav")
    path = tmp_path / "tags.csv"
    path.write_text('clip,labels\nb.wav,"Speech,/m/05zppz"\na.wav,Speech\n')
    clips = tagged.read_tags(path, tmp_path)
    assert clips == (
        tagged.TaggedClip("b.wav", (0, 1)),
        tagged.TaggedClip("a.wav", (0,)),
    )


def test_audioset_segment_list(tmp_path):
    write_clips(tmp_path, "Yabc.wav", "-de_30.000.wav")
    path = tmp_path / "segments.csv"
    path.write_text(
        "# Segments csv created Sun Mar  5 10:54:31 2017\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        'abc, 30.000, 40.000, "/m/09x0r,/m/05zppz"\n'
        '-de, 30.000, 40.000, "/m/09x0r"\n'
        'gone, 30.000, 40.000, "/m/09x0r"\n'
    )
    with pytest.raises(ValueError, match="1 do not: gone.wav"):
        tagged.read_tags(path, tmp_path)
    clips = tagged.read_tags(path, tmp_path, allow_missing=True)
    assert [clip.path for clip in clips] == ["Yabc.wav", "-de_30.000.wav"]
    assert clips[0].events == (0, 1)


def test_another_csv_is_refused(tmp_path):
    path = tmp_path / "tags.csv"
    path.write_text("file,class\na.wav,dog\n")
    with pytest.raises(ValueError, match="must have the columns clip,labels"):
        tagged.read_tags(path, tmp_path)


def test_targets_and_balanced_weights_equal_numpy():
    clips = [tagged.TaggedClip("", e) for e in ((0,), (0,), (0, 2), (5,))]
    targets = tagged.multi_hot(clips)
    assert targets.shape == (4, 527)
    assert targets.sum() == 5
    weights = tagged.balanced_weights(targets)
    expected = np.array([1 / 3, 1 / 3, 1 / 3 + 1, 1])
    np.testing.assert_allclose(weights, expected / expected.sum())
    # Each event is drawn alike often.
    np.testing.assert_allclose(weights[2] + weights[0] + weights[1], 2 / 3)


def test_clips_without_events_cannot_be_balanced():
    with pytest.raises(ValueError, match="At least one clip must have an event"):
        tagged.balanced_weights(np.zeros((2, 527), np.float32))
