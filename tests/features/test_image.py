"""Decoded images equal PIL's exactly, resized images within one level."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from advance_tf.features.image import decode_image

DECODE = tf.function(
    lambda contents, name: decode_image(contents, 32, name),
    input_signature=[tf.TensorSpec([], tf.string)] * 2,
)


def create_image(mode="RGB", size=(32, 32)):
    """A smooth image with some noise."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    levels = [128 + 100 * np.sin(x / 9 + k) * np.cos(y / 7 - k) for k in range(3)]
    noisy = np.stack(levels, -1) + rng.normal(0, 5, (size[1], size[0], 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).convert(mode)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [50, 90, 100])
def test_jpeg_equals_pil(quality):
    contents = encoded(create_image(), "JPEG", quality=quality)
    expected = np.asarray(Image.open(io.BytesIO(contents)))
    np.testing.assert_array_equal(DECODE(contents, ""), expected)


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (100, 41), (20, 30)])
def test_resizing_is_within_one_level_of_pil(size):
    image = create_image(size=size)
    found = DECODE(encoded(image, "PNG"), "").numpy()
    expected = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(found - expected).max() <= 1
    np.testing.assert_array_equal(found, np.round(found))
    assert 0 <= found.min() <= found.max() <= 255


@pytest.mark.parametrize(
    ("kind", "mode"),
    # TensorFlow does not read a BMP with a palette.
    [
        *(("PNG", mode) for mode in ("RGB", "L", "RGBA", "P")),
        *(("BMP", mode) for mode in ("RGB", "L", "RGBA")),
    ],
)
def test_lossless_formats_in_every_mode_equal_pil(kind, mode):
    image = create_image(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(DECODE(encoded(image, kind), ""), expected)


def test_16_bit_png_keeps_its_upper_bits():
    levels = np.asarray(create_image("L"), np.uint16) * 257
    contents = encoded(Image.fromarray(levels), "PNG")
    expected = np.repeat(np.asarray(create_image("L"))[..., None], 3, -1)
    np.testing.assert_allclose(DECODE(contents, ""), expected, atol=1)


def test_lossless_webp_equals_pil():
    contents = encoded(create_image(), "WEBP", lossless=True)
    np.testing.assert_array_equal(DECODE(contents, ""), np.asarray(create_image()))


def test_parallel_map_equals_single_images():
    files = [encoded(create_image(size=(40 + n, 50)), "JPEG") for n in range(5)]
    dataset = tf.data.Dataset.from_tensor_slices(files).map(
        lambda contents: decode_image(contents, 32), num_parallel_calls=3
    )
    for contents, found in zip(files, dataset, strict=True):
        np.testing.assert_array_equal(found, DECODE(contents, ""))


@pytest.mark.parametrize("contents", [b"", b"\xff", b"GIF89a" + bytes(20), bytes(40)])
def test_another_format_raises_with_the_name_of_the_file(contents):
    with pytest.raises(tf.errors.InvalidArgumentError, match="vision/lake/1.jpg"):
        DECODE(contents, "vision/lake/1.jpg")


def test_truncated_jpeg_raises():
    contents = encoded(create_image(size=(64, 64)), "JPEG")
    with pytest.raises(tf.errors.InvalidArgumentError):
        DECODE(contents[: len(contents) // 2], "a.jpg")
