"""The event knowledge of a manifest: soft labels, posteriors and relevance."""

import dataclasses
import pathlib
import zipfile
from collections.abc import Sequence

import numpy as np

from advance_tf import labels
from advance_tf.data.layout import Pair
from advance_tf.data.manifest import Manifest
from advance_tf.files import replacing
from advance_tf.teacher.posteriors import event_posteriors
from advance_tf.teacher.relevance import MODES, event_relevance

POSTERIORS = "posteriors.npz"
_AGAIN = "Make it again with `python -m advance_tf.teach`."


@dataclasses.dataclass(frozen=True, eq=False)
class EventKnowledge:
    """What the teacher heard.

    Attributes:
        stems: (scene, stem) of each pair.
        teacher_logits: float32 [n, 527].
        event_mask: bool [527], the events that the teacher knows.
        posteriors: p(e|s_k), float32 [13, 527], 0 for masked events.
        relevances: mode → d_k, float32 [13, 527].
        teacher: its name.
        teacher_sha256: hash of its weights.
        manifest_sha256: hash of the manifest it is of.
    """

    stems: tuple[tuple[str, str], ...]
    teacher_logits: np.ndarray
    event_mask: np.ndarray
    posteriors: np.ndarray
    relevances: dict[str, np.ndarray]
    teacher: str
    teacher_sha256: str
    manifest_sha256: str

    def relevance(self, mode: str) -> np.ndarray:
        """d_k [13, 527] of "gram" or "centered_pca"."""
        return self.relevances[mode]

    def targets_for(self, pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
        """The teacher's targets of pairs, in their order.

        Args:
            pairs: of the manifest.

        Returns:
            "soft_labels" = σ(logits) and "teacher_logits", float32 [n, 527].

        Raises:
            ValueError: a pair has no soft labels.
        """
        rows = {stem: row for row, stem in enumerate(self.stems)}
        wanted = [(pair.scene, pair.stem) for pair in pairs]
        missing = [stem for stem in wanted if stem not in rows]
        if missing:
            raise ValueError(
                f"Every pair must have soft labels; {len(missing)} have none, the "
                f"first is {'/'.join(missing[0])}. {_AGAIN}"
            )
        logits = self.teacher_logits[[rows[stem] for stem in wanted]]
        return {"soft_labels": sigmoid(logits), "teacher_logits": logits}


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """σ(u) in float32, without overflow."""
    wide = np.asarray(logits, np.float64)
    return (1 / (1 + np.exp(-np.clip(wide, -80, 80)))).astype(np.float32)


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
        teacher_logits: float32 [pairs, 527] in the order of the manifest.
        event_mask: bool [527], the events that the teacher knows.
        teacher: its name.
        teacher_sha256: hash of its weights.

    Returns:
        The knowledge; only training pairs enter posteriors and relevance.
    """
    training = np.array([split == "training" for split in manifest.splits])
    names = labels.scenes()
    scenes = np.array([names.index(pair.scene) for pair in manifest.pairs])[training]
    soft_labels = sigmoid(teacher_logits)[training] * event_mask
    return EventKnowledge(
        stems=tuple((pair.scene, pair.stem) for pair in manifest.pairs),
        teacher_logits=np.asarray(teacher_logits, np.float32),
        event_mask=np.asarray(event_mask, bool),
        posteriors=event_posteriors(soft_labels, scenes, len(names)).astype(np.float32),
        relevances={
            mode: event_relevance(soft_labels, scenes, len(names), mode).astype(
                np.float32
            )
            for mode in MODES
        },
        teacher=teacher,
        teacher_sha256=teacher_sha256,
        manifest_sha256=manifest.sha256,
    )


def _names() -> dict[str, np.ndarray]:
    events = labels.events()
    return {
        "scenes": np.array(labels.scenes()),
        "event_mids": np.array([event.mid for event in events]),
        "event_names": np.array([event.name for event in events]),
    }


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
    hashes = {
        "event_mask": knowledge.event_mask,
        "teacher": np.array(knowledge.teacher),
        "teacher_sha256": np.array(knowledge.teacher_sha256),
        "manifest_sha256": np.array(knowledge.manifest_sha256),
        "key": np.array(key),
        **_names(),
    }
    with replacing(soft_labels_path(knowledge_dir, key)) as temporary:
        np.savez_compressed(
            temporary,
            pair_scenes=np.array([scene for scene, _ in knowledge.stems]),
            stems=np.array([stem for _, stem in knowledge.stems]),
            teacher_logits=knowledge.teacher_logits,
            **hashes,
        )
    # Last, because it is what points to the soft labels.
    with replacing(pathlib.Path(knowledge_dir) / POSTERIORS) as temporary:
        np.savez_compressed(
            temporary,
            posteriors=knowledge.posteriors,
            **{f"relevance_{mode}": d for mode, d in knowledge.relevances.items()},
            **hashes,
        )


def _load(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise ValueError(
            f"Transfer needs the teacher's event knowledge; {path} does not exist. "
            "Run `python -m advance_tf.teach --data_dir=… --workdir=… --teacher=…` "
            "first, or train with --transfer=none."
        ) from error
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} must be a whole file of event knowledge; reading it failed: "
            f"{error}. {_AGAIN}"
        ) from error


def _check_names(path: pathlib.Path, stored: dict[str, np.ndarray]) -> None:
    for name, expected in _names().items():
        if name not in stored or not np.array_equal(stored[name], expected):
            raise ValueError(
                f"{path} must hold the {name} of this version in their order; it has "
                f"others. {_AGAIN}"
            )


def load_posteriors(knowledge_dir: str | pathlib.Path) -> dict[str, np.ndarray]:
    """The posteriors file, checked against the scene and event lists.

    Args:
        knowledge_dir: output folder of `python -m advance_tf.teach`.

    Returns:
        posteriors, relevance_gram, relevance_centered_pca [13, 527], event_mask
        [527], and the hashes.

    Raises:
        ValueError: the file is missing, broken, or of other scenes or events.
    """
    path = pathlib.Path(knowledge_dir) / POSTERIORS
    stored = _load(path)
    _check_names(path, stored)
    return stored


def load_knowledge(
    knowledge_dir: str | pathlib.Path, manifest: Manifest
) -> EventKnowledge:
    """The event knowledge of a manifest.

    Args:
        knowledge_dir: output folder of `python -m advance_tf.teach`.
        manifest: that the run trains on.

    Returns:
        Soft labels, posteriors and relevance.

    Raises:
        ValueError: a file is missing or broken, or scenes, events or manifest
            differ from those it was made from.
    """
    folder = pathlib.Path(knowledge_dir)
    stored = load_posteriors(folder)
    if str(stored["manifest_sha256"]) != manifest.sha256:
        raise ValueError(
            f"The event knowledge in {folder} must be that of the manifest in use; it "
            "was made from another one, whose training sites may be test sites here. "
            "Give the same --manifest to teach and fit, or teach again."
        )
    path = soft_labels_path(folder, str(stored["key"]))
    taught = _load(path)
    _check_names(path, taught)
    return EventKnowledge(
        stems=tuple(
            zip(taught["pair_scenes"].tolist(), taught["stems"].tolist(), strict=True)
        ),
        teacher_logits=taught["teacher_logits"],
        event_mask=stored["event_mask"],
        posteriors=stored["posteriors"],
        relevances={mode: stored[f"relevance_{mode}"] for mode in MODES},
        teacher=str(stored["teacher"]),
        teacher_sha256=str(stored["teacher_sha256"]),
        manifest_sha256=manifest.sha256,
    )
