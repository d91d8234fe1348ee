"""Every form of every format equals Pillow's levels, or is refused by its name."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from advance_tf.config import FeatureConfig
from advance_tf.data.image_conversion import convert_form
from advance_tf.features.frontend import Frontend
from advance_tf.features.image import decode_image
from advance_tf.features.image_header import form_problem
from tests.features.image_forms import BROKEN, LEVELS, READ, REFUSED, pillow_levels, png

DECODE = tf.function(
    lambda contents: decode_image(contents, 32, "a.bmp"),
    input_signature=[tf.TensorSpec([], tf.string)],
)


@pytest.mark.parametrize("form", READ)
def test_a_form_that_is_read_equals_pillow(form):
    expected = pillow_levels(READ[form])
    # Pixels of the image itself, not of a resized one.
    assert max(expected.shape) in (32, 33)
    expected = decode_image(tf.io.encode_png(expected), 32)
    np.testing.assert_array_equal(DECODE(READ[form]), expected)


def test_16_bits_of_grey_keep_the_upper_ones():
    # Pillow clips them instead.
    levels = LEVELS[..., 0].astype(">u2") * 256 + 17
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    expected = np.repeat(LEVELS[..., :1], 3, -1)
    np.testing.assert_array_equal(DECODE(png(16, 0, rows)), expected)


@pytest.mark.parametrize("form", [*REFUSED, *BROKEN])
def test_another_form_is_refused_by_name(form):
    contents, words = (REFUSED | BROKEN)[form]
    rule = f"a.bmp must be a valid JPEG, PNG, BMP or WebP; .*{words}"
    with pytest.raises(tf.errors.InvalidArgumentError, match=rule):
        DECODE(contents)
    if form in REFUSED:
        problem = form_problem(tf.constant(contents)).numpy().decode()
        assert problem.endswith("which `advance prepare` converts")


def test_a_batch_names_the_form_of_a_row():
    frontend = Frontend(FeatureConfig(image_size=32, clip_seconds=0.5))
    rows = [READ["BMP palette"], REFUSED["BMP 4"][0], READ["WebP with alpha"]]
    images, problems = tf.function(frontend.decode_images)(tf.constant(rows))
    refused = (
        "the image must be a valid JPEG, PNG, BMP or WebP: it is a BMP of the bits 4, "
        "which `advance prepare` converts"
    )
    assert problems.numpy().tolist() == [b"", refused.encode(), b""]
    np.testing.assert_array_equal(images[0], pillow_levels(rows[0]))
    np.testing.assert_array_equal(images[1], 0)


@pytest.mark.parametrize("form", REFUSED)
def test_prepare_converts_a_form_to_the_levels_of_pillow(form, tmp_path):
    contents = REFUSED[form][0]
    (tmp_path / "a").write_bytes(contents)
    convert_form(tmp_path / "a", tmp_path / "a.png")
    found = tf.io.decode_png(tf.io.read_file(str(tmp_path / "a.png")))
    np.testing.assert_array_equal(found, pillow_levels(contents))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"BM and no more", "cannot be read"),
        (REFUSED["BMP 4"][0][:200], "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_damaged_image_is_not_converted(contents, message, tmp_path):
    (tmp_path / "a.bmp").write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        convert_form(tmp_path / "a.bmp", tmp_path / "a.png")


def test_too_many_pixels_are_not_converted(tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (8_001, 8_000)).save(buffer, "BMP")
    (tmp_path / "a.bmp").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="at most 64,000,000 pixels; it has 8001"):
        convert_form(tmp_path / "a.bmp", tmp_path / "a.png")
