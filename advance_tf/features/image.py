"""Encoded image → [S, S, 3], as training, evaluation and serving all see it."""

import tensorflow as tf

_JPEG, _PNG, _BMP = b"\xff\xd8\xff", b"\x89PNG", b"BM"


def _starts_with(contents: tf.Tensor, prefix: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(contents, 0, len(prefix)), prefix)


def _is_webp(contents: tf.Tensor) -> tf.Tensor:
    kind = tf.strings.substr(contents, 8, 4)
    return _starts_with(contents, b"RIFF") & tf.equal(kind, b"WEBP")


def _three_channels(image: tf.Tensor) -> tf.Tensor:
    """RGB from grey or from RGB with an opacity, which is dropped."""
    return tf.cond(
        tf.shape(image)[-1] < 3,
        lambda: tf.repeat(image[..., :1], 3, axis=-1),
        lambda: image[..., :3],
    )


def _decode(contents: tf.Tensor, name) -> tf.Tensor:
    """uint8 [H, W, 3] of JPEG, PNG, BMP or WebP."""
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
            # Of an animation, the first frame.
            lambda: tf.io.decode_webp(contents, channels=3)[0],
        ),
    ]
    index = tf.constant(len(kinds))
    for number, (matches, _) in enumerate(kinds):
        index = tf.where(matches, number, index)

    def unknown():
        message = tf.strings.join(
            ["The image ", name, " must be a whole JPEG, PNG, BMP or WebP; it is none."]
        )
        with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
            return tf.zeros([1, 1, 3], tf.uint8)

    image = tf.switch_case(index, [decode for _, decode in kinds] + [unknown])
    return tf.ensure_shape(image, [None, None, 3])


def _jpeg(contents: tf.Tensor) -> tf.Tensor:
    """As PIL decodes it; the default transform is off by up to 4 levels."""
    return tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")


def resize_image(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """A square image, bilinear with antialiasing, rounded to whole levels.

    Whole levels, as PIL gives them to the authors' code, make the cache of
    decoded images and the uint8 input of an edge model exact.

    Args:
        image: [..., H, W, 3], levels 0..255, of one image or a batch.
        image_size: S in pixels.

    Returns:
        float32 [..., S, S, 3], whole numbers 0..255; the aspect ratio is not
        kept.
    """
    side = [image_size, image_size]
    resized = tf.image.resize(image, side, method="bilinear", antialias=True)
    levels = tf.clip_by_value(tf.round(resized), 0.0, 255.0)
    return tf.ensure_shape(levels, (*image.shape[:-3], *side, 3))


def decode_image(contents: tf.Tensor, image_size: int, name="") -> tf.Tensor:
    """The image of a JPEG, PNG, BMP or WebP file.

    EXIF rotation is not applied: aerial images have no upright.

    Args:
        contents: string scalar, the bytes of the file.
        image_size: S in pixels.
        name: of the file, for the error.

    Returns:
        float32 [S, S, 3], RGB, whole numbers 0..255.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be decoded.
    """
    return resize_image(_decode(contents, name), image_size)
