"""Images of every form that common programs write, for comparisons with Pillow."""

import io
import itertools
import struct
import zlib

import numpy as np
from PIL import Image

SIDE = 32
_RNG = np.random.default_rng(0)
_X, _Y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
_WAVES = [128 + 100 * np.sin(_X / 9 + k) * np.cos(_Y / 7 - k) for k in range(3)]
LEVELS = np.clip(np.stack(_WAVES, -1) + _RNG.normal(0, 5, (SIDE, SIDE, 3)), 0, 255)
LEVELS = LEVELS.astype(np.uint8)
RGB = Image.fromarray(LEVELS)
_ALPHA = RGB.convert("RGBA")
_ALPHA.putalpha(Image.fromarray((_X * 8).astype(np.uint8)))
_EXIF = Image.Exif()
_EXIF[0x112] = 6


def _encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def random_bytes(*shape):
    """Random bytes of an array of this shape."""
    return _RNG.integers(0, 256, shape, np.uint8).tobytes()


def bmp(bits, pixels, *, size=(SIDE, SIDE), compression=0, masks=(), colours=0):
    """A BMP with a header of 40 bytes; `colours` of a palette."""
    entries = ((9 * k % 256, 255 - k, 5 * k % 256, 0) for k in range(colours))
    palette = bytes(itertools.chain.from_iterable(entries))
    between = struct.pack(f"<{len(masks)}I", *masks) + palette
    fields = (40, *size, 1, bits, compression, len(pixels), 2835, 2835, colours, 0)
    start = 14 + 40 + len(between)
    head = struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    return b"BM" + head + struct.pack("<IiiHHIIiiII", *fields) + between + pixels


def _os2_bmp():
    head = struct.pack("<IHHI", 26 + SIDE * SIDE * 3, 0, 0, 26)
    info = struct.pack("<IHHHH", 12, SIDE, SIDE, 1, 24)
    return b"BM" + head + info + random_bytes(SIDE, SIDE, 3)


def png(depth, kind, rows, *, interlaced=0):
    """A PNG of SIDE x SIDE of a bit depth and a colour type."""

    def chunk(name, body):
        check = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + check

    fields = struct.pack(">IIBBBBB", SIDE, SIDE, depth, kind, 0, 0, interlaced)
    body = chunk(b"IHDR", fields) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _rows(width):
    """Rows of random bytes, each with filter 0."""
    return b"".join(b"\0" + random_bytes(width) for _ in range(SIDE))


