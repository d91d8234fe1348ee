"""Errors name the file that cannot be read."""

import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data import media_errors
from advance_tf.data.pairing import Pair
from advance_tf.features.frontend import waveform_from_bytes

FEATURES = FeatureConfig(clip_seconds=1.0)


def test_a_message_of_the_library_is_shown_without_the_graph():
    with pytest.raises(ValueError, match=r"a\.wav must be a \w+ WAV file") as raised:
        with media_errors.media_errors():
            traced = tf.function(
                lambda data: waveform_from_bytes(data, FEATURES, name="a.wav")
            )
            traced(tf.constant(b"RIFF"))
    assert "node" not in str(raised.value)
    assert str(raised.value).endswith("Replace it, or leave the pair out.")


def test_the_file_is_searched_if_the_decoder_does_not_name_it(fabricated_advance):
    image = next((fabricated_advance / "vision" / "lake").iterdir())
    sound = next((fabricated_advance / "sound" / "lake").iterdir())
    broken = fabricated_advance / "broken.jpg"
    broken.write_bytes(image.read_bytes()[:200])
    good = Pair("00001", "lake", "00001", str(image), str(sound))
    bad = Pair("00002", "lake", "00002", str(broken), str(sound))
    try:
        assert media_errors.find_broken([good], "", FEATURES) is None
        with pytest.raises(ValueError, match=r"broken\.jpg cannot be read"):
            with media_errors.media_errors([good, bad], "", FEATURES):
                tf.io.decode_jpeg(broken.read_bytes())
    finally:
        broken.unlink()


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"gone\.wav"):
        with media_errors.media_errors():
            tf.io.read_file("gone.wav")


def read_from_dataset(path):
    next(iter(tf.data.Dataset.from_tensors(path).map(tf.io.read_file)))


def read_from_batches(path):
    dataset = tf.data.Dataset.from_tensors(path).map(tf.io.read_file)
    next(iter(dataset.batch(2).prefetch(1)))


@pytest.mark.parametrize(
    "read",
    [
        tf.io.read_file,
        tf.function(tf.io.read_file),
        read_from_dataset,
        read_from_batches,
    ],
)
def test_the_message_for_a_missing_file_names_data_dir(read):
    expected = (
        "The file no where/gone.wav does not exist. Give the folder of the data set "
        "with `data_dir`."
    )
    with pytest.raises(ValueError, match="does not exist") as raised:
        with media_errors.media_errors():
            read(tf.constant("no where/gone.wav"))
    assert str(raised.value) == expected
    pair = Pair("00001", "lake", "00001", "gone.jpg", "gone.wav")
    assert media_errors.find_broken([pair], "no where", FEATURES) == expected


def test_other_errors_are_not_changed():
    with pytest.raises(KeyError), media_errors.media_errors():
        raise KeyError("name")
