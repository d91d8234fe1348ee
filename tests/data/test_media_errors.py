"""Errors name the file that cannot be read."""

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data import media_errors
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.data.sampling import TrainingEpochs
from advance_tf.features.frontend import waveform_from_bytes
from advance_tf.features.image import decode_image

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
        with pytest.raises(
            ValueError, match=r"broken\.jpg cannot be decoded: .*Invalid JPEG"
        ):
            with media_errors.media_errors([good, bad], "", FEATURES):
                tf.io.decode_jpeg(broken.read_bytes())
    finally:
        broken.unlink()


def decode_in_graph(contents):
    return tf.function(lambda data: decode_image(data, 32, "é.png"))(contents)


def decode_in_dataset(contents):
    dataset = tf.data.Dataset.from_tensors(contents)
    return list(dataset.map(lambda data: decode_image(data, 32, "é.png")).batch(1))


def decode_in_keras(contents):
    model = keras.Sequential([keras.layers.GlobalAveragePooling2D()])
    dataset = tf.data.Dataset.from_tensors(contents)
    dataset = dataset.map(lambda data: decode_image(data, 32, "é.png")).batch(1)
    return model.predict(dataset, verbose=0)


DECODERS = [decode_in_graph, decode_in_dataset, decode_in_keras]


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (tf.io.encode_png, "Invalid PNG data, size "),
        (tf.io.encode_jpeg, "Invalid JPEG data, size "),
    ],
)
def test_the_reason_of_the_decoder_is_shown(decode, encode, reason):
    contents = encode(tf.zeros((64, 64, 3), tf.uint8)).numpy()
    with pytest.raises(ValueError, match=reason) as raised:
        with media_errors.media_errors():
            decode(tf.constant(contents[: -len(contents) // 4]))
    message = str(raised.value)
    assert message.splitlines() == [message]
    assert not any(word in message for word in ("Graph", "node", "[Op", "\n"))


@pytest.mark.parametrize("decode", DECODERS)
def test_a_name_beyond_ascii_is_shown_as_it_is(decode):
    with pytest.raises(
        ValueError, match=r"The image é\.png must be .*in another format"
    ):
        with media_errors.media_errors():
            decode(tf.constant(b"no image"))


def test_an_image_of_a_folder_of_classes_is_named(tmp_path):
    (tmp_path / "lake").mkdir()
    contents = tf.io.encode_jpeg(tf.zeros((64, 64, 3), tf.uint8)).numpy()
    (tmp_path / "lake/a.jpg").write_bytes(contents)
    (tmp_path / "lake/b.jpg").write_bytes(contents[:-90])
    rule = r"The image \S*lake/b\.jpg cannot be decoded: .*Invalid JPEG.* again"
    with pytest.raises(ValueError, match=rule):
        with media_errors.media_errors(features=FEATURES, image_dir=tmp_path):
            decode_in_dataset(tf.constant(contents[:-90]))


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


@pytest.mark.parametrize("value", [1e20, np.nan, np.inf])
def test_a_sample_out_of_range_is_named_wherever_it_is(fabricated_advance, value):
    image = next((fabricated_advance / "vision" / "lake").iterdir())
    sound = fabricated_advance / "bad.wav"
    samples = np.zeros(60_000, np.float32)
    # Far behind the clip that evaluation reads; training may cut it.
    samples[-1] = value
    soundfile.write(sound, samples, 16_000, "FLOAT")
    pair = Pair("00001", "lake", "00001", str(image), str(sound))
    try:
        files = PairFiles([pair], "", FEATURES)
        for training in (None, TrainingEpochs()):
            dataset = make_dataset(files, 1, training=training)
            with pytest.raises(ValueError, match=r"bad\.wav must be .* beyond ±65536"):
                with files.errors():
                    next(iter(dataset))
    finally:
        sound.unlink()


def test_entries_of_systems_are_not_searched_for_a_broken_image(tmp_path):
    (tmp_path / "__MACOSX").mkdir()
    for name in ("._a.jpg", "__MACOSX/a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "a.jpg").symlink_to("missing.jpg")
    with pytest.raises(ValueError, match=r"The image .*/b\.jpg must be a valid"):
        with media_errors.media_errors(features=FEATURES, image_dir=tmp_path):
            tf.io.decode_jpeg(b"")


def test_a_file_without_permission_is_named():
    """The tests may run as root, who may read every file."""
    text = "{{function_node f}} no where/a.wav; Permission denied [Op:ReadFile]"
    with pytest.raises(ValueError, match="no where/a.wav must be readable; permission"):
        with media_errors.media_errors():
            raise tf.errors.PermissionDeniedError(None, None, text)
