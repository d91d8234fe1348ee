"""Error messages of files that cannot be decoded.

TensorFlow's operators raise errors whose text contains node names and stack traces;
`media_problem` extracts the sentence for the user.
"""

import re

import tensorflow as tf

_RULE = re.compile(
    r"(The (?P<kind>sound|image|cache file) .*? must be a valid .*?\.)(?=['\"\s\]]|$)"
)
# The names of the graph's node and of the data set may precede the path.
_NOT_OPENED = re.compile(
    r"^(?:\{\{.*?\}\} )?(?:Error in user-defined .*? Iterator::\S+ )?"
    r"(?P<path>.+); (?P<why>No such file or directory|Permission denied)",
    re.MULTILINE,
)
# What TensorFlow adds to the sentence of an operator: the node before it, the operator
# behind it.
_OPERATOR = re.compile(r"^(?:\{\{.*?\}\} )+|\s*\[Op:\w+\].*$")
# In a graph, the sentence is after the stack and before the node.
_BEFORE_NODE = re.compile(r"^(?P<sentence>\S.*)\n?\s*\[\[\{\{", re.MULTILINE)
# Bytes beyond ASCII in the string of an assertion.
_ESCAPED = re.compile(r"(?:\\x[0-9a-f]{2})+")
_WAYS_OUT = {
    "sound": " Replace it, or leave the pair out.",
    "image": " Replace it, or leave the pair out.",
    "cache file": " Remove it; the next run decodes its pair again.",
}


class MediaError(ValueError):
    """An image or a sound cannot be read; the message names it and the reason."""


def media_problem(error: tf.errors.OpError) -> str:
    """Returns the part of a TensorFlow error that describes the problem of a file.

    Args:
        error: an error of reading or decoding.

    Returns:
        One sentence; the first line of the error for errors of other operators.
    """
    text = _ESCAPED.sub(_unescaped, str(error.message))
    match = _RULE.search(text)
    if match:
        return match.group(1) + _WAYS_OUT[match["kind"]]
    closed = _NOT_OPENED.search(text)
    if closed and closed["why"] == "Permission denied":
        return _denied(closed["path"])
    if closed:
        return (
            f"The file {closed['path']} does not exist. Give the folder of the data "
            "set with `data_dir`."
        )
    found = _BEFORE_NODE.search(text)
    sentence = found["sentence"] if found else text.strip().split("\n")[0]
    return _OPERATOR.sub("", sentence)


def open_problem(error: OSError) -> str:
    """Describes why a file cannot be opened.

    >>> open_problem(FileNotFoundError(2, "No such file or directory", "a.jpg"))
    'The file a.jpg must exist; there is none. Check its path.'

    Args:
        error: an error of `open` or `os.stat`.

    Returns:
        Rule, received and way out; the text of an error without a file.
    """
    path = error.filename
    if path is None:
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"The file {path} must exist; there is none. Check its path."
    if isinstance(error, PermissionError):
        return _denied(path)
    if isinstance(error, IsADirectoryError):
        return f"The file {path} must not be a folder; it is one. Give a file in it."
    return (
        f"The file {path} must be readable; reading it failed: {error.strerror}. Check "
        "its disk, or copy it again."
    )


def _denied(path: str) -> str:
    return (
        f"The file {path} must be readable; permission is denied. Change its "
        "permissions."
    )


def _unescaped(match: re.Match[str]) -> str:
    contents = bytes.fromhex(match.group(0).replace("\\x", ""))
    return contents.decode("utf-8", "backslashreplace")


def names_its_file(error: tf.errors.OpError) -> bool:
    """Returns whether an error is one of `advance_tf.features`, which name the file."""
    return bool(_RULE.search(error.message))


def unreadable(kind: str, path: str, reason: str) -> str:
    """The message for a file whose decoder gives a reason and no name.

    Args:
        kind: "image" or "sound".
        path: path of the file.
        reason: result of `media_problem`.

    Returns:
        Rule, reason and way out.

    >>> unreadable("image", "a.png", "Invalid PNG data, size 55")[:54]
    'The image a.png cannot be decoded: Invalid PNG data, s'
    """
    return (
        f"The {kind} {path} cannot be decoded: {reason.rstrip('.')}. It is damaged or "
        "cut off: copy or download it again, or leave it out."
    )
