"""TensorFlow's errors of broken media, in words for a user."""

import contextlib
import pathlib
import re
from collections.abc import Iterator, Sequence

import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data.layout import Pair
from advance_tf.features.image import decode_image
from advance_tf.features.sound import recording_from_bytes

_OUR_RULE = re.compile(
    r"(The (?:sound|image) .*? must be a whole .*?\.)(?=['\"\s\]]|$)"
)
# The node of the graph and that of the dataset may stand before the path.
_MISSING = re.compile(
    r"^(?:\{\{.*?\}\} )?(?:Error in user-defined .*? Iterator::\S+ )?"
    r"(.+); No such file or directory",
    re.MULTILINE,
)
_MEDIA_ERRORS = (tf.errors.InvalidArgumentError, tf.errors.NotFoundError)


@contextlib.contextmanager
def media_errors(
    pairs: Sequence[Pair] = (),
    data_dir: str | pathlib.Path = "",
    features: FeatureConfig | None = None,
    *,
    images: bool = True,
) -> Iterator[None]:
    """Turns TensorFlow's errors of reading and decoding into ValueErrors.

    TensorFlow's decoders do not name the file; given the pairs, each is decoded
    again by itself until one fails.

    Args:
        pairs: what was being read.
        data_dir: folder of the data set.
        features: how it was decoded; None searches for nothing.
        images: whether images were read too, or sounds alone.

    Raises:
        ValueError: a file is missing or cannot be decoded; it is named.
    """
    try:
        yield
    except _MEDIA_ERRORS as error:
        found = None
        if features is not None and not _OUR_RULE.search(error.message):
            found = find_broken(pairs, data_dir, features, images=images)
        raise ValueError(found or readable(error)) from error


def find_broken(
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    *,
    images: bool = True,
) -> str | None:
    """What is wrong with the first pair that cannot be decoded.

    Args:
        pairs: to look at.
        data_dir: folder of the data set.
        features: how to decode.
        images: look at the images too, not at the sounds alone.

    Returns:
        A sentence with the path, or None when every pair can be decoded.
    """
    root = pathlib.Path(data_dir)
    for pair in pairs:
        path = str(root / pair.sound)
        try:
            recording_from_bytes(tf.io.read_file(path), features, path)
            if images:
                path = str(root / pair.image)
                decode_image(tf.io.read_file(path), features.image_size, path)
        except tf.errors.NotFoundError as error:
            return readable(error)
        except _MEDIA_ERRORS as error:
            return f"{path} cannot be read: {readable(error)}"
    return None


def readable(error: tf.errors.OpError) -> str:
    """The sentence of an error that tells a user what is wrong.

    Args:
        error: of reading or decoding.

    Returns:
        One sentence; the first line of the message where it is none of ours.
    """
    match = _OUR_RULE.search(error.message)
    if match:
        return f"{match.group(1)} Replace it, or leave the pair out."
    missing = _MISSING.search(error.message)
    if missing:
        return (
            f"The file {missing.group(1)} does not exist. Give the folder of the data "
            "set with --data_dir."
        )
    return error.message.split("\n")[0]
