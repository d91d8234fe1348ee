"""File decoders return what the front end returns, and are traced once."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features.file_decoders import image_decoder, sound_decoder
from advance_tf.features.frontend import Frontend

FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)


@pytest.fixture
def sound(tmp_path):
    wave = np.random.default_rng(0).normal(0, 0.1, 30_000)
    soundfile.write(tmp_path / "sound.wav", wave, 22_050)
    return tmp_path / "sound.wav"


@pytest.mark.parametrize("offset", [0.0, 0.5, 0.9])
def test_a_sound_is_that_of_the_front_end(sound, offset):
    frontend = Frontend(FEATURES)
    clip = frontend.decode_waveform(tf.constant(sound.read_bytes()), offset)
    arguments = tf.constant(str(sound)), tf.constant(offset)
    np.testing.assert_array_equal(sound_decoder(FEATURES)(*arguments), clip)
    decibel = sound_decoder(FEATURES, "log_mel")(*arguments)
    np.testing.assert_allclose(decibel, frontend.log_mel_db(clip), atol=1e-4)


def test_an_image_is_that_of_the_front_end(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    contents = tf.io.encode_png(levels)
    tf.io.write_file(str(tmp_path / "image.png"), contents)
    image = image_decoder(FEATURES)(tf.constant(str(tmp_path / "image.png")))
    np.testing.assert_array_equal(image, Frontend(FEATURES).decode_image(contents))


def test_data_sets_share_one_graph(sound):
    path = tf.constant([str(sound)])
    decoder = sound_decoder(FEATURES)
    assert sound_decoder(FeatureConfig(image_size=32, clip_seconds=1.0)) is decoder
    dataset = tf.data.Dataset.from_tensor_slices(path)
    for _ in range(2):
        dataset = dataset.map(lambda path: (decoder(path, tf.constant(0.5)), path)[1])
    names = set()
    graph = tf.compat.v1.GraphDef.FromString(
        tf.raw_ops.DatasetToGraphV2(input_dataset=dataset._variant_tensor).numpy()
    )
    for function in graph.library.function:
        if function.attr["_noinline"].b:
            names.add(function.signature.name)
    assert len(names) == 1


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    path = tf.constant(str(tmp_path / "broken.wav"))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"broken\.wav"):
        sound_decoder(FEATURES)(path, tf.constant(0.5))
