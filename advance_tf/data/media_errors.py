"""Readable errors for images and sounds that TensorFlow cannot read."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data.pairing import Pair
from advance_tf.features.errors import media_problem, names_its_file
from advance_tf.features.frontend import Frontend

_MEDIA_ERRORS = (tf.errors.InvalidArgumentError, tf.errors.NotFoundError)


@contextlib.contextmanager
def media_errors(
    pairs: Sequence[Pair] = (),
    data_dir: str | pathlib.Path = "",
    features: FeatureConfig | None = None,
    *,
    images: bool = True,
) -> Iterator[None]:
    """Converts TensorFlow's errors of reading and decoding to ValueError.

    TensorFlow's decoders do not name the file. If `features` is given, the pairs are
    decoded again one by one to find it.

    Args:
        pairs: the pairs that are read.
        data_dir: folder of the data set.
        features: settings of image and sound; None does not search for the file.
        images: whether images are read too, or only sounds.

    Raises:
        ValueError: a file is missing or cannot be decoded; the message names it.

    Example:
        >>> with media_errors():
        ...     tf.io.read_file("missing.wav")
        Traceback (most recent call last):
        ValueError: The file missing.wav does not exist. ...
    """
    try:
        yield
    except _MEDIA_ERRORS as error:
        found = None
        if features is not None and not names_its_file(error):
            found = find_broken(pairs, data_dir, features, images=images)
        raise ValueError(found or media_problem(error)) from error


def find_broken(
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    *,
    images: bool = True,
) -> str | None:
    """Finds the first file that cannot be decoded.

    Args:
        pairs: the pairs to decode.
        data_dir: folder of the data set.
        features: settings of image and sound.
        images: decode the images too, not only the sounds.

    Returns:
        A sentence with the path and the reason; None if every file can be decoded.
    """
    root = pathlib.Path(data_dir)
    frontend = Frontend(features, normalized=False)
    for pair in pairs:
        path = str(root / pair.sound)
        try:
            frontend.decode_waveform(tf.io.read_file(path), name=path)
            if images:
                path = str(root / pair.image)
                frontend.decode_image(tf.io.read_file(path), path)
        except tf.errors.NotFoundError as error:
            return media_problem(error)
        except _MEDIA_ERRORS as error:
            return f"{path} cannot be read: {media_problem(error)}"
    return None