def _adam7():
    rows = b""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4))
    for x, y, dx, dy in (*passes, (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        rows += b"".join(b"\0" + row[x::dx].tobytes() for row in LEVELS[y::dy])
    return png(8, 2, rows, interlaced=1)


def _animation(kind):
    return _encoded(RGB, kind, save_all=True, append_images=[RGB.rotate(90)])


_BGRA, _RGBA = (0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000)
_RUNS = b"".join(bytes([SIDE, k * 7, 0, 0]) for k in range(SIDE)) + b"\0\1"
# What is read: name → bytes.
READ = {
    "JPEG": _encoded(RGB, "JPEG", quality=90),
    "JPEG 4:4:4": _encoded(RGB, "JPEG", subsampling=0),
    "JPEG 4:2:2": _encoded(RGB, "JPEG", subsampling=1),
    "JPEG progressive": _encoded(RGB, "JPEG", progressive=True),
    "JPEG grey": _encoded(RGB.convert("L"), "JPEG"),
    "JPEG CMYK": _encoded(RGB.convert("CMYK"), "JPEG"),
    "JPEG RGB": _encoded(RGB, "JPEG", keep_rgb=True),
    "JPEG with restarts": _encoded(RGB, "JPEG", restart_marker_rows=1),
    "JPEG rotated by EXIF": _encoded(RGB, "JPEG", exif=_EXIF),
    **{f"PNG {m}": _encoded(RGB.convert(m), "PNG") for m in ("RGB", "L", "LA", "1")},
    "PNG RGBA": _encoded(_ALPHA, "PNG"),
    "PNG palette": _encoded(RGB.convert("P"), "PNG"),
    "PNG palette of 4 bits": _encoded(RGB.quantize(16), "PNG", bits=4),
    "PNG palette of 2 bits": _encoded(RGB.quantize(4), "PNG", bits=2),
    "PNG palette, transparent": _encoded(RGB.quantize(16), "PNG", transparency=0),
    "PNG RGB, transparent": _encoded(RGB, "PNG", transparency=(1, 2, 3)),
    "PNG grey of 2 bits": png(2, 0, _rows(SIDE // 4)),
    "PNG grey of 4 bits": png(4, 0, _rows(SIDE // 2)),
    "PNG RGB of 16 bits": png(16, 2, _rows(SIDE * 6)),
    "PNG RGBA of 16 bits": png(16, 6, _rows(SIDE * 8)),
    "PNG LA of 16 bits": png(16, 4, _rows(SIDE * 4)),
    "PNG interlaced": _adam7(),
    "PNG animated": _animation("PNG"),
    "BMP RGB": _encoded(RGB, "BMP"),
    "BMP RGBA": _encoded(_ALPHA, "BMP"),
    "BMP grey": _encoded(RGB.convert("L"), "BMP"),
    "BMP palette": _encoded(RGB.convert("P"), "BMP"),
    "BMP palette of 256": bmp(8, random_bytes(SIDE, SIDE), colours=256),
    "BMP palette, upper row first": bmp(
        8, random_bytes(SIDE, SIDE), size=(SIDE, -SIDE), colours=256
    ),
    "BMP palette of 16 in 8 bits": bmp(
        8, bytes(k % 16 for k in range(1024)), colours=16
    ),
    "BMP 24, upper row first": bmp(24, random_bytes(SIDE, SIDE, 3), size=(SIDE, -SIDE)),
    "BMP 24, width 33": bmp(24, random_bytes(SIDE, 100), size=(33, SIDE)),
    "BMP 32 with masks": bmp(
        32, random_bytes(SIDE, SIDE, 4), compression=3, masks=_BGRA
    ),
    "WebP": _encoded(RGB, "WEBP", quality=80),
    "WebP grey": _encoded(RGB.convert("L"), "WEBP", quality=80),
    "WebP lossless": _encoded(RGB, "WEBP", lossless=True),
    "WebP with alpha": _encoded(_ALPHA, "WEBP", quality=80),
    "WebP lossless with alpha": _encoded(_ALPHA, "WEBP", lossless=True, exact=True),
    "WebP with EXIF": _encoded(RGB, "WEBP", exif=_EXIF),
}
# What is refused by name: name → bytes, the word in the message.
REFUSED = {
    "BMP 1": (_encoded(RGB.convert("1"), "BMP"), "a BMP of the bits 1,"),
    "BMP 4": (bmp(4, random_bytes(SIDE, 16), colours=16), "a BMP of the bits 4,"),
    "BMP 16": (bmp(16, random_bytes(SIDE, 64)), "a BMP of the bits 16,"),
    "BMP 16 with masks": (
        bmp(16, random_bytes(SIDE, 64), compression=3, masks=(0xF800, 0x7E0, 0x1F)),
        "a BMP of the bits 16,",
    ),
    "BMP RLE8": (
        bmp(8, _RUNS, compression=1, colours=256),
        "a BMP of the bits 8 with the compression RLE8,",
    ),
    "BMP of OS/2": (_os2_bmp(), "a BMP with a header of OS/2"),
    "WebP animated": (_animation("WEBP"), "an animated WebP"),
    "GIF": (_encoded(RGB, "GIF"), "a GIF file"),
    "TIFF": (_encoded(RGB, "TIFF"), "a TIFF file"),
    "JPEG 2000": (_encoded(RGB, "JPEG2000"), "a JPEG 2000 file"),
}
# Refused too; Pillow reads none of them.
BROKEN = {
    "BMP 32 with other masks": (
        bmp(32, random_bytes(SIDE, SIDE, 4), compression=3, masks=_RGBA),
        "a BMP with its colours in another order",
    ),
    "pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "page of HTML": (b"<!DOCTYPE html><html></html>", "a page of HTML"),
    "text": (b"no image", "in another format"),
    "empty": (b"", "the file is empty"),
}


def pillow_levels(contents):
    """The levels of an image in Pillow, uint8 [H, W, 3]; its alpha is dropped."""
    return np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))
