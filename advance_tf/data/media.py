"""TensorFlow's errors of broken media, in words for a user."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

_PATH_AND_RULE = re.compile(
    r"(The (?:sound|image) .*? must be a whole .*?\.)(?=['\"\s\]])"
)


@contextlib.contextmanager
def media_errors() -> Iterator[None]:
    """Turns TensorFlow's errors of reading and decoding into ValueErrors.

    Raises:
        ValueError: a file is missing or cannot be decoded; it is named.
    """
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        raise ValueError(readable(error)) from error


def readable(error: tf.errors.OpError) -> str:
    """The sentence of an error that tells a user which file is at fault.

    Args:
        error: of reading or decoding.

    Returns:
        One sentence; the whole message where it is none of ours.
    """
    text = error.message
    match = _PATH_AND_RULE.search(text)
    if match:
        return f"{match.group(1)} Replace it, or leave the pair out."
    return text.split("\n")[0]
