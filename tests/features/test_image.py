"""Decoded images equal PIL's exactly, resized images within one level."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from advance_tf.config_variants import RESIZINGS
from advance_tf.features.image import decode_image, read_image_size, resize_image

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


@pytest.mark.parametrize("method", RESIZINGS)
@pytest.mark.parametrize("size", [(64, 64), (512, 512), (100, 41), (20, 30)])
def test_resizing_is_within_one_level_of_pil(size, method):
    image = create_image(size=size)
    contents = tf.constant(encoded(image, "PNG"))
    found = decode_image(contents, 32, method=method).numpy()
    filter = getattr(Image.Resampling, method.upper())
    expected = np.asarray(image.resize((32, 32), filter), np.float32)
    assert np.abs(found - expected).max() <= (method != "nearest")
    np.testing.assert_array_equal(found, np.round(found))
    assert 0 <= found.min() <= found.max() <= 255


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("PNG", mode) for mode in ("RGB", "L", "RGBA", "P")),
        *(("BMP", mode) for mode in ("RGB", "L", "RGBA", "P")),
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


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0abcd"}),
    ],
)
def test_size_is_read_from_the_header(kind, options):
    contents = encoded(create_image(size=(301, 37)), kind, **options)
    # The header is enough: a JPEG's is at most its first 700 bytes here.
    assert read_image_size(contents[:700]).numpy().tolist() == [37, 301]
    decode = tf.function(lambda data: decode_image(data, 32, "a", max_pixels=301 * 37))
    assert decode(contents).shape == (32, 32, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="received 301 x 37"):
        decode_image(tf.constant(contents), 32, "a", max_pixels=301 * 37 - 1)


@pytest.mark.parametrize("seed", range(6))
def test_the_default_halves_images_of_512_pixels_as_the_authors_code(seed):
    """Pillow's `resize` without a filter, on aerial images' scale and contrast."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(120, 60, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(coarse).resize((512, 512), Image.Resampling.LANCZOS)
    noise = rng.normal(0, 8, (512, 512, 3))
    levels = np.clip(np.asarray(image) + noise, 2, 253).astype(np.uint8)
    expected = np.asarray(Image.fromarray(levels).resize((256, 256)), int)
    found = resize_image(levels, 256).numpy()
    difference = np.abs(found - expected)
    assert difference.max() <= 1
    assert difference.mean() < 0.2
    # The filters of earlier versions are other images.
    for method in ("bilinear", "nearest"):
        assert np.abs(resize_image(levels, 256, method) - found).max() > 7


def test_header_of_an_image_too_large_raises_before_decoding():
    sides = (1 << 31) - 1
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", sides, sides)
    # 16,384 pixels on each side, as a 34-byte file states them.
    webp = b"RIFF" + struct.pack("<I", 26) + b"WEBPVP8L" + struct.pack("<I", 14)
    webp += b"\x2f\xff\xff\xff\x0f" + bytes(9)
    for contents in (png + bytes(40), webp):
        with pytest.raises(tf.errors.InvalidArgumentError, match="of at most 64000000"):
            DECODE(contents, "a")


@pytest.mark.parametrize(("side", "ratio"), [(63, 1), (64, 2), (128, 4), (256, 8)])
def test_scaled_jpeg_equals_pil_at_the_same_fraction(side, ratio):
    image = create_image(size=(side + 64, side))
    contents = encoded(image, "JPEG", quality=95)
    reduced = Image.open(io.BytesIO(contents))
    if ratio > 1:
        reduced.draft("RGB", (reduced.width // ratio, reduced.height // ratio))
    expected = resize_image(np.asarray(reduced), 32).numpy()
    found = decode_image(tf.constant(contents), 32, jpeg_scaling=True).numpy()
    np.testing.assert_array_equal(found, expected)
    exact = DECODE(contents, "").numpy()
    assert (np.abs(found - exact).max() > 0) == (ratio > 1)


def test_image_of_the_wanted_size_keeps_its_levels():
    levels = np.asarray(create_image())
    filtered = resize_image(levels.astype(np.float32), 32)
    for image in (levels, tf.constant(levels)):
        found = resize_image(image, 32)
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(found, levels)
        np.testing.assert_array_equal(found, filtered)
