"""A folder of many runs on one split, with one teacher and one cache."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from advance_tf.config import Config
from advance_tf.data.manifest import Manifest
from advance_tf.files import replacing
from advance_tf.studies.jobs import Job
from advance_tf.studies.paper import recipe_path
from advance_tf.teacher.knowledge import POSTERIORS, load_knowledge
from advance_tf.teacher.lesson import teach
from advance_tf.teacher.teachers import build_teacher, knowledge_of_run
from advance_tf.training.recognition import filled_cache
from advance_tf.training.setup import find_manifest
from advance_tf.training.workdir import KNOWLEDGE, MANIFEST, check_resume

SETTINGS = "settings.json"
# What makes one row differ from another is not the user's to set for all.
_OF_THE_ROWS = ("modality", "transfer", "scene_weight", "seed")
# Paths are kept whole: the runs are read from wherever the user stands.
_PATHS = ("data_dir", "cache_dir", "image_weights", "audio_weights", "log_mel_stats")
# A study may go on for longer or elsewhere.
_MAY_CHANGE = ("epochs", "data_dir", "cache_dir", "strategy")


@dataclasses.dataclass(frozen=True)
class Study:
    """What all runs of a study have in common.

    Attributes:
        workdir: its folder.
        settings: configuration flags of all runs: name → value.
        parse: from flags to a configuration.
        to_flags: from name → value to flags.
    """

    workdir: pathlib.Path
    settings: Mapping[str, Any]
    parse: Callable[[Sequence[str]], Config]
    to_flags: Callable[[Mapping[str, Any]], list[str]]

    @property
    def config(self) -> Config:
        """The configuration before a row says what it is."""
        return self.parse(self._arguments())

    def _arguments(self) -> list[str]:
        cache = {"cache_dir": str(self.workdir / "cache")}
        return self.to_flags(cache | dict(self.settings))

    def job(
        self,
        recipe: str,
        seed: int,
        *,
        place: str = "runs",
        changes: Mapping[str, Any] | None = None,
    ) -> Job:
        """The run of a recipe and a seed.

        The recipe goes before the settings of the study, but for the weights α
        and β of what it has: they are the study's where it gives them.

        Args:
            recipe: name of a flag file of assets/recipes.
            seed: of training.
            place: folder below the study's.
            changes: further settings, which go before all others.

        Returns:
            What to run; nothing is written.
        """
        recipe_flags = [f"--flagfile={recipe_path(recipe)}"]
        own = self.parse(recipe_flags).transfer
        weights = {
            name: self.settings[name]
            for name in ("alpha", "beta")
            if name in self.settings and getattr(own, name) and own.transfer != "none"
        }
        arguments = [
            *self._arguments(),
            *recipe_flags,
            *self.to_flags({**weights, "seed": seed, **(changes or {})}),
        ]
        config = self.parse(arguments)
        places = [f"--manifest={self.workdir / MANIFEST}"]
        if config.transfer.transfer != "none":
            places.append(f"--knowledge_dir={self.workdir / KNOWLEDGE}")
        name = f"{place}/{recipe}/{seed}"
        return Job(name, self.workdir / name, (*places, *arguments), config)


def open_study(
    workdir: pathlib.Path,
    given: Mapping[str, Any],
    parse: Callable[[Sequence[str]], Config],
    to_flags: Callable[[Mapping[str, Any]], list[str]],
) -> Study:
    """The study of a folder: its earlier settings with what is given over them.

    Args:
        workdir: folder of the study.
        given: configuration flags of this call: name → value.
        parse: from flags to a configuration.
        to_flags: from name → value to flags.

    Returns:
        The study; nothing is written.

    Raises:
        ValueError: a flag is given that the rows decide, or that differs from what
            the study began with, or no data.
    """
    taken = sorted(set(given) & set(_OF_THE_ROWS))
    if taken:
        raise ValueError(
            "The rows of a table decide --"
            f"{', --'.join(_OF_THE_ROWS)}; received --{', --'.join(taken)}. Leave "
            "them out; --runs says how many seeds."
        )
    workdir = workdir.absolute()
    stored = _stored(workdir / SETTINGS)
    study = Study(workdir, {**stored, **_whole(given)}, parse, to_flags)
    if not study.config.data.data_dir:
        raise ValueError(
            "--data_dir must name a folder in ADVANCE's layout; received none."
        )
    if stored:
        before = Study(workdir, stored, parse, to_flags)
        check_resume(before.config, study.config, _MAY_CHANGE)
    return study


def _whole(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, independent of the current folder."""
    return {
        name: str(pathlib.Path(value).absolute())
        if name in _PATHS and value not in ("", "authors")
        else value
        for name, value in given.items()
    }


def _stored(path: pathlib.Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} must hold the settings of a study; reading it failed: {error}. "
            "Remove it and give the flags again."
        ) from error


def prepare(
    study: Study,
    jobs: Sequence[Job],
    *,
    manifest_path: str | None = None,
    teacher: str | None = None,
) -> Manifest:
    """Makes once what all runs share: split, decoded pairs, event knowledge.

    Args:
        study: what the jobs belong to.
        jobs: all that will be run.
        manifest_path: a split to use instead of making one.
        teacher: YAMNet's `.tflite` or tower weights; without one the audio
            weights teach, where they have an event head.

    Returns:
        The split of all runs.

    Raises:
        ValueError: a run in the folder is of other settings or of another split,
            there is no teacher, or the data are not sound.
    """
    config = study.config
    manifest = find_manifest(study.workdir, config, manifest_path)
    for job in jobs:
        job.check(manifest)
    knowing = [job for job in jobs if job.config.transfer.transfer != "none"]
    if knowing:
        _learn(study, manifest, teacher)
    if not (study.workdir / MANIFEST).exists():
        manifest.save(study.workdir / MANIFEST)
    with replacing(study.workdir / SETTINGS) as temporary:
        text = json.dumps(dict(study.settings), indent=2) + "\n"
        temporary.write_text(text, encoding="utf-8")
    if any(not job.is_finished() for job in jobs):
        filled_cache(config, manifest)
    return manifest


def _learn(study: Study, manifest: Manifest, teacher: str | None) -> None:
    """Hears every pair once, or checks that the same teacher has."""
    folder, config = study.workdir / KNOWLEDGE, study.config
    if teacher is None:
        knowledge_of_run(folder, manifest, config)
        return
    heard = build_teacher(teacher, config.features)
    if (folder / POSTERIORS).exists():
        known = load_knowledge(folder, manifest)
        if known.teacher_sha256 != heard.sha256:
            raise ValueError(
                f"One teacher teaches all runs of a study; {study.workdir} has "
                f"learnt from {known.teacher}. Leave --teacher out or use another "
                "--workdir."
            )
        return
    teach(heard, manifest, config.data.data_dir, config.features, folder)
