"""Files of event knowledge: validated reading and writing of .npz archives.

A folder holds the soft labels of each combination of teacher, manifest and clip, in
`soft_labels-<key>.npz`, and the posteriors and relevance vectors of the latest one in
`posteriors.npz`, which names its soft labels by their key.
"""

import pathlib
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from advance_tf import labels
from advance_tf.config import RELEVANCE_MODES
from advance_tf.data.manifest import Manifest
from advance_tf.files import replacing

POSTERIORS = "posteriors.npz"
RECOMPUTE = "Compute it again with `advance teach`."
Shape = tuple[int | None, ...]

# What NumPy and zipfile raise on truncated or altered files.
_DAMAGED = (
    AttributeError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def write_arrays(path: pathlib.Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Writes named arrays and strings; on failure the previous file is kept.

    Args:
        path: path of the `.npz` file.
        arrays: name → array or string.
    """
    converted: dict[str, Any] = {
        name: np.asarray(value) for name, value in arrays.items()
    }
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **converted)


def read_arrays(
    path: pathlib.Path, shapes: Mapping[str, Shape]
) -> dict[str, np.ndarray]:
    """Reads a file of `write_arrays` and checks the shapes.

    Args:
        path: path of the `.npz` file.
        shapes: name → expected shape; None stands for any length.

    Returns:
        Name → array, for the names in `shapes`.

    Raises:
        ValueError: the file is damaged, or an array is missing or has another shape.
        FileNotFoundError: the file does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.npz"
        ...     write_arrays(path, {"rows": np.ones((3, 2)), "name": "yamnet"})
        ...     arrays = read_arrays(path, {"rows": (None, 2), "name": ()})
        >>> arrays["rows"].shape, str(arrays["name"])
        ((3, 2), 'yamnet')
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in shapes}
    except _DAMAGED as error:
        raise ValueError(
            f"{path} must be a complete file of event knowledge; reading it failed: "
            f"{error}. Remove it. {RECOMPUTE}"
        ) from error
    for name, shape in shapes.items():
        received = arrays[name].shape
        if len(received) != len(shape) or any(
            expected not in (None, length)
            for expected, length in zip(shape, received, strict=True)
        ):
            raise ValueError(
                f"{path}: {name} must have the shape {shape}; received {received}. "
                f"Remove it. {RECOMPUTE}"
            )
    return arrays


def check_equal(
    path: pathlib.Path,
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, ArrayLike],
    remedy: str,
) -> None:
    """Rejects a file that was computed for other scenes, events, pairs or teachers.

    Args:
        path: path of the file, for the error.
        arrays: arrays of the file.
        expected: name → array or string that the file must contain.
        remedy: last sentence of the error.

    Raises:
        ValueError: an array differs.
    """
    for name, value in expected.items():
        received, wanted = arrays[name].ravel(), np.asarray(value).ravel()
        if np.array_equal(received, wanted):
            continue
        difference = f"received {len(received)} entries, expected {len(wanted)}"
        if len(received) == len(wanted):
            at = int(np.argmax(received != wanted))
            difference = f"received {received[at]} where {wanted[at]} is expected"
        raise ValueError(
            f"{path} must contain the {name} in use; {difference}. {remedy}"
        )


def soft_labels_path(knowledge_dir: str | pathlib.Path, key: str) -> pathlib.Path:
    """Path of the soft labels with a key.

    Args:
        knowledge_dir: folder of the event knowledge.
        key: key of `soft_labels.soft_labels_key`.

    Returns:
        Path of the file, which need not exist.
    """
    return pathlib.Path(knowledge_dir) / f"soft_labels-{key}.npz"


