"""Files of a folder, paired by stem."""

import os
import pathlib

import pytest

from advance_tf.inference.examples import Example, find_examples


def _touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def _found(root):
    examples, failures = find_examples(root)
    files = {
        example.name: tuple(
            path and pathlib.Path(path).relative_to(root).as_posix()
            for path in (example.image, example.sound)
        )
        for example in examples
    }
    return files, {failure.name: failure.status for failure in failures}


def test_pairs_side_by_side_files(tmp_path):
    _touch(tmp_path, "b.PNG", "a.jpg", "a.wav", "c.WAV", "notes.txt", ".b.png")
    files, failures = _found(tmp_path)
    assert list(files.items()) == [
        ("a", ("a.jpg", "a.wav")),
        ("b", ("b.PNG", None)),
        ("c", (None, "c.WAV")),
    ]
    assert not failures


@pytest.mark.parametrize(
    ("vision", "sound"),
    [
        ("vision", "sound"),
        ("ADVANCE_vision/vision", "ADVANCE_sound/sound"),
        ("ADVANCE_vision", "ADVANCE_sound"),
    ],
)
def test_pairs_the_published_layout(tmp_path, vision, sound):
    _touch(
        tmp_path,
        f"{vision}/sports land/00001.jpg",
        f"{sound}/sports land/00001.wav",
        f"{vision}/lake/00001.jpg",
    )
    files, _ = _found(tmp_path)
    assert files == {
        "lake/00001": (f"{vision}/lake/00001.jpg", None),
        "sports land/00001": (
            f"{vision}/sports land/00001.jpg",
            f"{sound}/sports land/00001.wav",
        ),
    }


def test_unusable_files_are_named_and_the_others_remain(tmp_path):
    _touch(tmp_path, "a.jpg", "a.png", "a.wav", "b.jpg", "c.mp3")
    files, failures = _found(tmp_path)
    assert files == {"b": ("b.jpg", None)}
    assert "a.jpg" in failures["a"]
    assert "a.png" in failures["a"]
    assert "c.mp3" in failures["c"]
    assert "advance prepare" in failures["c"]


def test_refuses_a_folder_without_images_and_sounds(tmp_path):
    _touch(tmp_path, "notes.txt")
    with pytest.raises(ValueError, match=r"must hold images .* received neither"):
        find_examples(tmp_path)
    with pytest.raises(ValueError, match=r"must be a folder; received .*nowhere"):
        find_examples(tmp_path / "nowhere")


def test_an_example_has_a_file():
    with pytest.raises(ValueError, match="'a' must have an image or a sound"):
        Example("a")


def test_files_that_cannot_be_examples_are_named(tmp_path):
    _touch(tmp_path, "a.tif", "a.wav", "b.gif", "c.jpg", "__MACOSX/d.jpg", "Thumbs.db")
    (tmp_path / "e.wav").symlink_to(tmp_path / "gone.wav")
    with open(os.fsencode(tmp_path) + b"/f_\xea.jpg", "wb") as file:
        file.write(b"x")
    files, failures = _found(tmp_path)
    assert files == {"a": (None, "a.wav"), "c": ("c.jpg", None)}
    assert "a.tif must end in one of .jpg" in failures["a"]
    assert "`advance prepare`" in failures["b"]
    assert "link to a missing file" in failures["e"]
    assert "must be UTF-8; received" in failures["f_\\udcea"]
