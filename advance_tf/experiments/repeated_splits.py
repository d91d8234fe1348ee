"""Repeated splits by site: a study for each split, with the soft labels of one."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.experiments.folds import cross_validation
from advance_tf.experiments.scheduler import Job
from advance_tf.experiments.study import Study, prepare_study, save_settings
from advance_tf.runs.training import find_manifest
from advance_tf.runs.workdir import KNOWLEDGE
from advance_tf.teacher.knowledge import (
    EventKnowledge,
    build_knowledge,
    load_knowledge,
    save_knowledge,
)
from advance_tf.teacher.soft_labels import logits_key
from advance_tf.teacher.storage import POSTERIORS


@dataclasses.dataclass(frozen=True)
class SplitStudy:
    """The study of one split.

    Attributes:
        study: a study in a folder of its own, with the settings of the whole.
        manifest: its pairs and splits.
    """

    study: Study
    manifest: Manifest


def open_splits(study: Study, *, splits: int = 0, folds: int = 0) -> list[SplitStudy]:
    """Opens a study for each split; writes nothing.

    Args:
        study: the study of the whole; its folder holds those of the splits.
        splits: number of splits by site, with the split seeds 0 to splits − 1.
        folds: number of folds by site instead, each of which is the test split once.

    Returns:
        One study for each split. They share the cache of decoded pairs.

    Raises:
        ValueError: there are not at least 2 splits, both or neither are given, the
            study sets a split of its own or, with folds, a train_fraction, or the
            data are not valid.
    """
    if bool(splits) == bool(folds) or max(splits, folds) < 2:
        raise ValueError(
            "Either `splits` or `folds` must be at least 2; received "
            f"{splits} and {folds}."
        )
    data = study.config.data
    if data.split_protocol != "site" or "split_seed" in study.settings:
        raise ValueError(
            "Repeated splits are by site and set `split_seed` themselves; received "
            f"`split_protocol={data.split_protocol}` and `split_seed="
            f"{data.split_seed}`. Leave them out."
        )
    if folds and "train_fraction" in study.settings:
        raise ValueError(
            "With `folds`, training are the sites that are neither a fold nor in "
            f"`validation_fraction`; received `train_fraction={data.train_fraction}`. "
            "Leave it out; if the study in the folder has it, use another `workdir`."
        )
    if splits:
        return [
            in_folder(study, f"splits/{seed}", {"split_seed": seed})
            for seed in range(splits)
        ]
    complete = make_manifest(data)
    manifests = cross_validation(
        complete, folds, validation_fraction=data.validation_fraction
    )
    return [
        in_folder(study, f"folds-{folds}/{fold}", {}, manifest)
        for fold, manifest in enumerate(manifests)
    ]


def in_folder(
    study: Study,
    name: str,
    changes: Mapping[str, object],
    manifest: Manifest | None = None,
) -> SplitStudy:
    """Opens a study in a subfolder, with the settings and the cache of another one.

    Args:
        study: the study of the whole.
        name: path of the folder, relative to that of the whole.
        changes: settings that differ.
        manifest: its split; None for a new one.

    Returns:
        The study; nothing is written.

    Raises:
        ValueError: the folder holds another split.
    """
    shared = {"cache_dir": study.config.data.cache_dir}
    own = Study(study.workdir / name, {**study.settings, **shared, **changes})
    return SplitStudy(own, find_manifest(own.workdir, own.config, manifest))


def prepare_splits(
    study: Study,
    splits: Sequence[SplitStudy],
    jobs_of: Sequence[Sequence[Job]],
    teacher: str | None = None,
) -> None:
    """Writes what the runs of each split share; the teacher is run once.

    Args:
        study: the study of the whole; its settings are written.
        splits: the studies of the splits.
        jobs_of: the jobs of each study.
        teacher: as for `study.prepare_study`.

    Raises:
        ValueError: see `study.prepare_study`.
    """
    first: EventKnowledge | None = None
    for split, jobs in zip(splits, jobs_of, strict=True):
        needed = any(job.knowledge_dir is not None for job in jobs)
        if needed and first is not None:
            share_knowledge(split, first)
        prepare_study(split.study, jobs, manifest_path=split.manifest, teacher=teacher)
        if split is splits[0]:
            # They are known to be valid now.
            save_settings(study)
        if needed and first is None:
            first = load_knowledge(split.study.workdir / KNOWLEDGE, split.manifest)


def share_knowledge(split: SplitStudy, known: EventKnowledge) -> None:
    """Computes the event knowledge of a split from the soft labels of another one.

    The soft labels are those of the teacher; posteriors and relevance are computed from
    the training pairs of this split.

    Args:
        split: the study that needs knowledge; an existing one is kept.
        known: knowledge of the same teacher with all pairs of the split.
    """
    folder = split.study.workdir / KNOWLEDGE
    if (folder / POSTERIORS).exists():
        return
    logits = np.asarray(known.targets_for(split.manifest.pairs)["teacher_logits"])
    knowledge = build_knowledge(
        split.manifest, logits, known.event_mask, known.teacher, known.teacher_sha256
    )
    knowledge = dataclasses.replace(knowledge, clip=known.clip)
    save_knowledge(folder, knowledge, logits_key(logits))
