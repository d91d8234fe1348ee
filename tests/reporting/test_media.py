"""Pictures and sounds as data URIs, decoded again."""

import base64
import io

import numpy as np
import soundfile
import tensorflow as tf
from PIL import Image

from advance_tf.reporting.media import jpeg_uri, sound_uri


def contents(uri):
    return io.BytesIO(base64.b64decode(uri.split("base64,", 1)[1]))


def test_rates_without_mp3_are_written_as_wav():
    wave = 2 * np.sin(np.arange(4410) / 20)
    assert sound_uri(wave, 16_000).startswith("data:audio/mpeg;base64,")
    uri = sound_uri(wave, 14_700)
    assert uri.startswith("data:audio/wav;base64,")
    decoded, rate_hz = soundfile.read(contents(uri))
    assert rate_hz == 14_700
    np.testing.assert_allclose(decoded, np.clip(wave, -1, 1), atol=1e-4)


def test_jpeg_restores_the_picture():
    picture = np.tile(np.arange(0, 256, 4, np.uint8)[:, None, None], (1, 64, 3))
    uri = jpeg_uri(tf.constant(picture))
    assert len(uri) < 2000
    decoded = np.asarray(Image.open(contents(uri)), int)
    assert np.abs(decoded - picture).max() < 8
