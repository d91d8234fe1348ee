"""Decodes and resizes images, identically for training, evaluation and serving."""

import tensorflow as tf

_JPEG, _PNG, _BMP = b"\xff\xd8\xff", b"\x89PNG", b"BM"


def _starts_with(contents: tf.Tensor, prefix: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(contents, 0, len(prefix)), prefix)


def _is_webp(contents: tf.Tensor) -> tf.Tensor:
    kind = tf.strings.substr(contents, 8, 4)
    return _starts_with(contents, b"RIFF") & tf.equal(kind, b"WEBP")


def _three_channels(image: tf.Tensor) -> tf.Tensor:
    """Converts grey or RGBA to RGB; the alpha channel is dropped."""
    return tf.cond(
        tf.shape(image)[-1] < 3,
        lambda: tf.repeat(image[..., :1], 3, axis=-1),
        lambda: image[..., :3],
    )


def _decode(contents: tf.Tensor, name: tf.Tensor | str) -> tf.Tensor:
    """Decodes a JPEG, PNG, BMP or WebP file to uint8 [H, W, 3]."""
    long_enough = tf.strings.length(contents) >= 12
    padded = tf.where(long_enough, contents, tf.strings.join([contents, "." * 12]))
    kinds = [
        (_starts_with(padded, _JPEG), lambda: _jpeg(contents)),
        (
            _starts_with(padded, _PNG),
            lambda: tf.io.decode_png(contents, channels=3),
        ),
        (
            _starts_with(padded, _BMP),
            lambda: _three_channels(tf.io.decode_bmp(contents)),
        ),
        (
            _is_webp(padded),
            # The first frame of an animation.
            lambda: tf.io.decode_webp(contents, channels=3)[0],
        ),
    ]
    index = tf.constant(len(kinds))
    for number, (matches, _) in enumerate(kinds):
        index = tf.where(matches, number, index)

    def unknown() -> tf.Tensor:
        message = tf.strings.join(
            ["The image ", name, " must be a valid JPEG, PNG, BMP or WebP."]
        )
        with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
            return tf.zeros([1, 1, 3], tf.uint8)

    image = tf.switch_case(index, [decode for _, decode in kinds] + [unknown])
    return tf.ensure_shape(image, [None, None, 3])


def _jpeg(contents: tf.Tensor) -> tf.Tensor:
    """Decodes as PIL does; TensorFlow's default transform differs by up to 4 levels."""
    return tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")


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
    side = [image_size, image_size]
    # [..., S, S, 3]
    resized = tf.image.resize(image, side, method="bilinear", antialias=True)
    levels = tf.clip_by_value(tf.round(resized), 0.0, 255.0)
    return tf.ensure_shape(levels, (*image.shape[:-3], *side, 3))


def decode_image(
    contents: tf.Tensor, image_size: int, name: tf.Tensor | str = ""
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

    Returns:
        float32 [S, S, 3], RGB, integers 0..255.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be decoded.
    """
    return resize_image(_decode(contents, name), image_size)
