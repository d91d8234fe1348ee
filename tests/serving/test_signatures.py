"""Rows of a batch are decoded as in evaluation, and a bad row fails alone."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.features.frontend import Frontend, waveform_from_bytes
from advance_tf.features.image import decode_image
from advance_tf.serving import signatures
from tests.serving.factories import FEATURES, create_pairs

FRONTEND = Frontend(FEATURES)
PAIRS = create_pairs()
IMAGES = [pair.image for pair in PAIRS]
SOUNDS = [pair.sound for pair in PAIRS]


def decoded(decode, contents):
    """Values and problems, computed in a graph as in a server."""
    values, problems = tf.function(decode)(tf.constant(contents, tf.string))
    return values.numpy(), [problem.decode() for problem in problems.numpy()]


def test_good_rows_are_those_of_evaluation():
    images, problems = decoded(FRONTEND.decode_images, IMAGES)
    assert problems == [""] * 4
    for image, content in zip(images, IMAGES, strict=True):
        np.testing.assert_array_equal(image, decode_image(content, 32))
    sounds, problems = decoded(FRONTEND.decode_waveforms, SOUNDS)
    assert problems == [""] * 4
    for sound, content in zip(sounds, SOUNDS, strict=True):
        np.testing.assert_array_equal(sound, waveform_from_bytes(content, FEATURES))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"", "the file is empty"),
        (b"no image", "it is in another format"),
        (b"\xff\xd8\xff" + bytes(200), "it is damaged or cut off"),
        (IMAGES[0][:-200], "it is damaged or cut off"),
    ],
)
def test_a_bad_image_fails_alone(bad, problem):
    images, problems = decoded(FRONTEND.decode_images, [IMAGES[0], bad, IMAGES[1]])
    rule = f"the image must be a valid JPEG, PNG, BMP or WebP: {problem}"
    assert problems == ["", rule, ""]
    np.testing.assert_array_equal(images[1], 0)
    np.testing.assert_array_equal(images[2], decode_image(IMAGES[1], 32))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"", "the file is empty"),
        (b"no sound", "it is not a RIFF/WAVE file"),
        (
            SOUNDS[0][:-200],
            "it is truncated: it has fewer bytes than its header states",
        ),
    ],
)
def test_a_bad_sound_fails_alone(bad, problem):
    sounds, problems = decoded(FRONTEND.decode_waveforms, [bad, SOUNDS[1]])
    assert problems == [f"the sound must be a valid WAV file: {problem}", ""]
    np.testing.assert_array_equal(sounds[0], 0)
    assert np.abs(sounds[1]).max() > 0.1


def test_a_batch_of_bad_rows_and_an_empty_one():
    images, problems = decoded(FRONTEND.decode_images, [b"", b"x"])
    assert images.shape == (2, 32, 32, 3)
    assert all(problems)
    images, problems = decoded(FRONTEND.decode_images, [])
    assert images.shape == (0, 32, 32, 3)


def test_the_status_names_every_problem_of_a_row():
    first, second = tf.constant(["", "a", "", "a"]), tf.constant(["", "", "b", "b"])
    found = signatures.status_of(first, second).numpy().tolist()
    assert found == [b"ok", b"a", b"b", b"a; b"]
