"""One teaching: soft labels if they are not kept yet, then posteriors."""

import pathlib

import numpy as np

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data.manifest import Manifest
from advance_tf.teacher.knowledge import (
    EventKnowledge,
    build_knowledge,
    load_knowledge,
    save_knowledge,
    soft_labels_path,
)
from advance_tf.teacher.soft_labels import (
    Teacher,
    compute_teacher_logits,
    soft_labels_key,
)


def teach(
    teacher: Teacher,
    manifest: Manifest,
    data_dir: str | pathlib.Path,
    features: FeatureConfig,
    knowledge_dir: pathlib.Path,
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> EventKnowledge:
    """Hears every pair, unless the same teacher has heard the same manifest.

    Args:
        teacher: frozen.
        manifest: pairs and splits.
        data_dir: folder of the data set.
        features: rate and length of a clip.
        knowledge_dir: where soft labels and posteriors are kept.
        batch_size: clips at a time.
        progress: show a bar.

    Returns:
        The event knowledge, which is also written.

    Raises:
        ValueError: a sound cannot be read, or a kept file is broken.
    """
    key = soft_labels_key(teacher.sha256, manifest.sha256, features)
    if soft_labels_path(knowledge_dir, key).exists():
        kept = load_knowledge(knowledge_dir, manifest)
        if kept.teacher_sha256 == teacher.sha256:
            return kept
    logits = compute_teacher_logits(
        teacher,
        manifest.pairs,
        data_dir,
        features,
        batch_size=batch_size,
        progress=progress,
    )
    knowledge = build_knowledge(
        manifest, logits, teacher.event_mask, teacher.name, teacher.sha256
    )
    save_knowledge(knowledge_dir, knowledge, key)
    return knowledge


def summary(knowledge: EventKnowledge, top: int = 4) -> str:
    """The events that stand out most in each scene, for a look.

    Args:
        knowledge: of a teacher.
        top: events for each scene.

    Returns:
        One line for each scene: the events whose posterior is furthest above
        its mean over the scenes.
    """
    events = labels.events()
    above = knowledge.posteriors - knowledge.posteriors.mean(0)
    lines = []
    for scene, row in zip(labels.scenes(), above, strict=True):
        best = np.argsort(-row)[:top]
        lines.append(f"{scene}: {'; '.join(events[index].name for index in best)}")
    return "\n".join(lines)
