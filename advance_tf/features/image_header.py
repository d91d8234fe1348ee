"""The headers of images, read as TensorFlow operations: format, form and size.

TensorFlow's decoders read JPEG, PNG and WebP as other libraries do. Its decoder of BMP
reads 24 and 32 bits, and the indices of a palette of 8 bits; other forms fail with a
message about another subject, or give other colours. `form_problem` names them before
they are decoded.
"""

import tensorflow as tf

FORMATS = "JPEG, PNG, BMP or WebP"
_JPEG, _PNG, _BMP = b"\xff\xd8\xff", b"\x89PNG", b"BM"
_CONVERTS = "which `advance prepare` converts"
# First bytes of other formats, and of files that hold no image.
_OTHERS = {
    b"GIF8": f"it is a GIF file, {_CONVERTS}",
    b"II*\0": f"it is a TIFF file, {_CONVERTS}",
    b"MM\0*": f"it is a TIFF file, {_CONVERTS}",
    b"II+\0": f"it is a BigTIFF file, {_CONVERTS}",
    b"\0\0\0\x0cjP": f"it is a JPEG 2000 file, {_CONVERTS}",
    b"\xff\x4f\xff\x51": f"it is a JPEG 2000 file, {_CONVERTS}",
    b"version http": "it is a pointer of Git LFS; get the image with `git lfs pull`",
    b"<": "it is a page of HTML or XML; download the image again",
}
# Bytes that hold the sizes of all formats but JPEG, and the masks of a BMP.
_HEAD_BYTES = 66
# Larger sides than any decoder accepts, whose product fits in int64.
_LARGEST_SIDE = 1 << 20
# Sizes of the headers of Windows, which the palette follows. Older ones of OS/2 have
# other fields.
_BMP_HEADER_SIZES = (40, 52, 56, 108, 124)
_BMP_INFO = 14
# Bits of a pixel and compression that TensorFlow's decoder reads: none, and masks.
_BMP_FORMS = ((8, 0), (24, 0), (32, 0), (32, 3))
# Masks of red, green and blue in the order of the decoder.
_BMP_MASKS = (0xFF0000, 0xFF00, 0xFF)
_BMP_COMPRESSIONS = {1: "RLE8", 2: "RLE4", 4: "JPEG", 5: "PNG"}
_WEBP_ANIMATION = 2


def _head(contents: tf.Tensor) -> tf.Tensor:
    """The first bytes of a file, int64 [_HEAD_BYTES]; zeros follow a shorter file."""
    head = tf.io.decode_raw(contents, tf.uint8, fixed_length=_HEAD_BYTES)
    return tf.cast(head, tf.int64)


def _little(head: tf.Tensor, start: int, width: int) -> tf.Tensor:
    """A number of `width` bytes, the lower byte first, int64."""
    weights = tf.constant([1 << 8 * place for place in range(width)], tf.int64)
    return tf.reduce_sum(head[start : start + width] * weights)


def image_format(contents: tf.Tensor) -> tf.Tensor:
    """The format of an image from its first bytes.

    >>> int(image_format(tf.constant(b"BM")))
    2

    Args:
        contents: string scalar, the bytes of a file.

    Returns:
        int32 scalar: 0 for JPEG, 1 PNG, 2 BMP, 3 WebP, 4 for another format.
    """
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

    def lossy() -> tf.Tensor:
        # The sides in 14 bits each; the two bits above are a scale.
        return tf.stack([_little(head, start, 2) % (1 << 14) for start in (28, 26)])

    def lossless() -> tf.Tensor:
        # The sides minus 1 in 14 bits each.
        bits = _little(head, 21, 4)
        height, width = bits // (1 << 14) % (1 << 14), bits % (1 << 14)
        return tf.stack([height + 1, width + 1])

    def extended() -> tf.Tensor:
        # The sides minus 1 in 24 bits each.
        return tf.stack([_little(head, 27, 3) + 1, _little(head, 24, 3) + 1])

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
    head = _head(contents)
    readers = [
        lambda: _jpeg_size(contents),
        lambda: _png_size(head),
        lambda: _bmp_size(head),
        lambda: _webp_size(head),
        lambda: tf.zeros([2], tf.int64),
    ]
    return tf.ensure_shape(tf.switch_case(image_format(contents), readers), [2])


