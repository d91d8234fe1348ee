"""Decodes and resizes images, identically for training, evaluation and serving."""

import functools

import tensorflow as tf

_JPEG, _PNG, _BMP = b"\xff\xd8\xff", b"\x89PNG", b"BM"


_FORMATS = "JPEG, PNG, BMP or WebP"
# Bytes that hold the sizes of all formats but JPEG.
_HEAD_BYTES = 32
# Larger sides than any decoder accepts, whose product fits in int64.
_LARGEST_SIDE = 1 << 20
# Fractions of its size at which a JPEG can be decoded.
_JPEG_RATIOS = (1, 2, 4, 8)


def _format(contents: tf.Tensor) -> tf.Tensor:
    """0 for JPEG, 1 PNG, 2 BMP, 3 WebP, 4 for another format, int32."""
    start = tf.strings.substr(contents, 0, 12)
    # The fewer bytes of a shorter file are those of no format.
    start = tf.strings.join([start, "." * 12])

    def begins_with(prefix: bytes) -> tf.Tensor:
        return tf.equal(tf.strings.substr(start, 0, len(prefix)), prefix)

    is_webp = tf.equal(tf.strings.substr(start, 8, 4), b"WEBP")
    matches = [
        begins_with(_JPEG),
        begins_with(_PNG),
        begins_with(_BMP),
        begins_with(b"RIFF") & is_webp,
        tf.constant(True),
    ]
    return tf.argmax(tf.stack(matches), output_type=tf.int32)


def _jpeg_size(contents: tf.Tensor) -> tf.Tensor:
    return tf.image.extract_jpeg_shape(contents, output_type=tf.int64)[:2]


def _png_size(head: tf.Tensor) -> tf.Tensor:
    # The first chunk, IHDR, begins with width and height, the upper byte first.
    weights = tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64)
    sides = tf.reduce_sum(tf.reshape(head[16:24], [2, 4]) * weights, axis=1)
    return sides[::-1]


def _bmp_size(head: tf.Tensor) -> tf.Tensor:
    weights = tf.constant([1, 1 << 8, 1 << 16, 1 << 24], tf.int64)
    sides = tf.reduce_sum(tf.reshape(head[18:26], [2, 4]) * weights, axis=1)
    # The height of an image that begins with its upper row is negative.
    height = tf.where(sides[1] < 1 << 31, sides[1], (1 << 32) - sides[1])
    return tf.stack([height, sides[0]])


def _webp_size(head: tf.Tensor) -> tf.Tensor:
    """Reads the size of a WebP file of any of its three kinds."""

    def number(start: int, width: int) -> tf.Tensor:
        weights = tf.constant([1 << 8 * place for place in range(width)], tf.int64)
        return tf.reduce_sum(head[start : start + width] * weights)

    def lossy() -> tf.Tensor:
        # The sides in 14 bits each; the two bits above are a scale.
        return tf.stack([number(start, 2) % (1 << 14) for start in (28, 26)])

    def lossless() -> tf.Tensor:
        # The sides minus 1 in 14 bits each.
        bits = number(21, 4)
        height, width = bits // (1 << 14) % (1 << 14), bits % (1 << 14)
        return tf.stack([height + 1, width + 1])

    def extended() -> tf.Tensor:
        # The sides minus 1 in 24 bits each.
        return tf.stack([number(27, 3) + 1, number(24, 3) + 1])

    # "VP8 ", "VP8L" or "VP8X".
    kind = head[15]
    index = tf.where(kind == ord("X"), 2, tf.where(kind == ord("L"), 1, 0))
    return tf.switch_case(index, [lossy, lossless, extended])


def read_image_size(contents: tf.Tensor) -> tf.Tensor:
    """Reads the size of an image from its header, without decoding it.

    >>> levels = tf.zeros([20, 30, 3], tf.uint8)
    >>> read_image_size(tf.io.encode_png(levels)).numpy().tolist()
    [20, 30]

    Args:
        contents: string scalar, the bytes of a JPEG, PNG, BMP or WebP file.

    Returns:
        int64 [2]: height and width; zeros for another format.

    Raises:
        tf.errors.InvalidArgumentError: the header of a JPEG is damaged.
    """
    # Zeros follow a shorter file.
    head = tf.io.decode_raw(contents, tf.uint8, fixed_length=_HEAD_BYTES)
    head = tf.cast(head, tf.int64)
    readers = [
        lambda: _jpeg_size(contents),
        lambda: _png_size(head),
        lambda: _bmp_size(head),
        lambda: _webp_size(head),
        lambda: tf.zeros([2], tf.int64),
    ]
    return tf.ensure_shape(tf.switch_case(_format(contents), readers), [2])


def has_too_many_pixels(size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Whether an image has more than `max_pixels`, bool scalar.

    Args:
        size: int64 [2], result of `read_image_size`.
        max_pixels: largest number of pixels.
    """
    return tf.reduce_prod(tf.minimum(size, _LARGEST_SIDE)) > max_pixels


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
        lambda: _three_channels(tf.io.decode_bmp(contents)),
        # [1, H, W, 3]; an animation is an error.
        lambda: tf.io.decode_webp(contents, channels=3)[0],
        # Never reached: another format raises an error before.
        lambda: tf.zeros([1, 1, 3], tf.uint8),
    ]
    image = tf.switch_case(_format(contents), decoders)
    return tf.ensure_shape(image, [None, None, 3])


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


def resize_image(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Resizes to a square, bilinear with antialiasing, and rounds to integers.

    Integers, which PIL returns in the authors' code too, make the cache of
    decoded images and the uint8 input of an edge model exact.

    >>> resize_image(tf.fill([1, 20, 30, 3], 7), 8).shape
    TensorShape([1, 8, 8, 3])

    Args:
        image: [..., H, W, 3], 0..255, one image or a batch.
        image_size: side S in pixels.

    Returns:
        float32 [..., S, S, 3], integers 0..255; the aspect ratio is not kept.
    """
    image = tf.convert_to_tensor(image)
    side = [image_size, image_size]

    def resize() -> tf.Tensor:
        # [..., S, S, 3]
        resized = tf.image.resize(image, side, method="bilinear", antialias=True)
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

    Returns:
        float32 [S, S, 3], RGB, integers 0..255.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be decoded or is larger.
    """
    size = read_image_size(contents)
    rule = ["The image ", name, f" must be a valid {_FORMATS}"]
    sides = [tf.strings.as_string(side) for side in tf.unstack(size)]
    too_large = [
        f" of at most {max_pixels} pixels; received ",
        *(sides[1], " x ", sides[0], "."),
    ]
    known = tf.reduce_any(size > 0)
    allowed = ~has_too_many_pixels(size, max_pixels)
    checks = [
        tf.debugging.Assert(known, [tf.strings.join([*rule, "."])]),
        tf.debugging.Assert(allowed, [tf.strings.join([*rule, *too_large])]),
    ]
    with tf.control_dependencies(checks):
        contents = tf.identity(contents)
    levels = _decode_levels(contents, size, image_size if jpeg_scaling else None)
    return resize_image(levels, image_size)