def write_knowledge(
    knowledge_dir: str | pathlib.Path,
    key: str,
    *,
    keys: Sequence[tuple[str, str]],
    teacher_logits: np.ndarray,
    event_mask: np.ndarray,
    posteriors: np.ndarray,
    relevances: Mapping[str, np.ndarray],
    teacher: str,
    teacher_sha256: str,
    manifest_sha256: str,
) -> None:
    """Writes soft labels, posteriors and relevance vectors.

    On failure the previous files are kept.

    Args:
        knowledge_dir: folder to write, created if necessary.
        key: key of `soft_labels.soft_labels_key`.
        keys: (scene, stem) of each pair.
        teacher_logits: float32 [pairs, 527].
        event_mask: bool [527], True for the events that the teacher covers.
        posteriors: p(e|s_k), float32 [13, 527].
        relevances: mode → d_k, float32 [13, 527].
        teacher: name of the teacher.
        teacher_sha256: hash of the teacher.
        manifest_sha256: hash of the manifest.
    """
    common: dict[str, ArrayLike] = {
        "event_mask": event_mask,
        "event_mids": [event.mid for event in labels.events()],
        "teacher": teacher,
        "teacher_sha256": teacher_sha256,
        "manifest_sha256": manifest_sha256,
    }
    write_arrays(
        soft_labels_path(knowledge_dir, key),
        common
        | {
            "scenes": [scene for scene, _ in keys],
            "stems": [stem for _, stem in keys],
            "teacher_logits": teacher_logits,
        },
    )
    # Written last, because it refers to the soft labels.
    write_arrays(
        pathlib.Path(knowledge_dir) / POSTERIORS,
        common
        | {f"relevance_{mode}": rows for mode, rows in relevances.items()}
        | {
            "posteriors": posteriors,
            "scenes": labels.scenes(),
            "event_names": [event.name for event in labels.events()],
            "key": key,
        },
    )


def read_soft_labels(
    path: pathlib.Path, manifest: Manifest, teacher_sha256: str
) -> np.ndarray:
    """Reads the teacher's logits of a manifest's pairs.

    Args:
        path: path of `soft_labels_path`.
        manifest: manifest that the file must belong to.
        teacher_sha256: hash of the teacher that the file must belong to.

    Returns:
        float32 [pairs, 527] in the order of the manifest.

    Raises:
        ValueError: the file is damaged, or belongs to other events, pairs or another
            teacher.
        FileNotFoundError: the file does not exist.
    """
    pairs, events = len(manifest.pairs), labels.events()
    shapes: dict[str, Shape] = {
        "event_mids": (None,),
        "teacher_sha256": (),
        "manifest_sha256": (),
        "scenes": (pairs,),
        "stems": (pairs,),
        "teacher_logits": (pairs, len(events)),
    }
    arrays = read_arrays(path, shapes)
    expected: dict[str, ArrayLike] = {
        "event_mids": [event.mid for event in events],
        "teacher_sha256": teacher_sha256,
        "manifest_sha256": manifest.sha256,
        "scenes": [pair.scene for pair in manifest.pairs],
        "stems": [pair.stem for pair in manifest.pairs],
    }
    check_equal(path, arrays, expected, f"Remove it. {RECOMPUTE}")
    if not np.isfinite(arrays["teacher_logits"]).all():
        raise ValueError(
            f"{path}: teacher_logits must be finite; received others. Remove it. "
            f"{RECOMPUTE}"
        )
    return arrays["teacher_logits"]


def read_posteriors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads posteriors and relevance vectors of the scenes and events in use.

    Args:
        path: path of the `.npz` file.

    Returns:
        `posteriors`, `relevance_<mode>`, `event_mask`, `teacher`, `teacher_sha256`,
        `manifest_sha256`, `key` and the names of scenes and events.

    Raises:
        ValueError: the file is damaged, or belongs to other scenes or events.
        FileNotFoundError: the file does not exist.
    """
    scenes, events = labels.scenes(), labels.events()
    grid = (len(scenes), len(events))
    shapes: dict[str, Shape] = {
        **{"scenes": (None,), "event_mids": (None,), "event_names": (None,)},
        **{"teacher": (), "teacher_sha256": (), "manifest_sha256": (), "key": ()},
        **{f"relevance_{mode}": grid for mode in RELEVANCE_MODES},
        **{"posteriors": grid, "event_mask": grid[1:]},
    }
    arrays = read_arrays(path, shapes)
    expected: dict[str, ArrayLike] = {
        "scenes": scenes,
        "event_mids": [event.mid for event in events],
        "event_names": [event.name for event in events],
    }
    check_equal(path, arrays, expected, RECOMPUTE)
    return arrays
