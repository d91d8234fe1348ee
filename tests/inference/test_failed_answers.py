"""Examples that cannot be read have rule, paths and way out, in every format."""

import errno
import io
import os
import pathlib

import numpy as np
import pytest
import soundfile

from advance_tf.config import FeatureConfig
from advance_tf.features.errors import MediaError, open_problem
from advance_tf.features.frontend import Frontend
from advance_tf.inference.model import Model, Scores

FRONTEND = Frontend(FeatureConfig(image_size=32, clip_seconds=1.0), normalized=False)


class Reader(Model):
    """Reads files as every model; its probabilities are uniform."""

    label = "invented"

    def _read(self, example):
        row = {}
        if example.image is not None:
            row["image"] = FRONTEND.read_image(example.image)
        if example.sound is not None:
            row["sound"] = FRONTEND.read_waveform(example.sound)
        return row

    def _scores(self, rows):
        # As a SavedModel: the signature states what is wrong, without a path.
        status = ["ok" if "image" in row else "it is wrong" for row in rows]
        return Scores(status, np.full((len(rows), 13), 1 / 13, np.float32), None)

    def _embed(self, row):
        raise MediaError("it is wrong")


@pytest.fixture
def folder(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    import tensorflow as tf

    (tmp_path / "a.png").write_bytes(tf.io.encode_png(image).numpy())
    file = io.BytesIO()
    soundfile.write(file, np.full(99, 0.5), 16_000, format="WAV")
    for name in ("a.wav", "a.bwf", "a.mp3"):
        (tmp_path / name).write_bytes(file.getvalue())
    (tmp_path / "b.mp3").write_bytes(b"ID3\x03" + bytes(99))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    return tmp_path


@pytest.mark.parametrize("sound", ["none.wav", "none.mp3"])
def test_a_missing_file_has_rule_and_way_out(folder, sound):
    answer = Reader().predict(folder / "a.png", folder / sound)
    path = str(folder / sound)
    expected = f"The file {path} must exist; there is none. Check its path."
    assert answer.status == expected
    with pytest.raises(ValueError, match="must exist; there is none"):
        Reader().embed(folder / "a.png", folder / sound)


def test_errors_of_the_system_have_rule_and_way_out(folder):
    def problem(number):
        return open_problem(OSError(number, os.strerror(number), "a.jpg"))

    assert problem(errno.EACCES).endswith("denied. Change its permissions.")
    assert "must not be a folder; it is one" in problem(errno.EISDIR)
    other = problem(errno.EIO)
    assert other.startswith("The file a.jpg must be readable; reading it failed: Input")
    assert other.endswith("Check its disk, or copy it again.")
    assert open_problem(OSError("no file")) == "no file"
    status = Reader().predict(folder).status
    assert status.startswith(f"The file {folder} must not be a folder")


@pytest.mark.parametrize(
    ("image", "sound"),
    [("none.png", "a.wav"), ("a.png", "broken.wav"), (None, "a.wav"), (None, "b.mp3")],
)
def test_a_failed_answer_has_the_paths_and_the_label(folder, image, sound):
    given = {"image": image, "sound": sound}
    paths = {kind: folder / name for kind, name in given.items() if name}
    (answer,) = Reader().predict_batch([paths])
    assert not answer.ok
    assert answer.name == pathlib.Path(image or sound).stem
    assert answer.label == "invented"
    assert (answer.image, answer.sound) == tuple(
        str(paths[kind]) if kind in paths else None for kind in ("image", "sound")
    )


def test_a_problem_without_a_path_gets_it(folder):
    model, sound = Reader(), str(folder / "a.wav")
    assert model.predict(sound=sound).status == f"{sound}: it is wrong"
    with pytest.raises(MediaError) as raised:
        model.embed(sound=sound)
    assert str(raised.value) == f"{sound}: it is wrong"
    samples = np.full(99, 0.5, np.float32)
    assert model.predict(sound=(samples, 16_000)).status == "it is wrong"


@pytest.mark.parametrize("name", ["a.bwf", "a.mp3"])
def test_the_header_decides_what_a_sound_is(folder, name):
    model = Reader()
    assert model.predict(folder / "a.png", folder / name).ok
    status = model.predict(folder / "a.png", folder / "b.mp3").status
    assert status.startswith(f"The sound {folder / 'b.mp3'} must be a WAV file")
    assert "Convert it with `advance prepare`." in status