def _bmp_problem(head: tf.Tensor) -> tf.Tensor:
    """Why a BMP is not read, "" for one that is."""
    info_bytes, bits = _little(head, _BMP_INFO, 4), _little(head, 28, 2)
    compression = _little(head, 30, 4)
    is_known = tf.reduce_any(info_bytes == tf.constant(_BMP_HEADER_SIZES, tf.int64))
    forms = tf.constant(_BMP_FORMS, tf.int64)
    is_form = tf.reduce_any(
        tf.reduce_all(forms == tf.stack([bits, compression]), axis=1)
    )
    masks = tf.stack([_little(head, start, 4) for start in (54, 58, 62)])
    in_order = tf.reduce_all(masks == tf.constant(_BMP_MASKS, tf.int64))
    names = tf.strings.as_string(bits)
    for code, name in _BMP_COMPRESSIONS.items():
        text = tf.strings.join([names, f" with the compression {name}"])
        names = tf.where(compression == code, text, names)
    bits_text = tf.strings.join(["it is a BMP of the bits ", names, f", {_CONVERTS}"])
    problem = tf.where(
        (compression == 3) & ~in_order,
        "it is a BMP with its colours in another order; save it as PNG",
        "",
    )
    problem = tf.where(is_form, problem, bits_text)
    return tf.where(
        is_known, problem, f"it is a BMP with a header of OS/2 or none, {_CONVERTS}"
    )


def _webp_problem(head: tf.Tensor) -> tf.Tensor:
    """Why a WebP is not read, "" for one that is."""
    # Bit 1 of the flags of a "VP8X" chunk.
    is_animated = (head[15] == ord("X")) & (head[20] // _WEBP_ANIMATION % 2 == 1)
    return tf.where(is_animated, f"it is an animated WebP, {_CONVERTS}", "")


def _other_problem(contents: tf.Tensor) -> tf.Tensor:
    """What a file of another format is."""
    problem = tf.constant("it is in another format")
    for prefix, text in _OTHERS.items():
        # A shorter file has none of the prefixes.
        size = tf.minimum(tf.strings.length(contents), len(prefix))
        start = tf.strings.substr(contents, 0, size)
        problem = tf.where(tf.equal(start, prefix), text, problem)
    return tf.where(tf.equal(contents, ""), "the file is empty", problem)


def form_problem(contents: tf.Tensor) -> tf.Tensor:
    """Names the form of an image that is not read, from its header.

    >>> form_problem(tf.constant(b"GIF89a")).numpy()
    b'it is a GIF file, which `advance prepare` converts'

    Args:
        contents: string scalar, the bytes of a file.

    Returns:
        string scalar: what the file is; "" for a form that is read.
    """
    head = _head(contents)
    readers = [
        lambda: tf.constant(""),
        lambda: tf.constant(""),
        lambda: _bmp_problem(head),
        lambda: _webp_problem(head),
        lambda: _other_problem(contents),
    ]
    return tf.switch_case(image_format(contents), readers)


def bmp_palette(contents: tf.Tensor) -> tf.Tensor:
    """Reads the palette of a BMP of 8 bits.

    Args:
        contents: string scalar, the bytes of a BMP that `form_problem` accepts.

    Returns:
        uint8 [256, 3], RGB; black beyond the colours of the file.
    """
    head = _head(contents)
    start = _BMP_INFO + _little(head, _BMP_INFO, 4)
    stated, pixels = _little(head, 46, 4), _little(head, 10, 4)
    colours = tf.where(stated > 0, stated, 256)
    colours = tf.clip_by_value(tf.minimum(colours, (pixels - start) // 4), 0, 256)
    length = tf.cast(tf.strings.length(contents), tf.int64)
    body = tf.strings.substr(contents, tf.minimum(start, length), 4 * colours)
    # [256, 4], blue, green, red and an unused byte.
    entries = tf.reshape(
        tf.io.decode_raw(body, tf.uint8, fixed_length=4 * 256), [256, 4]
    )
    return entries[:, 2::-1]


def has_too_many_pixels(size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Whether an image has more than `max_pixels`, bool scalar.

    Args:
        size: int64 [2], result of `read_image_size`.
        max_pixels: largest number of pixels.
    """
    return tf.reduce_prod(tf.minimum(size, _LARGEST_SIDE)) > max_pixels
