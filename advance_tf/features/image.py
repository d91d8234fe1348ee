"""Decodes and resizes images, identically for training, evaluation and serving."""

import functools

import tensorflow as tf

from advance_tf.features.image_header import (
    FORMATS,
    bmp_palette,
    form_problem,
    has_too_many_pixels,
    image_format,
    read_image_size,
)

# Fractions of its size at which a JPEG can be decoded.
_JPEG_RATIOS = (1, 2, 4, 8)


def _three_channels(image: tf.Tensor) -> tf.Tensor:
    """Converts grey or RGBA to RGB; the alpha channel is dropped."""
    return tf.cond(
        tf.shape(image)[-1] < 3,
        lambda: tf.repeat(image[..., :1], 3, axis=-1),
        lambda: image[..., :3],
    )


def _decode_levels(
    contents: tf.Tensor, size: tf.Tensor, wanted_side: int | None
) -> tf.Tensor:
    """Decodes a file of a known format and size to uint8 [H, W, 3]."""
    decoders = [
        lambda: _decode_jpeg(contents, size, wanted_side),
        lambda: tf.io.decode_png(contents, channels=3),
        lambda: _decode_bmp(contents),
        # [1, H, W, 3 or 4]; the header of an animation is refused before.
        lambda: tf.io.decode_webp(contents)[0, ..., :3],
        # Never reached: another format raises an error before.
        lambda: tf.zeros([1, 1, 3], tf.uint8),
    ]
    image = tf.switch_case(image_format(contents), decoders)
    return tf.ensure_shape(image, [None, None, 3])


def _decode_bmp(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a BMP of 24 or 32 bits, or of 8 bits with a palette."""
    # [H, W, 1, 3 or 4]: one channel holds indices of colours.
    image = tf.io.decode_bmp(contents)
    return tf.cond(
        tf.shape(image)[-1] == 1,
        lambda: tf.gather(bmp_palette(contents), tf.cast(image[..., 0], tf.int32)),
        lambda: _three_channels(image),
    )


def _decode_jpeg(
    contents: tf.Tensor, size: tf.Tensor, wanted_side: int | None
) -> tf.Tensor:
    """Decodes a JPEG, for `wanted_side` at the smallest size that is not below it."""

    def at(ratio: int) -> tf.Tensor:
        # As PIL does; TensorFlow's default transform differs by up to 4 levels.
        return tf.io.decode_jpeg(
            contents, channels=3, dct_method="INTEGER_ACCURATE", ratio=ratio
        )

    if wanted_side is None:
        return at(1)
    # Number of larger ratios that leave at least the wanted side.
    limits = tf.constant([wanted_side * ratio for ratio in _JPEG_RATIOS[1:]], tf.int64)
    fitting = tf.reduce_sum(tf.cast(tf.reduce_min(size[:2]) >= limits, tf.int32))
    return tf.switch_case(
        fitting, [functools.partial(at, ratio) for ratio in _JPEG_RATIOS]
    )


def resize_image(
    image: tf.Tensor, image_size: int, method: str = "bicubic"
) -> tf.Tensor:
    """Resizes to a square with antialiasing and rounds to integers.

    Integers, which PIL returns in the authors' code too, make the cache of
    decoded images and the uint8 input of an edge model exact. The bicubic filter
    is that of Keys with a = -0.5, as in PIL, and its overshoot is clipped.

    >>> resize_image(tf.fill([1, 20, 30, 3], 7), 8).shape
    TensorShape([1, 8, 8, 3])

    Args:
        image: [..., H, W, 3], 0..255, one image or a batch.
        image_size: side S in pixels.
        method: "bicubic" or "bilinear", whose filter grows with the reduction, or
            "nearest", one pixel for each.

    Returns:
        float32 [..., S, S, 3], integers 0..255; the aspect ratio is not kept.

    Source: PIL's `Image.resize`, whose default is bicubic since Pillow 7 and was
    nearest before; the authors' code does not set it.
    """
    image = tf.convert_to_tensor(image)
    side = [image_size, image_size]

    def resize() -> tf.Tensor:
        # [..., S, S, 3]; antialiasing does not concern "nearest".
        resized = tf.image.resize(image, side, method=method, antialias=True)
        resized = tf.cast(resized, tf.float32)
        return tf.clip_by_value(tf.round(resized), 0.0, 255.0)

    def keep() -> tf.Tensor:
        # The same levels: the filter has one coefficient, which is 1.
        return tf.cast(image, tf.float32)

    has_side = tf.reduce_all(tf.shape(image)[-3:-1] == side)
    is_integer = image.dtype.is_integer
    levels = tf.cond(has_side, keep, resize) if is_integer else resize()
    return tf.ensure_shape(levels, (*image.shape[:-3], *side, 3))


def decode_image(
    contents: tf.Tensor,
    image_size: int,
    name: tf.Tensor | str = "",
    *,
    jpeg_scaling: bool = False,
    max_pixels: int = 64_000_000,
    method: str = "bicubic",
) -> tf.Tensor:
    """Decodes a JPEG, PNG, BMP or WebP file and resizes the image.

    EXIF rotation is not applied: aerial images have no upright orientation.

    >>> levels = tf.fill([20, 30, 3], tf.constant(200, tf.uint8))
    >>> image = decode_image(tf.io.encode_png(levels), 8)
    >>> image.shape, float(image[0, 0, 0])
    (TensorShape([8, 8, 3]), 200.0)

    Args:
        contents: string scalar, the bytes of the file.
        image_size: side S in pixels.
        name: name of the file, for the error.
        jpeg_scaling: decode a JPEG at 1/2, 1/4 or 1/8 of its size where both sides
            are then at least S. The decoder computes the smaller image from fewer
            coefficients, which is faster and gives other levels.
        max_pixels: largest number of pixels; it is compared with the header before
            memory is allocated.
        method: interpolation, see `resize_image`.

    Returns:
        float32 [S, S, 3], RGB, integers 0..255.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be decoded or is larger.
    """
    rule = ["The image ", name, f" must be a valid {FORMATS}"]
    problem = form_problem(contents)
    is_read = tf.equal(problem, "")
    unread = tf.debugging.Assert(
        is_read, [tf.strings.join([*rule, "; ", problem, "."])]
    )
    with tf.control_dependencies([unread]):
        size = read_image_size(contents)
    sides = [tf.strings.as_string(side) for side in tf.unstack(size)]
    too_large = [
        f" of at most {max_pixels} pixels; received ",
        *(sides[1], " x ", sides[0], "."),
    ]
    allowed = ~has_too_many_pixels(size, max_pixels)
    checks = [tf.debugging.Assert(allowed, [tf.strings.join([*rule, *too_large])])]
    with tf.control_dependencies(checks):
        contents = tf.identity(contents)
    levels = _decode_levels(contents, size, image_size if jpeg_scaling else None)
    return resize_image(levels, image_size, method)
