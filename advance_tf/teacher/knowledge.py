"""The event knowledge of a manifest: soft labels, posteriors and relevance."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from advance_tf import labels
from advance_tf.data.layout import Pair
from advance_tf.data.manifest import Manifest
from advance_tf.data.splits import TRAINING
from advance_tf.teacher.posteriors import event_posteriors
from advance_tf.teacher.relevance import MODES, check_mode, event_relevance
from advance_tf.teacher.stored import AGAIN, check_equal, read_arrays, write_arrays

POSTERIORS = "posteriors.npz"
_SAME_MANIFEST = (
    "Its training places may be test places here. Give the same --manifest to "
    "`python -m advance_tf.teach` and `python -m advance_tf.fit`, or teach again."
)


@dataclasses.dataclass(frozen=True, eq=False)
class EventKnowledge:
    """What the teacher heard in every pair, and what the scenes sound like.

    Attributes:
        keys: (scene, stem) of each pair.
        teacher_logits: float32 [n, 527], of the central cut of each sound.
        event_mask: bool [527], the events that the teacher knows.
        posteriors: p(e|s_k), float32 [13, 527], 0 for events it does not know.
        relevances: mode → d_k, float32 [13, 527].
        teacher: its name.
        teacher_sha256: its hash.
        manifest_sha256: hash of the manifest it is of.
    """

    keys: tuple[tuple[str, str], ...]
    teacher_logits: np.ndarray
    event_mask: np.ndarray
    posteriors: np.ndarray
    relevances: dict[str, np.ndarray]
    teacher: str
    teacher_sha256: str
    manifest_sha256: str

    def relevance(self, mode: str) -> np.ndarray:
        """d_k of every scene.

        Args:
            mode: "gram" or "centered_pca".

        Returns:
            float32 [13, 527], rows of length 1, 0 for events it does not know.

        Raises:
            ValueError: the mode is unknown, or a scene has no such direction.
        """
        check_mode(mode)
        directions = self.relevances[mode]
        lacking = np.flatnonzero(~np.isfinite(directions).all(axis=1))
        if len(lacking):
            names = ", ".join(labels.scenes()[index] for index in lacking)
            raise ValueError(
                f"--relevance={mode} needs training pairs that differ in every "
                f"scene; those of {names} sound all alike. Add pairs or use "
                "--relevance=gram."
            )
        return directions

    def targets_for(self, pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
        """The teacher's targets of pairs, in their order.

        They are those of the central cut of a sound, whichever cut training
        hears: ADVANCE's sounds are one clip long, where both are the same.

        Args:
            pairs: of the manifest.

        Returns:
            "soft_labels" y(a) = σ(logits) and "teacher_logits", float32 [n, 527].

        Raises:
            ValueError: a pair has no soft labels.
        """
        rows = {key: row for row, key in enumerate(self.keys)}
        wanted = [(pair.scene, pair.stem) for pair in pairs]
        missing = [key for key in wanted if key not in rows]
        if missing:
            raise ValueError(
                f"Every pair must have soft labels; {len(missing)} have none, the "
                f"first is {'/'.join(missing[0])}. {AGAIN}"
            )
        logits = self.teacher_logits[[rows[key] for key in wanted]]
        return {"soft_labels": sigmoid(logits), "teacher_logits": logits}


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """σ(u) in float32, computed in float64 without overflow."""
    return (0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64)))).astype(
        np.float32
    )


def build_knowledge(
    manifest: Manifest,
    teacher_logits: np.ndarray,
    event_mask: np.ndarray,
    teacher: str,
    teacher_sha256: str,
) -> EventKnowledge:
    """Posteriors and relevance of the training pairs, from soft labels of all.

    Args:
        manifest: pairs and splits.
        teacher_logits: float [pairs, 527] in the order of the manifest.
        event_mask: bool [527], the events that the teacher knows.
        teacher: its name.
        teacher_sha256: its hash.

    Returns:
        The knowledge; of posteriors and relevance only training pairs have a
        part, and a column is 0 where the teacher does not know the event.

    Raises:
        ValueError: a scene has no training pair.
    """
    scenes = labels.scenes()
    chosen = np.array([split == TRAINING for split in manifest.splits])
    indices = np.array([scenes.index(pair.scene) for pair in manifest.pairs])[chosen]
    mask = np.asarray(event_mask, bool)
    logits = np.asarray(teacher_logits, np.float32)
    heard = np.where(mask, sigmoid(logits[chosen]), 0.0)
    return EventKnowledge(
        keys=tuple((pair.scene, pair.stem) for pair in manifest.pairs),
        teacher_logits=logits,
        event_mask=mask,
        posteriors=event_posteriors(heard, indices, scenes).astype(np.float32),
        relevances={
            mode: event_relevance(heard, indices, scenes, mode).astype(np.float32)
            for mode in MODES
        },
        teacher=teacher,
        teacher_sha256=teacher_sha256,
        manifest_sha256=manifest.sha256,
    )


def soft_labels_path(knowledge_dir: str | pathlib.Path, key: str) -> pathlib.Path:
    """The file of the soft labels of a key."""
    return pathlib.Path(knowledge_dir) / f"soft_labels-{key}.npz"


def save_knowledge(
    knowledge_dir: str | pathlib.Path, knowledge: EventKnowledge, key: str
) -> None:
    """Writes soft labels and posteriors, or leaves the old files.

    Args:
        knowledge_dir: folder, made if need be.
        knowledge: to write.
        key: of `soft_labels.soft_labels_key`.
    """
    common: dict[str, ArrayLike] = {
        "event_mask": knowledge.event_mask,
        "event_mids": [event.mid for event in labels.events()],
        "teacher": knowledge.teacher,
        "teacher_sha256": knowledge.teacher_sha256,
        "manifest_sha256": knowledge.manifest_sha256,
    }
    write_arrays(
        soft_labels_path(knowledge_dir, key),
        common
        | {
            "scenes": [scene for scene, _ in knowledge.keys],
            "stems": [stem for _, stem in knowledge.keys],
            "teacher_logits": knowledge.teacher_logits,
        },
    )
    # Last, because it is what points to the soft labels.
    write_arrays(
        pathlib.Path(knowledge_dir) / POSTERIORS,
        common
        | {f"relevance_{mode}": rows for mode, rows in knowledge.relevances.items()}
        | {
            "posteriors": knowledge.posteriors,
            "scenes": labels.scenes(),
            "event_names": [event.name for event in labels.events()],
            "key": key,
        },
    )


def load_soft_labels(
    path: pathlib.Path, manifest: Manifest, teacher_sha256: str
) -> np.ndarray:
    """The teacher's logits of a manifest's pairs, from a file.

    Args:
        path: of `soft_labels_path`.
        manifest: whose pairs they must be of.
        teacher_sha256: hash of the teacher they must be of.

    Returns:
        float32 [pairs, 527] in the order of the manifest.

    Raises:
        ValueError: the file is damaged, or of other events, pairs or teacher.
        FileNotFoundError: there is no file.
    """
    pairs, events = len(manifest.pairs), labels.events()
    shapes: dict[str, tuple[int | None, ...]] = {
        "event_mids": (None,),
        "teacher_sha256": (),
        "manifest_sha256": (),
        "scenes": (pairs,),
        "stems": (pairs,),
        "teacher_logits": (pairs, len(events)),
    }
    stored = read_arrays(path, shapes)
    wanted = {
        "event_mids": [event.mid for event in events],
        "teacher_sha256": teacher_sha256,
        "manifest_sha256": manifest.sha256,
        "scenes": [pair.scene for pair in manifest.pairs],
        "stems": [pair.stem for pair in manifest.pairs],
    }
    check_equal(path, stored, wanted, f"Remove it. {AGAIN}")
    if not np.isfinite(stored["teacher_logits"]).all():
        raise ValueError(f"{path}: teacher_logits must be finite. Remove it. {AGAIN}")
    return stored["teacher_logits"]


def load_knowledge(
    knowledge_dir: str | pathlib.Path, manifest: Manifest | None
) -> EventKnowledge:
    """The event knowledge of a manifest.

    Args:
        knowledge_dir: output folder of `python -m advance_tf.teach`.
        manifest: that the run trains on.

    Returns:
        Soft labels, posteriors and relevance.

    Raises:
        ValueError: a file is missing or damaged, scenes, events or manifest
            differ from those it was made from, or there is no manifest.
    """
    path = pathlib.Path(knowledge_dir) / POSTERIORS
    if manifest is None:
        raise ValueError(
            f"{path} is knowledge of the pairs of a manifest; the run has none. "
            "Convert the model again with --data_dir."
        )
    try:
        stored = _read_posteriors(path)
        check_equal(path, stored, {"manifest_sha256": manifest.sha256}, _SAME_MANIFEST)
        teacher_sha256 = str(stored["teacher_sha256"])
        logits = load_soft_labels(
            soft_labels_path(knowledge_dir, str(stored["key"])),
            manifest,
            teacher_sha256,
        )
    except FileNotFoundError as error:
        raise ValueError(
            "Transfer needs the teacher's event knowledge; "
            f"{error.filename} does not exist. Run `python -m advance_tf.teach "
            "--data_dir=… --workdir=… --teacher=…` first, or train with "
            "--transfer=none."
        ) from error
    return EventKnowledge(
        keys=tuple((pair.scene, pair.stem) for pair in manifest.pairs),
        teacher_logits=logits,
        event_mask=stored["event_mask"],
        posteriors=stored["posteriors"],
        relevances={mode: stored[f"relevance_{mode}"] for mode in MODES},
        teacher=str(stored["teacher"]),
        teacher_sha256=teacher_sha256,
        manifest_sha256=manifest.sha256,
    )


def _read_posteriors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The posteriors file, of the scenes and events in use."""
    scenes, events = labels.scenes(), labels.events()
    grid = (len(scenes), len(events))
    shapes: dict[str, tuple[int | None, ...]] = {
        **{"scenes": (None,), "event_mids": (None,), "event_names": (None,)},
        **{"teacher": (), "teacher_sha256": (), "manifest_sha256": (), "key": ()},
        **{f"relevance_{mode}": grid for mode in MODES},
        **{"posteriors": grid, "event_mask": grid[1:]},
    }
    stored = read_arrays(path, shapes)
    wanted = {
        "scenes": scenes,
        "event_mids": [event.mid for event in events],
        "event_names": [event.name for event in events],
    }
    check_equal(path, stored, wanted, AGAIN)
    return stored
