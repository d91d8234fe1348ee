"""The event knowledge of a run: found, computed with its audio weights, or given."""

import pathlib

import numpy as np

from advance_tf.config import Config, FeatureConfig
from advance_tf.data.advance import AdvanceDataset
from advance_tf.data.manifest import Manifest
from advance_tf.data.rows import blocks
from advance_tf.runs.workdir import CONFIG, KNOWLEDGE, find_knowledge, read_config
from advance_tf.teacher.knowledge import (
    EventKnowledge,
    compute_knowledge,
    load_knowledge,
    save_knowledge,
)
from advance_tf.teacher.loading import find_teacher
from advance_tf.teacher.soft_labels import logits_key
from advance_tf.teacher.storage import POSTERIORS
from advance_tf.training.session import has_trained


def find_or_compute_knowledge(
    knowledge_dir: str | pathlib.Path, manifest: Manifest, config: Config
) -> EventKnowledge:
    """Loads the event knowledge of a run, or computes it with its audio weights.

    The teacher N_a^(0) is the network that the audio tower starts from. Audio
    weights with an event head, among them YAMNet's, are therefore a teacher
    themselves, and the knowledge can be computed without `advance teach`.

    Args:
        knowledge_dir: folder of the event knowledge.
        manifest: pairs and splits.
        config: data, features, model.audio_backbone and model.audio_weights are
            used.

    Returns:
        The event knowledge.

    Raises:
        ValueError: there is none and the audio weights have no event head, or
            it is damaged or belongs to another manifest or other clips.
    """
    path = pathlib.Path(knowledge_dir)
    if (path / POSTERIORS).exists():
        knowledge = load_knowledge(path, manifest)
        check_clip(knowledge, config.features)
        return knowledge
    if (teacher := find_teacher(config)) is not None:
        dataset = AdvanceDataset(manifest, pathlib.Path(config.data.data_dir))
        return compute_knowledge(teacher, dataset, path, config.features)
    return load_knowledge(path, manifest)


def check_teacher_weights(folder: pathlib.Path, before: str, now: str) -> None:
    """Checks that event knowledge of earlier audio weights is not used for others.

    Args:
        folder: folder of the event knowledge of a run without a trained epoch.
        before: the audio weights that it was computed with.
        now: the audio weights of the run.

    Raises:
        ValueError: the folder exists and the weights differ.
    """
    if before != now and folder.exists():
        raise ValueError(
            "Event knowledge must be that of the teacher of a run; received "
            f"`audio_weights={now!r}`, and {folder} was computed with {before!r}. "
            "Remove this folder, or use another `workdir`."
        )


def check_clip(knowledge: EventKnowledge, features: FeatureConfig) -> None:
    """Checks that event knowledge is of clips with the length of the run.

    Their sampling rate is that of the teacher, which need not be that of the run.

    Args:
        knowledge: the knowledge.
        features: settings of the run.

    Raises:
        ValueError: the teacher scored other clips than those of the run.
    """
    if knowledge.clip is None or knowledge.clip[1] == features.clip_seconds:
        return
    raise ValueError(
        "The event knowledge must be of the clips of the run, "
        f"{features.clip_seconds:g} s; it is of {knowledge.clip[1]:g} s. Use the "
        "`clip_seconds` of the run in `advance teach`, or as `features` of "
        "`compute_knowledge`."
    )


def check_knowledge(
    workdir: pathlib.Path,
    manifest: Manifest,
    knowledge: EventKnowledge,
    features: FeatureConfig,
) -> None:
    """Checks that given event knowledge fits the split and the run in a folder.

    Args:
        workdir: folder of the run.
        manifest: pairs and splits of the run.
        knowledge: the given knowledge.
        features: settings of the run.

    Raises:
        ValueError: it is of another split or other clips, or of another teacher than
            that of the run.
    """
    check_clip(knowledge, features)
    if knowledge.manifest_sha256 != manifest.sha256:
        raise ValueError(
            "knowledge must be computed with the split of `dataset`; it was computed "
            "with another one. Call `advance_tf.teacher.compute_knowledge` with this "
            "data set."
        )
    if not ((workdir / CONFIG).exists() and has_trained(workdir)):
        return
    contents = read_config(workdir)[1]
    recorded = contents["teacher_sha256"]
    teacher = recorded[:16]
    if not recorded:
        # Of an earlier version, or without a transfer.
        folder = find_knowledge(workdir, contents["knowledge_dir"])
        if folder is None:
            return
        stored = load_knowledge(folder, manifest)
        recorded, teacher = stored.teacher_sha256, stored.teacher
    if recorded != knowledge.teacher_sha256:
        raise ValueError(
            "A run resumes with the teacher that it was started with; the run in "
            f"{workdir} uses {teacher}, `knowledge` is from "
            f"{knowledge.teacher}. Leave `knowledge` out or use another `workdir`."
        )


def save_run_knowledge(
    workdir: pathlib.Path, manifest: Manifest, knowledge: EventKnowledge
) -> None:
    """Writes given event knowledge to a work directory, unless it is there already.

    Args:
        workdir: folder of the run; it must be locked.
        manifest: pairs and splits of the run.
        knowledge: the given knowledge.
    """
    folder = workdir / KNOWLEDGE
    if _is_saved(folder, manifest, knowledge):
        return
    save_knowledge(folder, knowledge, logits_key(knowledge.teacher_logits))


def _is_saved(
    folder: pathlib.Path, manifest: Manifest, knowledge: EventKnowledge
) -> bool:
    try:
        stored = load_knowledge(folder, manifest)
    except ValueError:
        return False
    tables = (stored.teacher_logits, knowledge.teacher_logits)
    return (
        stored.teacher_sha256 == knowledge.teacher_sha256
        and tables[0].shape == tables[1].shape
        and all(map(np.array_equal, *map(blocks, tables)))
    )
