"""Error messages of files that cannot be decoded.

TensorFlow's operators raise errors whose text contains node names and stack traces;
`media_problem` extracts the sentence for the user.
"""

import re

import tensorflow as tf

_RULE = re.compile(r"(The (?:sound|image) .*? must be a valid .*?\.)(?=['\"\s\]]|$)")
# The names of the graph's node and of the data set may precede the path.
_MISSING = re.compile(
    r"^(?:\{\{.*?\}\} )?(?:Error in user-defined .*? Iterator::\S+ )?"
    r"(.+); No such file or directory",
    re.MULTILINE,
)
# What TensorFlow adds to the message of an operator that runs outside of a graph.
_OPERATOR = re.compile(r"^\{\{.*?\}\} | \[Op:\w+\].*$")


class MediaError(ValueError):
    """An image or a sound cannot be read; the message names it and the reason."""


def media_problem(error: tf.errors.OpError) -> str:
    """Returns the part of a TensorFlow error that describes the problem of a file.

    Args:
        error: an error of reading or decoding.

    Returns:
        One sentence; the first line of the error for errors of other operators.
    """
    match = _RULE.search(error.message)
    if match:
        return f"{match.group(1)} Replace it, or leave the pair out."
    missing = _MISSING.search(error.message)
    if missing:
        return (
            f"The file {missing.group(1)} does not exist. Give the folder of the data "
            "set with `data_dir`."
        )
    return _OPERATOR.sub("", str(error.message).split("\n")[0])


def names_its_file(error: tf.errors.OpError) -> bool:
    """Returns whether an error is one of `advance_tf.features`, which name the file."""
    return bool(_RULE.search(error.message))
