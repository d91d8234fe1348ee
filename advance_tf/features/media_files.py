"""Contents of media files, which are files of their own or records of a shard.

A file in a shard has an address like a path, `<shard>.tfrecord@<offset>/<name>`: the
record of a pair begins at the offset, and the ending of the name chooses its sound or
its image. Reading checks the record's CRC-32C. It consists of TensorFlow operations, so
that the graph of a data set can be sent to other processes.
"""

import os
import re

import tensorflow as tf

from advance_tf.features.errors import MediaError

# The features of the record of a pair that hold the bytes of its files.
IMAGE, SOUND = "image", "sound"
_ADDRESS = re.compile(r"(.*\.tfrecord)@[0-9]+/[^/]*", re.DOTALL)
_BUFFER_BYTES = 1 << 17


def container(path: str) -> str:
    """The file on disk of a path or an address.

    >>> container("a/pairs-00000.tfrecord@90/1.wav"), container("a/1.wav")
    ('a/pairs-00000.tfrecord', 'a/1.wav')
    """
    match = _ADDRESS.fullmatch(path)
    return match[1] if match else path


def read_media(path: tf.Tensor) -> tf.Tensor:
    """The contents of a media file, with TensorFlow operations.

    Args:
        path: string scalar, a path or an address in a shard.

    Returns:
        Its bytes, a string scalar.

    Raises:
        tf.errors.NotFoundError: the file, or the shard, does not exist.
        tf.errors.DataLossError: the record of the shard is damaged or cut off.
    """
    return tf.cond(
        tf.strings.regex_full_match(path, r"(?s).*\.tfrecord@[0-9]+/[^/]*"),
        lambda: _read_record(path),
        lambda: tf.io.read_file(path),
    )


def _read_record(path: tf.Tensor) -> tf.Tensor:
    head = tf.strings.regex_replace(path, "/[^/]*$", "")
    offset = tf.strings.regex_replace(head, "(?s)^.*@", "")
    file = tf.strings.regex_replace(head, "@[0-9]+$", "")
    # TFRecordDataset of tf.data has no parameter for the offset.
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=[file],
        compression_type="",
        buffer_size=tf.constant(_BUFFER_BYTES, tf.int64),
        byte_offsets=[tf.strings.to_number(offset, tf.int64)],
    )
    types = {"output_types": [tf.string], "output_shapes": [[]]}
    first = tf.raw_ops.TakeDataset(
        input_dataset=records, count=tf.constant(1, tf.int64), **types
    )
    (record,) = tf.raw_ops.DatasetToSingleElement(dataset=first, **types)
    wanted = {name: tf.io.FixedLenFeature([], tf.string) for name in (IMAGE, SOUND)}
    found = tf.io.parse_single_example(record, wanted)
    is_sound = tf.strings.regex_full_match(path, r"(?is).*\.wav")
    return tf.where(is_sound, found[SOUND], found[IMAGE])


def read_media_bytes(path: str) -> bytes:
    """The contents of a media file.

    Args:
        path: a path or an address in a shard.

    Returns:
        Its bytes.

    Raises:
        MediaError: the record of the shard is damaged or cut off.
        OSError: the file, or the shard, cannot be opened.
    """
    file = container(path)
    if file == path:
        with open(path, "rb") as opened:
            return opened.read()
    os.stat(file)
    try:
        contents: bytes = _read_record(tf.constant(path)).numpy()
    except tf.errors.OpError as error:
        raise MediaError(damaged_record(path)) from error
    return contents


def damaged_record(path: str) -> str:
    """The message about a record that cannot be read.

    Args:
        path: its address in a shard.

    Returns:
        Rule, received and way out.
    """
    return (
        f"The shard {container(path)} must be complete and unchanged; the record of "
        f"{path} is damaged or cut off. Restore the file from a copy, or write the "
        "shards again with `advance prepare`."
    )
