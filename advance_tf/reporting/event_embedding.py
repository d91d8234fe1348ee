"""Figure 7 of the paper: a two-dimensional embedding of the predicted events."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.extras import requires_extra
from advance_tf.files import replacing
from advance_tf.reporting.canvas import INK, add_title, new_figure, scatter_scenes

with requires_extra("report"):
    from google.protobuf import text_format
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
    from threadpoolctl import threadpool_limits

TENSORS = "tensors.tsv"
METADATA = "metadata.tsv"
# The name that TensorBoard expects.
CONFIG = "projector_config.pbtxt"
_PERPLEXITY = 30.0
_MIN_PAIRS = 4


def embed(event_probs: ArrayLike, seed: int) -> np.ndarray:
    """Embeds the predicted events of pairs in two dimensions with t-SNE.

    t-SNE of Euclidean distances, initialized with the first two principal
    components, with a perplexity of min(30, (n − 1) / 3). Pairs with similar
    predicted events are close.

    Args:
        event_probs: [n, events] in [0, 1], at least four rows that are not all
            equal.
        seed: equal seeds and probabilities give equal results; on another machine
            rounding may lead to another arrangement of the same clusters.

    Returns:
        [n, 2] float32; scale and orientation are arbitrary.

    Raises:
        ValueError: there are too few rows, a value is not finite, or all rows
            are equal.

    Source: Figure 7 of the paper; van der Maaten and Hinton, "Visualizing Data
    using t-SNE", JMLR 2008.
    """
    event_probs = np.asarray(event_probs, np.float32)
    if event_probs.ndim != 2 or len(event_probs) < _MIN_PAIRS:
        raise ValueError(
            f"event_probs must be [pairs, events] with at least {_MIN_PAIRS} pairs; "
            f"received {event_probs.shape}. Choose a larger `split`."
        )
    if not np.isfinite(event_probs).all():
        raise ValueError(
            "event_probs must be finite; received NaN or infinity. Check that the "
            "training has not diverged."
        )
    if (event_probs == event_probs[0]).all():
        raise ValueError(
            "event_probs must differ between pairs; received the same events for all "
            f"{len(event_probs)} pairs. Train the model for longer."
        )
    tsne = TSNE(
        perplexity=min(_PERPLEXITY, (len(event_probs) - 1) / 3),
        init="pca",
        random_state=seed,
    )
    # The order of sums over threads varies, and t-SNE amplifies rounding errors.
    with threadpool_limits(1):
        return np.asarray(tsne.fit_transform(event_probs))


def embedding_figure(
    points: ArrayLike,
    true: ArrayLike,
    scenes: Sequence[str],
    *,
    title: str = "",
    label: str = "",
) -> Figure:
    """Draws embedded pairs in the colours of their true scenes.

    Args:
        points: [n, 2], coordinates of `embed`.
        true: scene of each pair, int [n] in [0, len(scenes)).
        scenes: names, at most 13.
        title: title above the points.
        label: notice about the data, written above the title; "" for none.

    Returns:
        A figure for `canvas.png`.

    Raises:
        ValueError: the shapes of points, scenes and names do not match.

    >>> figure = embedding_figure([[0, 1], [2, 3]], [0, 1], ["beach", "lake"])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['beach  (1)', 'lake  (1)']
    """
    figure = new_figure(9.4, 7.2)
    axes = figure.add_subplot()
    scatter_scenes(axes, points, true, scenes, size=28, unit="pairs")
    # Distances are equal in both directions; the axes have no unit.
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#cccccc")
    axes.set_xlabel(
        "t-SNE of the predicted event probabilities; near points are similar",
        fontsize=10,
        color=INK,
    )
    add_title(figure, title, label)
    return figure


def write_projector(
    folder: str | pathlib.Path,
    event_probs: ArrayLike,
    metadata: Mapping[str, Sequence[str]],
    *,
    label: str = "",
) -> None:
    """Writes the files that `tensorboard --logdir=<folder>` shows as "Projector".

    Equal values give equal bytes.

    Args:
        folder: folder to write, created if it does not exist.
        event_probs: [n, events] float32, written with nine digits, which restore
            each value exactly.
        metadata: column → [n] texts, at least two columns; the first column is the
            name of a point.
        label: notice about the data, part of the embedding's name; "" for none.

    Raises:
        ValueError: a column does not have n texts, or there are fewer than two.
    """
    folder = pathlib.Path(folder)
    event_probs = np.asarray(event_probs, np.float32)
    lengths = {name: len(column) for name, column in metadata.items()}
    # TensorBoard reads the header of a single column as a point.
    if len(lengths) < 2 or set(lengths.values()) != {len(event_probs)}:
        raise ValueError(
            f"metadata must have two or more columns of {len(event_probs)} texts; "
            f"received {lengths}. Add the missing columns or texts."
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


def _tsv(rows: Iterable[Iterable[object]]) -> str:
    """Joins cells to lines, with tabs and line ends within a cell replaced."""
    lines = ("\t".join(" ".join(str(cell).split()) for cell in row) for row in rows)
    return "\n".join(lines) + "\n"


def _config(shape: tuple[int, ...], label: str) -> str:
    config = ProjectorConfig()
    embedding = config.embeddings.add()
    name = "event probabilities"
    embedding.tensor_name = f"{name} ({label})" if label else name
    embedding.tensor_shape.extend(shape)
    embedding.tensor_path = TENSORS
    embedding.metadata_path = METADATA
    return str(text_format.MessageToString(config, as_utf8=True))
