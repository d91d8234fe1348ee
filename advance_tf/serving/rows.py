"""Encoded files in a batch, decoded row by row: a bad row fails alone."""

from collections.abc import Callable

import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features.image import decode_image
from advance_tf.features.sound import waveform_or_problem

OK = "ok"
_BAD_IMAGE = "the image must be a whole JPEG, PNG, BMP or WebP"
_BAD_SOUND = "the sound must be a whole WAV file: "


def _decode_rows(
    contents: tf.Tensor,
    decode: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    shape: tuple[int, ...],
    failure: str,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Values [B, *shape] and problems [B] of a batch of files.

    A graph cannot catch the error of an operator; a data set can leave out the
    elements that raise one. What is left out stays zero.
    """
    batch = tf.size(contents, out_type=tf.int64)

    def row(index, content):
        value, problem = decode(content)
        return index, value, problem

    decoded = (
        tf.data.Dataset.from_tensor_slices((tf.range(batch), contents))
        .map(row, num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    # A row past the end, so that there is one even when every file is bad.
    spare = tf.data.Dataset.from_tensors((batch, tf.zeros(shape), tf.constant("")))
    every = decoded.concatenate(spare).batch(batch + 1)
    indices, values, problems = every.get_single_element()
    places, rows = indices[:, None], batch + 1
    whole = tf.scatter_nd(places, values, tf.stack([rows, *shape]))
    problem = tf.tensor_scatter_nd_update(tf.fill([rows], failure), places, problems)
    return tf.ensure_shape(whole[:-1], (None, *shape)), problem[:-1]


def decode_images(
    contents: tf.Tensor, features: FeatureConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch of encoded images.

    Args:
        contents: string [B], JPEG, PNG, BMP or WebP.
        features: image_size is read.

    Returns:
        float32 [B, S, S, 3], levels 0..255, zeros for a bad file; and what is
        wrong with each, string [B], "" for nothing.
    """
    side = features.image_size

    def decode(content):
        return decode_image(content, side), tf.constant("")

    return _decode_rows(contents, decode, (side, side, 3), _BAD_IMAGE)


def decode_sounds(
    contents: tf.Tensor, features: FeatureConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch of encoded sounds of any rate, width and number of channels.

    Args:
        contents: string [B], WAV.
        features: sample_rate_hz and clip_samples are read.

    Returns:
        float32 [B, clip_samples], zeros for a bad file; and what is wrong with
        each, string [B], "" for nothing.
    """

    def decode(content):
        waveform, problem = waveform_or_problem(content, features)
        named = tf.strings.join([_BAD_SOUND, problem])
        return waveform, tf.where(tf.equal(problem, ""), "", named)

    return _decode_rows(
        contents, decode, (features.clip_samples,), f"{_BAD_SOUND}it cannot be read"
    )


def status_of(*problems: tf.Tensor) -> tf.Tensor:
    """The status of each row: "ok", or what is wrong with it.

    Args:
        *problems: string [B] each, "" for nothing.

    Returns:
        string [B]; several problems are joined by "; ".
    """
    joined = tf.strings.reduce_join(tf.stack(problems, 1), axis=1, separator="; ")
    stripped = tf.strings.regex_replace(joined, "^; |; $", "")
    return tf.where(tf.equal(stripped, ""), OK, stripped)
