"""Readable errors for images and sounds that TensorFlow cannot read."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data.pairing import IMAGE_ENDINGS, Pair
from advance_tf.data.shards import media_path
from advance_tf.features.errors import (
    MediaError,
    media_problem,
    names_its_file,
    unreadable,
)
from advance_tf.features.file_decoders import image_decoder, sound_decoder
from advance_tf.features.frontend import Frontend
from advance_tf.features.media_files import damaged_record
from advance_tf.files import visible_files

_MEDIA_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    # A record of a shard.
    tf.errors.DataLossError,
)


@contextlib.contextmanager
def media_errors(
    pairs: Sequence[Pair] = (),
    data_dir: str | pathlib.Path = "",
    features: FeatureConfig | None = None,
    *,
    images: bool = True,
    image_dir: str | pathlib.Path = "",
) -> Iterator[None]:
    """Converts TensorFlow's errors of reading and decoding to ValueError.

    TensorFlow's decoders do not name the file. If `features` is given, the pairs are
    decoded again one by one to find it.

    Args:
        pairs: the pairs that are read.
        data_dir: folder of the data set.
        features: settings of image and sound; None does not search for the file.
        images: whether images are read too, or only sounds.
        image_dir: folder whose images are read, at any depth, if they have no pairs.

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
            if image_dir and not found:
                found = _broken_image(image_dir, features)
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
    decode_image, decode_sound = image_decoder(features), sound_decoder(features)
    for pair in pairs:
        path = sound = media_path(root, pair.sound)
        try:
            decode_sound(tf.constant(path), tf.constant(0.5))
            if images:
                path = media_path(root, pair.image)
                decode_image(tf.constant(path))
        except (tf.errors.NotFoundError, tf.errors.PermissionDeniedError) as error:
            return media_problem(error)
        except tf.errors.DataLossError:
            return damaged_record(path)
        except _MEDIA_ERRORS as error:
            if names_its_file(error):
                return media_problem(error)
            kind = "sound" if path == sound else "image"
            return unreadable(kind, path, media_problem(error))
    return None


def _broken_image(folder: str | pathlib.Path, features: FeatureConfig) -> str | None:
    """Finds the first image below a folder that cannot be decoded, as `find_broken`."""
    frontend = Frontend(features, normalized=False)
    for path, _ in visible_files(folder):
        is_image = os.path.splitext(path)[1].lower() in IMAGE_ENDINGS
        # Not a link to a missing file.
        if is_image and os.path.isfile(path):
            try:
                frontend.read_image(path)
            except MediaError as error:
                return str(error)
    return None
