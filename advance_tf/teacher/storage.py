"""Files of event knowledge: validated reading and writing of .npz archives.

A folder holds the soft labels of each combination of teacher, manifest and clip, in
`soft_labels-<key>.npz`, and the posteriors and relevance vectors of the latest one in
`posteriors.npz`, which names its soft labels by their key.

The logits of the soft labels are stored without compression, in the order of the
manifest: rows of them are read from the file when they are needed, so that their
number does not determine the memory. `numpy.load` reads them like any other archive.
"""

import pathlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from advance_tf import labels
from advance_tf.config import RELEVANCE_MODES
from advance_tf.data.manifest import Manifest
from advance_tf.data.rows import Rows
from advance_tf.teacher.archives import (
    RECOMPUTE,
    Shape,
    read_arrays,
    read_rows,
    write_arrays,
)

POSTERIORS = "posteriors.npz"
_LOGITS = "teacher_logits"


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


def write_soft_labels(
    knowledge_dir: str | pathlib.Path,
    key: str,
    *,
    teacher_logits: Rows,
    event_mask: np.ndarray,
    teacher: str,
    teacher_sha256: str,
    manifest_sha256: str,
) -> pathlib.Path:
    """Writes the soft labels of a manifest's pairs.

    On failure the previous file is kept.

    Args:
        knowledge_dir: folder to write, created if necessary.
        key: key of `soft_labels.soft_labels_key`.
        teacher_logits: float32 [pairs, 527] in the order of the manifest.
        event_mask: bool [527], True for the events that the teacher covers.
        teacher: name of the teacher.
        teacher_sha256: hash of the teacher.
        manifest_sha256: hash of the manifest, which determines the pairs.

    Returns:
        The path of the file.
    """
    path = soft_labels_path(knowledge_dir, key)
    common = _common(event_mask, teacher, teacher_sha256, manifest_sha256)
    write_arrays(path, common, {_LOGITS: teacher_logits})
    return path


def _common(
    event_mask: np.ndarray, teacher: str, teacher_sha256: str, manifest_sha256: str
) -> dict[str, ArrayLike]:
    """What both files state about teacher and manifest."""
    return {
        "event_mask": event_mask,
        "event_mids": [event.mid for event in labels.events()],
        "teacher": teacher,
        "teacher_sha256": teacher_sha256,
        "manifest_sha256": manifest_sha256,
    }


def write_posteriors(
    knowledge_dir: str | pathlib.Path,
    key: str,
    *,
    event_mask: np.ndarray,
    posteriors: np.ndarray,
    relevances: Mapping[str, np.ndarray],
    teacher: str,
    teacher_sha256: str,
    manifest_sha256: str,
    clip: tuple[int, float] | None = None,
) -> None:
    """Writes posteriors and relevance vectors, after the soft labels.

    On failure the previous file is kept.

    Args:
        knowledge_dir: folder to write.
        key: key of the soft labels that they are computed from.
        event_mask: bool [527], True for the events that the teacher covers.
        posteriors: p(e|s_k), float32 [13, 527].
        relevances: mode → d_k, float32 [13, 527].
        teacher: name of the teacher.
        teacher_sha256: hash of the teacher.
        manifest_sha256: hash of the manifest.
        clip: sampling rate in Hz and seconds of the clips; None if not known.
    """
    write_arrays(
        pathlib.Path(knowledge_dir) / POSTERIORS,
        _common(event_mask, teacher, teacher_sha256, manifest_sha256)
        | {f"relevance_{mode}": rows for mode, rows in relevances.items()}
        | {
            "posteriors": posteriors,
            "scenes": labels.scenes(),
            "event_names": [event.name for event in labels.events()],
            "key": key,
        }
        | ({} if clip is None else {"clip": clip}),
    )


def read_soft_labels(
    path: pathlib.Path, manifest: Manifest, teacher_sha256: str
) -> Rows:
    """Opens the teacher's logits of a manifest's pairs.

    Args:
        path: path of `soft_labels_path`.
        manifest: manifest that the file must belong to.
        teacher_sha256: hash of the teacher that the file must belong to.

    Returns:
        Rows of float32 [pairs, 527] in the order of the manifest.

    Raises:
        ValueError: the file is damaged, or belongs to other events, pairs or another
            teacher.
        FileNotFoundError: the file does not exist.
    """
    events = labels.events()
    shapes: dict[str, Shape] = {
        "event_mids": (None,),
        "teacher_sha256": (),
        "manifest_sha256": (),
    }
    arrays = read_arrays(path, shapes)
    expected: dict[str, ArrayLike] = {
        "event_mids": [event.mid for event in events],
        "teacher_sha256": teacher_sha256,
        "manifest_sha256": manifest.sha256,
    }
    check_equal(path, arrays, expected, f"Remove it. {RECOMPUTE}")
    return read_rows(path, _LOGITS, (len(manifest.pairs), len(events)))


def read_posteriors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads posteriors and relevance vectors of the scenes and events in use.

    Args:
        path: path of the `.npz` file.

    Returns:
        `posteriors`, `relevance_<mode>`, `event_mask`, `teacher`, `teacher_sha256`,
        `manifest_sha256`, `key` and the names of scenes and events; `clip`, sampling
        rate in Hz and seconds, where the file has it.

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
        **{"posteriors": grid, "event_mask": grid[1:], "clip": (2,)},
    }
    arrays = read_arrays(path, shapes, optional=["clip"])
    expected: dict[str, ArrayLike] = {
        "scenes": scenes,
        "event_mids": [event.mid for event in events],
        "event_names": [event.name for event in events],
    }
    check_equal(path, arrays, expected, RECOMPUTE)
    return arrays
