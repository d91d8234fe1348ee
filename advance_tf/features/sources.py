"""Sources of an image or a sound: a path, the bytes of a file, or an array."""

import pathlib

import numpy as np

from advance_tf.features.errors import MediaError

ImageSource = str | pathlib.Path | bytes | np.ndarray
SoundSource = str | pathlib.Path | bytes | np.ndarray | tuple[np.ndarray, int]


def read_contents(source: object, kind: str) -> tuple[bytes, str]:
    """Reads the bytes of a file.

    Args:
        source: its path, or its bytes, which are returned unchanged.
        kind: "image" or "sound", for the error.

    Returns:
        The bytes; and the path, "(bytes)" without one.

    Raises:
        MediaError: the source is neither a path nor bytes.
        OSError: the file cannot be opened.

    >>> read_contents(b"RIFF", "sound")
    (b'RIFF', '(bytes)')
    """
    if isinstance(source, bytes):
        return source, "(bytes)"
    if isinstance(source, str | pathlib.Path):
        from advance_tf.features.media_files import read_media_bytes

        return read_media_bytes(str(source)), str(source)
    raise MediaError(
        f"The {kind} must be a path, bytes or an array; received "
        f"{type(source).__name__}. Convert it to one of these."
    )


def split_rate(
    source: SoundSource, rate_hz: int | None = None
) -> tuple[str | pathlib.Path | bytes | np.ndarray, int | None]:
    """Separates a sound from the rate that it is paired with.

    Args:
        source: a sound, or a pair of a sound and its rate in Hz.
        rate_hz: rate of a sound that is not a pair.

    Returns:
        The sound and its rate, which is None for a file, whose header states it.

    Raises:
        MediaError: the source is a tuple of another length.

    >>> split_rate(("a.wav", 16_000))
    ('a.wav', None)
    """
    if isinstance(source, tuple):
        if len(source) != 2:
            raise MediaError(
                "A sound with its rate must be a pair (array, rate_hz); received "
                f"a tuple of length {len(source)}. Pass the array and `rate_hz`."
            )
        source, rate_hz = source
    return source, rate_hz if isinstance(source, np.ndarray) else None


def check_image_array(image: np.ndarray) -> np.ndarray:
    """Validates an image array.

    Args:
        image: uint8 [H, W, 3], RGB, with at least one pixel.

    Returns:
        The same array.

    Raises:
        MediaError: the array has another shape or type, or is empty.

    >>> check_image_array(np.zeros((4, 6, 3), np.uint8)).shape
    (4, 6, 3)
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise MediaError(
            "An image array must be uint8 [H, W, 3], RGB; received "
            f"{image.dtype} {list(image.shape)}. Convert it, or pass the bytes of "
            "its file."
        )
    if not image.size:
        raise MediaError(
            "An image array must have at least one pixel; received "
            f"{list(image.shape)}. Pass a non-empty image."
        )
    return image
