"""Predicted events as an embedding that TensorBoard's projector shows."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from advance_tf.files import replacing

TENSORS = "tensors.tsv"
METADATA = "metadata.tsv"
# TensorBoard looks for this name.
CONFIG = "projector_config.pbtxt"


def write_projector(
    folder: str | pathlib.Path,
    event_probs,
    metadata: Mapping[str, Sequence[str]],
    *,
    label: str = "",
) -> None:
    """Writes what `tensorboard --logdir=<folder>` shows under "Projector".

    The same values give the same bytes.

    Args:
        folder: made if need be.
        event_probs: [n, events] float32; nine digits bring each back exactly.
        metadata: column → [n] texts, at least two columns; the first is the
            name of a point.
        label: what must be said of the figures; part of the embedding's name.

    Raises:
        ValueError: a column is not of n texts, or there are fewer than two.
    """
    folder = pathlib.Path(folder)
    event_probs = np.asarray(event_probs, np.float32)
    lengths = {name: len(column) for name, column in metadata.items()}
    # With a single column TensorBoard takes the header for a point.
    if len(lengths) < 2 or set(lengths.values()) != {len(event_probs)}:
        raise ValueError(
            f"metadata must have two or more columns of {len(event_probs)} texts; "
            f"received {lengths}."
        )
    rows = [list(metadata), *zip(*metadata.values(), strict=True)]
    contents = {
        TENSORS: _tsv([f"{prob:.9g}" for prob in row] for row in event_probs.tolist()),
        METADATA: _tsv(rows),
        CONFIG: _config(event_probs.shape, label),
    }
    for name, text in contents.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")


def _tsv(rows) -> str:
    """Lines of cells; a cell holds neither tabs nor line ends."""
    lines = ("\t".join(" ".join(str(cell).split()) for cell in row) for row in rows)
    return "\n".join(lines) + "\n"


def _config(shape: tuple[int, ...], label: str) -> str:
    config = ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = (
        f"event probabilities ({label})" if label else ("event probabilities")
    )
    embedding.tensor_shape.extend(shape)
    embedding.tensor_path = TENSORS
    embedding.metadata_path = METADATA
    return text_format.MessageToString(config, as_utf8=True)
