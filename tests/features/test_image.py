"""Images equal PIL's: decoding exactly, resizing within one level."""

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


def picture(mode="RGB", size=(32, 32)):
    """A smooth picture with some noise."""
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
def test_a_jpeg_is_decoded_as_pil_does(quality):
    contents = encoded(picture(), "JPEG", quality=quality)
    expected = np.asarray(Image.open(io.BytesIO(contents)))
    np.testing.assert_array_equal(DECODE(contents, ""), expected)


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (100, 41), (20, 30)])
def test_resizing_stays_within_a_level_of_pils(size):
    image = picture(size=size)
    found = DECODE(encoded(image, "PNG"), "").numpy()
    expected = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(found - expected).max() <= 1
    np.testing.assert_array_equal(found, np.round(found))
    assert 0 <= found.min() <= found.max() <= 255


@pytest.mark.parametrize(
    ("kind", "mode"),
    # TensorFlow reads no BMP with a palette.
    [
        *(("PNG", mode) for mode in ("RGB", "L", "RGBA", "P")),
        *(("BMP", mode) for mode in ("RGB", "L", "RGBA")),
    ],
)
def test_lossless_formats_of_every_mode(kind, mode):
    image = picture(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(DECODE(encoded(image, kind), ""), expected)


def test_png_of_16_bits_keeps_its_upper_bits():
    levels = np.asarray(picture("L"), np.uint16) * 257
    contents = encoded(Image.fromarray(levels), "PNG")
    expected = np.repeat(np.asarray(picture("L"))[..., None], 3, -1)
    np.testing.assert_allclose(DECODE(contents, ""), expected, atol=1)


def test_webp():
    contents = encoded(picture(), "WEBP", lossless=True)
    np.testing.assert_array_equal(DECODE(contents, ""), np.asarray(picture()))


def test_inside_a_parallel_map():
    files = [encoded(picture(size=(40 + n, 50)), "JPEG") for n in range(5)]
    dataset = tf.data.Dataset.from_tensor_slices(files).map(
        lambda contents: decode_image(contents, 32), num_parallel_calls=3
    )
    for contents, found in zip(files, dataset, strict=True):
        np.testing.assert_array_equal(found, DECODE(contents, ""))


@pytest.mark.parametrize("contents", [b"", b"\xff", b"GIF89a" + bytes(20), bytes(40)])
def test_another_format_is_named(contents):
    with pytest.raises(tf.errors.InvalidArgumentError, match="vision/lake/1.jpg"):
        DECODE(contents, "vision/lake/1.jpg")


def test_a_truncated_jpeg_is_refused():
    contents = encoded(picture(size=(64, 64)), "JPEG")
    with pytest.raises(tf.errors.InvalidArgumentError):
        DECODE(contents[: len(contents) // 2], "a.jpg")
