"""A study: many runs with shared settings, split and event knowledge in one folder."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from advance_tf.config import Config
from advance_tf.config_io import check_resume, replace_fields
from advance_tf.data.advance import AdvanceDataset
from advance_tf.data.manifest import Manifest
from advance_tf.data.sampling import check_balance
from advance_tf.experiments.paper_tables import recipe_path
from advance_tf.experiments.recipes import read_recipe
from advance_tf.experiments.scheduler import RESULT, Job
from advance_tf.files import reading, replacing
from advance_tf.models.backbones.registry import absolute_name, named_weights
from advance_tf.runs.event_knowledge import find_or_compute_knowledge
from advance_tf.runs.training import (
    find_manifest,
    save_manifest,
)
from advance_tf.runs.workdir import KNOWLEDGE, MANIFEST
from advance_tf.teacher.knowledge import compute_knowledge, load_knowledge
from advance_tf.teacher.loading import load_teacher
from advance_tf.teacher.storage import POSTERIORS
from advance_tf.training.callbacks import BEST_WEIGHTS, CHECKPOINT
from advance_tf.training.recognition import fill_cache

SETTINGS = "settings.json"
_CACHE = "cache"
# Settings in which the recipes or the runs of a row differ.
_SET_BY_ROWS = ("modality", "transfer", "scene_weight", "seed")
# Stored as absolute paths: the runs may be started from any folder.
_PATHS = ("data_dir", "cache_dir", "image_weights", "audio_weights", "log_mel_stats")
_BACKBONES = ("image_backbone", "audio_backbone")
# Settings that may change when a study is resumed.
_MAY_CHANGE = ("epochs", "data_dir", "cache_dir", "strategy", "tf_data_service")
# What a run or a job leaves that has trained an epoch. Before, the settings of the
# training may change: what the runs share, such as the event knowledge, does not depend
# on them.
_TRAINED = {BEST_WEIGHTS, CHECKPOINT, RESULT}


@dataclasses.dataclass(frozen=True)
class Study:
    """The folder and the settings that all runs of a study have in common.

    Attributes:
        workdir: folder of the study.
        settings: configuration field → value, for all runs.
    """

    workdir: pathlib.Path
    settings: Mapping[str, Any]

    @property
    def config(self) -> Config:
        """The configuration that the recipes modify."""
        cache = {"cache_dir": str(self.workdir / _CACHE)}
        return replace_fields(Config(), cache | dict(self.settings))

    def job(
        self,
        recipe: str,
        seed: int,
        *,
        subfolder: str = "runs",
        changes: Mapping[str, Any] | None = None,
    ) -> Job:
        """Builds the job of a recipe and a seed; writes nothing.

        The recipe takes precedence over the settings of the study, except for
        the weights alpha and beta of losses that the recipe has: the settings
        replace these.

        Args:
            recipe: name of a recipe of assets/recipes.
            seed: seed of the training.
            subfolder: folder of the runs, relative to that of the study.
            changes: further fields, which take precedence over all others.

        Returns:
            The job.

        >>> study = Study(pathlib.Path("study"), {"data_dir": "ADVANCE"})
        >>> study.job("table1_event", seed=0).name
        'runs/table1_event/0'
        """
        row = read_recipe(recipe_path(recipe))
        own = replace_fields(Config(), row).transfer
        weights = {
            name: self.settings[name]
            for name in ("alpha", "beta")
            if name in self.settings and getattr(own, name) and own.transfer != "none"
        }
        config = replace_fields(
            self.config, {**row, **weights, "seed": seed, **(changes or {})}
        )
        knowledge_dir = None
        if config.transfer.transfer != "none":
            knowledge_dir = self.workdir / KNOWLEDGE
        name = f"{subfolder}/{recipe}/{seed}"
        return Job(
            name,
            self.workdir / name,
            config,
            manifest_path=self.workdir / MANIFEST,
            knowledge_dir=knowledge_dir,
            recipe=recipe,
        )


def open_study(workdir: pathlib.Path, given: Mapping[str, Any]) -> Study:
    """Opens the study of a folder, new or stored; writes nothing.

    Args:
        workdir: folder of the study.
        given: configuration field → value; they replace stored settings.

    Returns:
        The study.

    Raises:
        ValueError: a given field is set by the recipes, a setting differs from
            that of the stored study, two settings exclude each other, or there is no
            data_dir. Settings of the training may differ until a run has trained an
            epoch.
    """
    refused = [name for name in _SET_BY_ROWS if name in given]
    if refused:
        raise ValueError(
            f"The rows of a table set {_quoted(_SET_BY_ROWS)}; received "
            f"{_quoted(refused)}. Leave them out; `runs` is the number of seeds."
        )
    workdir = workdir.absolute()
    stored = _read_settings(workdir / SETTINGS)
    study = Study(workdir, {**stored, **_with_absolute_paths(given)})
    if not study.config.data.data_dir:
        raise ValueError(
            "data_dir must name a folder in ADVANCE's layout; received none."
        )
    trained = _has_trained(workdir)
    if stored:
        before = Study(workdir, stored).config
        if not trained:
            before = dataclasses.replace(before, training=study.config.training)
        check_resume(before, study.config, _MAY_CHANGE)
        if trained:
            _check_precision(before, study.config)
    if not trained:
        check_balance(study.config.training)
    return study


def _check_precision(before: Config, now: Config) -> None:
    """ValueError for runs of a row that would be trained with other precisions.

    A run may give up "auto" on another machine, the runs of a study may not.
    """
    precisions = before.training.precision, now.training.precision
    if precisions[0] != precisions[1]:
        raise ValueError(
            "All runs of a study must have one precision; `precision` was "
            f"{precisions[0]!r}, now {precisions[1]!r}. Leave it out, or use another "
            "`workdir`."
        )


def _has_trained(workdir: pathlib.Path) -> bool:
    """Whether a run of a study has trained an epoch."""
    for _, folders, names in os.walk(workdir):
        # It has a file for each pair.
        folders[:] = [name for name in folders if name != _CACHE]
        if _TRAINED & set(names):
            return True
    return False


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _with_absolute_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(settings)
    for name in found.keys() & set(_PATHS):
        if found[name] not in {"", "authors", *named_weights()}:
            found[name] = str(pathlib.Path(found[name]).absolute())
    for name in found.keys() & set(_BACKBONES):
        found[name] = absolute_name(str(found[name]))
    return found


def _read_settings(path: pathlib.Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    way_out = "Remove it and give the settings again."
    with reading(path, "hold the settings of a study", way_out):
        return dict(json.loads(path.read_text(encoding="utf-8")))


def prepare_study(
    study: Study,
    jobs: Sequence[Job],
    *,
    manifest_path: Manifest | str | None = None,
    teacher: str | None = None,
) -> Manifest:
    """Writes what all runs share: settings, split, decoded pairs, event knowledge.

    Args:
        study: the study.
        jobs: all jobs that will be run.
        manifest_path: a split, or its path, to use instead of a new one.
        teacher: YAMNet's `.tflite` or tower weights; by default the audio
            weights, if they have an event head.

    Returns:
        The split of all runs.

    Raises:
        ValueError: a run in the folder has other settings or another split, there
            is no teacher, or the data are not valid.
    """
    config = study.config
    manifest = find_manifest(study.workdir, config, manifest_path)
    for job in jobs:
        job.check(manifest)
    if any(job.knowledge_dir is not None for job in jobs):
        _prepare_knowledge(study, manifest, teacher)
    save_manifest(study.workdir, manifest)
    save_settings(study)
    # With frozen towers the files are read once, for the embeddings.
    if any(not job.is_finished() for job in jobs if not job.frozen_towers):
        fill_cache(config, manifest)
    return manifest


def save_settings(study: Study) -> None:
    """Writes the settings, with which `open_study` opens the folder again.

    Args:
        study: the study.
    """
    study.workdir.mkdir(parents=True, exist_ok=True)
    with replacing(study.workdir / SETTINGS) as temporary:
        text = json.dumps(dict(study.settings), indent=2) + "\n"
        temporary.write_text(text, encoding="utf-8")


def _prepare_knowledge(study: Study, manifest: Manifest, teacher: str | None) -> None:
    """Computes the event knowledge, or checks that it is from the same teacher."""
    folder, config = study.workdir / KNOWLEDGE, study.config
    if teacher is None:
        find_or_compute_knowledge(folder, manifest, config)
        return
    model = load_teacher(teacher, config.features)
    if (folder / POSTERIORS).exists():
        stored = load_knowledge(folder, manifest)
        if stored.teacher_sha256 != model.sha256:
            raise ValueError(
                "All runs of a study must have one teacher; the event knowledge in "
                f"{study.workdir} is from {stored.teacher}. Leave `teacher` out or use "
                "another `workdir`."
            )
        return
    dataset = AdvanceDataset(manifest, pathlib.Path(config.data.data_dir))
    compute_knowledge(model, dataset, folder, config.features)
