"""One lesson: soft labels if they are not kept yet, then posteriors."""

import pathlib

import numpy as np

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data.manifest import Manifest
from advance_tf.teacher.knowledge import (
    EventKnowledge,
    build_knowledge,
    load_soft_labels,
    save_knowledge,
    soft_labels_path,
)
from advance_tf.teacher.parts import remove_parts
from advance_tf.teacher.soft_labels import (
    Teacher,
    compute_soft_labels,
    soft_labels_key,
)


def teach(
    teacher: Teacher,
    manifest: Manifest,
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    knowledge_dir: str | pathlib.Path,
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> EventKnowledge:
    """Hears every pair, unless this teacher has heard this manifest before.

    What an interrupted lesson has heard is gone on from.

    Args:
        teacher: frozen.
        manifest: pairs and splits.
        data_dir: folder of the data set.
        features: rate and length of a clip.
        knowledge_dir: where soft labels and posteriors are kept. Soft labels of
            other teachers and manifests stay there; the posteriors are those of
            the last lesson.
        batch_size: clips at a time.
        progress: show a bar.

    Returns:
        The event knowledge, which is also written.

    Raises:
        ValueError: a sound cannot be read, a scene has no training pair, or a
            kept file is damaged.
    """
    key = soft_labels_key(teacher.sha256, manifest.sha256, features)
    path = soft_labels_path(knowledge_dir, key)
    parts_dir = path.with_name(f"{path.stem}-parts")
    if path.exists():
        logits = load_soft_labels(path, manifest, teacher.sha256)
    else:
        logits = compute_soft_labels(
            teacher,
            manifest.pairs,
            data_dir,
            features,
            batch_size=batch_size,
            progress=progress,
            parts_dir=parts_dir,
        )
    knowledge = build_knowledge(
        manifest, logits, teacher.event_mask, teacher.name, teacher.sha256
    )
    save_knowledge(knowledge_dir, knowledge, key)
    remove_parts(parts_dir)
    return knowledge


def summary(knowledge: EventKnowledge, top: int = 4) -> str:
    """What each scene sounds like, for a look.

    Args:
        knowledge: of a teacher.
        top: events for each scene.

    Returns:
        One line for each scene: the events whose posterior is furthest above
        their mean over the scenes, and that posterior.
    """
    events = labels.events()
    above = knowledge.posteriors - knowledge.posteriors.mean(axis=0)
    lines = []
    for index, scene in enumerate(labels.scenes()):
        heard = [
            f"{events[event].name} {knowledge.posteriors[index, event]:.3f}"
            for event in np.argsort(-above[index], kind="stable")[:top]
        ]
        lines.append(f"{scene + ':':19}{'; '.join(heard)}")
    return "\n".join(lines)
