"""Event knowledge of a manifest: soft labels, posteriors and relevance vectors."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from advance_tf import labels
from advance_tf.config import RELEVANCE_MODES, FeatureConfig
from advance_tf.data.advance import AdvanceDataset
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair, rows_of
from advance_tf.data.resumable_rows import CHUNK_ROWS, remove_chunks
from advance_tf.data.rows import ComputedRows, Rows, select_rows
from advance_tf.data.splits import TRAINING
from advance_tf.files import replacing
from advance_tf.locks import lock_folder
from advance_tf.metrics.probabilities import sigmoid
from advance_tf.parts import Parts, Shard
from advance_tf.teacher.archives import RECOMPUTE
from advance_tf.teacher.models import Teacher, teacher_features
from advance_tf.teacher.posteriors import (
    check_mode,
    event_posteriors,
    event_relevance,
)
from advance_tf.teacher.soft_labels import (
    compute_soft_labels,
    resume_soft_labels,
    soft_labels_key,
)
from advance_tf.teacher.storage import (
    POSTERIORS,
    check_equal,
    read_posteriors,
    read_soft_labels,
    soft_labels_path,
    write_posteriors,
    write_soft_labels,
)

_USE_ONE_MANIFEST = (
    "Training sites of that manifest may be test sites of this one. Use one manifest "
    "for `advance teach` and `advance fit`, or run `advance teach` again."
)


@dataclasses.dataclass(frozen=True, eq=False)
class EventKnowledge:
    """Event scores of a teacher for every pair, and their statistics by scene.

    Attributes:
        keys: (scene, stem) of each pair.
        teacher_logits: logits of the central clip of each sound, float32 [n, 527];
            an array, or rows of a file that are read when they are indexed.
        event_mask: bool [527], True for the events that the teacher covers.
        posteriors: p(e|s_k), float32 [13, 527]; 0 for events not covered.
        relevances: mode → d_k, float32 [13, 527].
        teacher: name of the teacher.
        teacher_sha256: hash of the teacher.
        manifest_sha256: hash of the manifest that the pairs belong to.
        clip: sampling rate in Hz and seconds of the clips that the teacher scored;
            None if not known.
    """

    keys: tuple[tuple[str, str], ...]
    teacher_logits: Rows
    event_mask: np.ndarray
    posteriors: np.ndarray
    relevances: dict[str, np.ndarray]
    teacher: str
    teacher_sha256: str
    manifest_sha256: str
    clip: tuple[int, float] | None = None

    def relevance(self, mode: str) -> np.ndarray:
        """Relevance vector d_k of every scene (Eq. 9).

        Args:
            mode: "gram" or "centered_pca".

        Returns:
            float32 [13, 527], rows of unit length; 0 for events not covered.

        Raises:
            ValueError: the mode is unknown, or a scene has no principal component.
        """
        check_mode(mode)
        directions = self.relevances[mode]
        undefined = np.flatnonzero(~np.isfinite(directions).all(axis=1))
        if len(undefined):
            names = ", ".join(labels.scenes()[index] for index in undefined)
            raise ValueError(
                f"`relevance={mode!r}` needs training pairs that differ within every "
                f"scene; the soft labels of {names} are all equal. Add pairs or use "
                "`relevance='gram'`."
            )
        return directions

    def targets_for(self, pairs: Sequence[Pair]) -> dict[str, ComputedRows]:
        """Distillation targets of pairs, in their order.

        They belong to the central clip of a sound, whichever clip training draws.
        ADVANCE's sounds are one clip long, where both are the same.

        Args:
            pairs: pairs of the manifest.

        Returns:
            "soft_labels" y(a) = σ(logits), float32 [n, 527] in [0, 1], and
            "teacher_logits", float32 [n, 527]. Rows are read and computed when they
            are indexed; `numpy.asarray` returns all of them.

        Raises:
            ValueError: a pair has no soft labels.
        """
        own = rows_of(pairs, self.keys, "soft labels", RECOMPUTE)
        return {
            "soft_labels": select_rows(self.teacher_logits, own, sigmoid),
            "teacher_logits": select_rows(self.teacher_logits, own),
        }


def build_knowledge(
    manifest: Manifest,
    teacher_logits: Rows,
    event_mask: np.ndarray,
    teacher: str,
    teacher_sha256: str,
) -> EventKnowledge:
    """Computes posteriors and relevance vectors from the soft labels of all pairs.

    Only training pairs contribute to them.

    Args:
        manifest: pairs and splits.
        teacher_logits: float [pairs, 527] in the order of the manifest, an array or
            rows of a file; few rows are in memory at once.
        event_mask: bool [527], True for the events that the teacher covers.
        teacher: name of the teacher.
        teacher_sha256: hash of the teacher.

    Returns:
        The knowledge; columns of events that the teacher does not cover are 0.

    Raises:
        ValueError: there is no training pair.

    Example:
        >>> pairs = tuple(Pair("1", name, "1", "", "") for name in labels.scenes())
        >>> manifest = Manifest(pairs, ("training",) * 13, "site", 0)
        >>> logits, mask = np.zeros((13, 527)), np.ones(527, bool)
        >>> knowledge = build_knowledge(manifest, logits, mask, "constant", "0" * 64)
        >>> knowledge.posteriors.shape, float(knowledge.posteriors[0, 0])
        ((13, 527), 0.5)
    """
    scenes = labels.scenes()
    training = np.array(manifest.positions(TRAINING), np.int64)
    indices = np.array([scenes.index(pair.scene) for pair in manifest.pairs])[training]
    mask = np.asarray(event_mask, bool)
    logits = teacher_logits
    if logits.dtype != np.float32:
        logits = np.asarray(logits, np.float32)
    # [training pairs, 527]
    soft_labels = select_rows(
        logits, training, lambda rows: np.where(mask, sigmoid(rows), np.float32(0))
    )
    return EventKnowledge(
        keys=tuple(pair.key for pair in manifest.pairs),
        teacher_logits=logits,
        event_mask=mask,
        posteriors=event_posteriors(soft_labels, indices, scenes).astype(np.float32),
        relevances={
            mode: event_relevance(soft_labels, indices, scenes, mode).astype(np.float32)
            for mode in RELEVANCE_MODES
        },
        teacher=teacher,
        teacher_sha256=teacher_sha256,
        manifest_sha256=manifest.sha256,
    )


def save_knowledge(
    knowledge_dir: str | pathlib.Path, knowledge: EventKnowledge, key: str
) -> None:
    """Writes soft labels and posteriors; on failure the previous files are kept.

    Args:
        knowledge_dir: folder to write, created if necessary.
        knowledge: knowledge to write.
        key: key of `soft_labels.soft_labels_key`.
    """
    write_soft_labels(
        knowledge_dir,
        key,
        teacher_logits=knowledge.teacher_logits,
        event_mask=knowledge.event_mask,
        teacher=knowledge.teacher,
        teacher_sha256=knowledge.teacher_sha256,
        manifest_sha256=knowledge.manifest_sha256,
    )
    # Written last, because it refers to the soft labels.
    _save_posteriors(knowledge_dir, knowledge, key)


def _save_posteriors(
    knowledge_dir: str | pathlib.Path, knowledge: EventKnowledge, key: str
) -> None:
    write_posteriors(
        knowledge_dir,
        key,
        event_mask=knowledge.event_mask,
        posteriors=knowledge.posteriors,
        relevances=knowledge.relevances,
        teacher=knowledge.teacher,
        teacher_sha256=knowledge.teacher_sha256,
        manifest_sha256=knowledge.manifest_sha256,
        clip=knowledge.clip,
    )


def load_knowledge(
    knowledge_dir: str | pathlib.Path, manifest: Manifest | None
) -> EventKnowledge:
    """Loads the event knowledge of a manifest.

    Args:
        knowledge_dir: folder written by `compute_knowledge` or `advance teach`.
        manifest: manifest that the run trains on.

    Returns:
        Soft labels, posteriors and relevance vectors.

    Raises:
        ValueError: a file is missing or damaged, its scenes, events or manifest
            differ from those in use, or there is no manifest.
    """
    path = pathlib.Path(knowledge_dir) / POSTERIORS
    if manifest is None:
        raise ValueError(
            f"{path} belongs to the pairs of a manifest; the run has no manifest. "
            "Convert the model again with `advance convert` and set `data_dir`."
        )
    try:
        arrays = read_posteriors(path)
        check_equal(
            path, arrays, {"manifest_sha256": manifest.sha256}, _USE_ONE_MANIFEST
        )
        teacher_sha256 = str(arrays["teacher_sha256"])
        logits = read_soft_labels(
            soft_labels_path(knowledge_dir, str(arrays["key"])),
            manifest,
            teacher_sha256,
        )
    except FileNotFoundError as error:
        raise ValueError(
            "Transfer needs the teacher's event knowledge; "
            f"{error.filename} does not exist. Run `advance teach` first, or train "
            "with `transfer='none'`."
        ) from error
    return EventKnowledge(
        keys=tuple(pair.key for pair in manifest.pairs),
        teacher_logits=logits,
        event_mask=arrays["event_mask"],
        posteriors=arrays["posteriors"],
        relevances={mode: arrays[f"relevance_{mode}"] for mode in RELEVANCE_MODES},
        teacher=str(arrays["teacher"]),
        teacher_sha256=teacher_sha256,
        manifest_sha256=manifest.sha256,
        clip=_clip(*arrays["clip"]) if "clip" in arrays else None,
    )


def _clip(sample_rate_hz: float, seconds: float) -> tuple[int, float]:
    return int(sample_rate_hz), float(seconds)


def compute_knowledge(
    teacher: Teacher,
    dataset: AdvanceDataset,
    knowledge_dir: str | pathlib.Path,
    features: FeatureConfig | None = None,
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> EventKnowledge:
    """Computes and stores the event knowledge of a data set.

    Soft labels that are already stored for this teacher and manifest are reused, and
    an interrupted computation is resumed.

    Args:
        teacher: frozen audio network.
        dataset: pairs, splits and folder.
        knowledge_dir: folder of the soft labels and posteriors. It keeps the soft
            labels of other teachers and manifests; the posteriors are replaced.
        features: sampling rate and length of a clip, those of the run that will use
            the knowledge; the defaults when None. A teacher with a rate of its own
            scores clips at that rate.
        batch_size: number of clips in a batch.
        progress: show a progress bar.

    Returns:
        The event knowledge, which is also written.

    Raises:
        ValueError: a sound cannot be read, there is no training pair, or a stored
            file is damaged.
        LockedError: another process computes in the folder; a ValueError too.

    Example:
        >>> import advance_tf
        >>> path = "weights/yamnet.h5"  # of `advance download yamnet`
        >>> teacher = advance_tf.teacher.load_teacher(path)  # doctest: +SKIP
        >>> dataset = advance_tf.data.load_advance("ADVANCE")  # doctest: +SKIP
        >>> compute_knowledge(teacher, dataset, "event_knowledge")  # doctest: +SKIP
    """
    manifest, data_dir = dataset.manifest, dataset.data_dir
    features = teacher_features(teacher, features or FeatureConfig())
    key = soft_labels_key(teacher.sha256, manifest.sha256, features)
    path = soft_labels_path(knowledge_dir, key)
    chunks_dir = _parts_folder(path)
    with lock_folder(pathlib.Path(knowledge_dir), "computation"):
        if not path.exists():
            computed = resume_soft_labels(
                teacher,
                manifest.pairs,
                data_dir,
                features,
                batch_size=batch_size,
                progress=progress,
                chunks_dir=chunks_dir,
            )
            write_soft_labels(
                knowledge_dir,
                key,
                teacher_logits=computed.written(),
                event_mask=teacher.event_mask,
                teacher=teacher.name,
                teacher_sha256=teacher.sha256,
                manifest_sha256=manifest.sha256,
            )
        logits = read_soft_labels(path, manifest, teacher.sha256)
        knowledge = dataclasses.replace(
            build_knowledge(
                manifest, logits, teacher.event_mask, teacher.name, teacher.sha256
            ),
            clip=_clip(features.sample_rate_hz, features.clip_seconds),
        )
        _save_posteriors(knowledge_dir, knowledge, key)
        remove_chunks(chunks_dir)
        return knowledge


def _parts_folder(path: pathlib.Path) -> pathlib.Path:
    """The folder of the rows of soft labels that are not complete."""
    return path.with_name(f"{path.stem}-parts")


def compute_shard(
    teacher: Teacher,
    dataset: AdvanceDataset,
    knowledge_dir: str | pathlib.Path,
    shard: Shard,
    features: FeatureConfig | None = None,
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> int:
    """Computes the soft labels of one of several processes.

    Once all parts are done, `compute_knowledge` joins them and computes the rest.

    Args:
        teacher: frozen audio network.
        dataset: pairs, splits and folder.
        knowledge_dir: folder that all processes share.
        shard: this process.
        features: sampling rate and length of a clip; the defaults when None.
        batch_size: number of clips in a batch, the same for every process.
        progress: show a progress bar.

    Returns:
        The number of parts that other processes have not done; 0 for one process that
        can call `compute_knowledge` now.

    Raises:
        ValueError: a sound cannot be read, or the folder holds the parts of other
            settings.
    """
    manifest = dataset.manifest
    features = teacher_features(teacher, features or FeatureConfig())
    key = soft_labels_key(teacher.sha256, manifest.sha256, features)
    path = soft_labels_path(knowledge_dir, key)
    if path.exists():
        return 0
    parts = Parts(
        _parts_folder(path),
        {"soft_labels": key, "batch_size": batch_size},
        len(manifest.pairs),
        -(-CHUNK_ROWS // batch_size) * batch_size,
        ".npy",
    )
    parts.begin()
    for start in parts.missing(shard):
        logits = compute_soft_labels(
            teacher,
            manifest.pairs[start : start + parts.part_rows],
            dataset.data_dir,
            features,
            batch_size=batch_size,
            progress=progress,
        )
        with replacing(parts.path(start)) as temporary:
            np.save(temporary, logits)
    # Another process may have joined the parts, and removed them, in the meantime.
    missing = len(parts.missing())
    return 0 if path.exists() else missing
