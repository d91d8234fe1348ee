"""Rows of a batch are decoded as evaluation decodes them, and fail alone."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.features.image import decode_image
from advance_tf.features.sound import waveform_from_bytes
from advance_tf.serving import rows
from tests.serving.made import FEATURES, made_pairs

PAIRS = made_pairs()
IMAGES = [pair.image for pair in PAIRS]
SOUNDS = [pair.sound for pair in PAIRS]


def decoded(decode, contents):
    """Values and problems, computed in a graph as a server does."""
    function = tf.function(lambda encoded: decode(encoded, FEATURES))
    values, problems = function(tf.constant(contents, tf.string))
    return values.numpy(), [problem.decode() for problem in problems.numpy()]


def test_good_rows_equal_what_evaluation_reads():
    images, problems = decoded(rows.decode_images, IMAGES)
    assert problems == [""] * 4
    for image, content in zip(images, IMAGES, strict=True):
        np.testing.assert_array_equal(image, decode_image(content, 32))
    sounds, problems = decoded(rows.decode_sounds, SOUNDS)
    assert problems == [""] * 4
    for sound, content in zip(sounds, SOUNDS, strict=True):
        np.testing.assert_array_equal(sound, waveform_from_bytes(content, FEATURES))


@pytest.mark.parametrize(
    "bad", [b"", b"no image", b"\xff\xd8\xff" + bytes(200), IMAGES[0][:-200]]
)
def test_a_bad_image_fails_alone(bad):
    images, problems = decoded(rows.decode_images, [IMAGES[0], bad, IMAGES[1]])
    assert problems == ["", "the image must be a whole JPEG, PNG, BMP or WebP", ""]
    np.testing.assert_array_equal(images[1], 0)
    np.testing.assert_array_equal(images[2], decode_image(IMAGES[1], 32))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"", "the file is empty"),
        (b"no sound", "it is no RIFF/WAVE file"),
        (SOUNDS[0][:-200], "it is truncated: fewer bytes than its header says"),
    ],
)
def test_a_bad_sound_fails_alone(bad, problem):
    sounds, problems = decoded(rows.decode_sounds, [bad, SOUNDS[1]])
    assert problems == [f"the sound must be a whole WAV file: {problem}", ""]
    np.testing.assert_array_equal(sounds[0], 0)
    assert np.abs(sounds[1]).max() > 0.1


def test_a_batch_of_bad_rows_and_an_empty_one():
    images, problems = decoded(rows.decode_images, [b"", b"x"])
    assert images.shape == (2, 32, 32, 3)
    assert all(problems)
    images, problems = decoded(rows.decode_images, [])
    assert images.shape == (0, 32, 32, 3)


def test_the_status_names_every_problem_of_a_row():
    first, second = tf.constant(["", "a", "", "a"]), tf.constant(["", "", "b", "b"])
    found = rows.status_of(first, second).numpy().tolist()
    assert found == [b"ok", b"a", b"b", b"a; b"]
